-- A key may be held to the GraphQL operations that the server knows by their hash: for keys that are given away inside a built client.
ALTER TABLE api_keys ADD COLUMN persisted_only boolean NOT NULL DEFAULT false;

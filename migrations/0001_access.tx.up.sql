-- Companies, keys, idempotency, and the nodes that work on this database.

CREATE TABLE companies (
    id                 text PRIMARY KEY,
    name               text NOT NULL CHECK (name <> ''),
    plan               text NOT NULL DEFAULT 'none',
    repeat_window_days integer NOT NULL DEFAULT 0 CHECK (repeat_window_days >= 0),
    created_at         timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE api_keys (
    id           text PRIMARY KEY,
    company_id   text NOT NULL REFERENCES companies (id),
    label        text NOT NULL,
    prefix       text NOT NULL,
    digest       bytea NOT NULL UNIQUE,
    test         boolean NOT NULL DEFAULT false,
    scopes       text[] NOT NULL,
    allowed_ips  text[] NOT NULL DEFAULT '{}',
    created_at   timestamptz NOT NULL DEFAULT now(),
    last_used_at timestamptz,
    expires_at   timestamptz,
    suspended_at timestamptz,
    revoked_at   timestamptz
);
CREATE INDEX api_keys_company ON api_keys (company_id, created_at);

-- The claim and the work it protects are one transaction, so a row exists exactly when the work was committed.
CREATE TABLE idempotency_keys (
    company_id  text NOT NULL,
    operation   text NOT NULL,
    key         text NOT NULL,
    fingerprint bytea NOT NULL,
    resource_id text NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (company_id, operation, key)
);
CREATE INDEX idempotency_keys_age ON idempotency_keys (created_at);

-- Key material made by the server itself when no ENRICHD_MASTER_KEY is configured.
CREATE TABLE server_keys (
    name       text PRIMARY KEY,
    material   bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- The processes that work on this database. A node holds a session advisory lock on
-- its id for as long as it lives, so a row whose lock is free belongs to a dead node.
CREATE TABLE nodes (
    id         text PRIMARY KEY,
    started_at timestamptz NOT NULL DEFAULT now()
);

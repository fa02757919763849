-- The name of a profile in the request that started the run, when that was an
-- external id: results answer under the same name.
ALTER TABLE run_profiles ADD COLUMN given_id text;

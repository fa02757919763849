-- Objections, erasures, and how long what was found is kept.

-- Days from the creation of a run, never from a later look at it.
ALTER TABLE companies
    ADD COLUMN evidence_days integer NOT NULL DEFAULT 30 CHECK (evidence_days >= 30),
    ADD COLUMN result_days   integer NOT NULL DEFAULT 90,
    ADD CHECK (result_days >= evidence_days);

-- Finds the profiles of a person by any identifier, imported or met on the way.
CREATE INDEX profiles_persons ON profiles USING gin (person_digests);
CREATE INDEX run_profiles_persons ON run_profiles USING gin (person_digests) WHERE person_digests <> '{}';
CREATE INDEX suppressions_page ON suppressions (company_id, id);

-- The receipt of an erasure: that it was done, and nothing about whom.
CREATE TABLE erasures (
    id         text PRIMARY KEY,
    company_id text NOT NULL REFERENCES companies (id),
    api_key_id text NOT NULL,
    reason     text NOT NULL,
    profiles   integer NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- The newest run of a company whose evidence was dropped, because its time was over.
CREATE TABLE retention_marks (
    company_id text NOT NULL REFERENCES companies (id),
    test       boolean NOT NULL,
    run_id     text NOT NULL,
    PRIMARY KEY (company_id, test)
);

-- Drops the monthly partitions of run events that ended before an instant. Returns how many.
CREATE FUNCTION run_events_drop(before timestamptz) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    old     record;
    dropped integer := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('run_events', 0));
    FOR old IN
        SELECT c.relname AS name FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
         WHERE i.inhparent = 'run_events'::regclass AND c.relname ~ '^run_events_[0-9]{4}_[0-9]{2}$'
           AND (to_date(right(c.relname, 7), 'YYYY_MM') + interval '1 month') AT TIME ZONE 'UTC' <= before
    LOOP
        EXECUTE format('DROP TABLE %I', old.name);
        dropped := dropped + 1;
    END LOOP;
    DELETE FROM run_events_rest WHERE run_id < run_id_floor(before);
    RETURN dropped;
END
$$;

-- Profiles, runs, what happened in them, and who may not be processed.

CREATE TABLE profiles (
    id              text PRIMARY KEY,
    company_id      text NOT NULL REFERENCES companies (id),
    external_id     text NOT NULL,
    name            text NOT NULL CHECK (name <> ''),
    headline        text,
    location        text,
    current_company text,
    current_title   text,
    skills          text[] NOT NULL DEFAULT '{}',
    emails          text[] NOT NULL DEFAULT '{}',
    links           text[] NOT NULL DEFAULT '{}',
    role_brief      json,
    metadata        json,
    -- Digest of everything above: tells an unchanged import from a changed one.
    fingerprint     bytea NOT NULL,
    -- Keyed digests of every identifier of the person, compared with suppressions.
    person_digests  bytea[] NOT NULL DEFAULT '{}',
    -- Share of the nine known fields that hold a value.
    completeness    double precision NOT NULL GENERATED ALWAYS AS ((
        1 + (headline IS NOT NULL)::integer + (location IS NOT NULL)::integer + (current_company IS NOT NULL)::integer
        + (current_title IS NOT NULL)::integer + (skills <> '{}')::integer + (emails <> '{}')::integer
        + (links <> '{}')::integer + (role_brief IS NOT NULL)::integer) / 9.0) STORED,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    UNIQUE (company_id, external_id)
);
CREATE INDEX profiles_page ON profiles (company_id, id);

-- What one import call did, so that a repeat of it answers alike.
CREATE TABLE imports (
    id           text PRIMARY KEY,
    company_id   text NOT NULL REFERENCES companies (id),
    created      integer NOT NULL,
    updated      integer NOT NULL,
    unchanged    integer NOT NULL,
    refused      integer NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE suppressions (
    id         text PRIMARY KEY,
    company_id text NOT NULL REFERENCES companies (id),
    digest     bytea NOT NULL,
    reason     text NOT NULL,
    erased     boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (company_id, digest)
);

-- Every write about a run holds its row lock, so that commit order is sequence order.
CREATE TABLE runs (
    id            text PRIMARY KEY,
    company_id    text NOT NULL REFERENCES companies (id),
    api_key_id    text NOT NULL,
    label         text,
    test          boolean NOT NULL DEFAULT false,
    status        text NOT NULL,
    webhook_id    text,
    total         integer NOT NULL,
    queued        integer NOT NULL DEFAULT 0,
    active        integer NOT NULL DEFAULT 0,
    enriched      integer NOT NULL DEFAULT 0,
    partial       integer NOT NULL DEFAULT 0,
    no_match      integer NOT NULL DEFAULT 0,
    not_found     integer NOT NULL DEFAULT 0,
    suppressed    integer NOT NULL DEFAULT 0,
    timed_out     integer NOT NULL DEFAULT 0,
    failed        integer NOT NULL DEFAULT 0,
    cancelled     integer NOT NULL DEFAULT 0,
    stages        json NOT NULL,
    reserved      bigint NOT NULL DEFAULT 0,
    captured      bigint NOT NULL DEFAULT 0,
    released      bigint NOT NULL DEFAULT 0,
    last_sequence integer NOT NULL,
    failure       json,
    created_at    timestamptz NOT NULL DEFAULT now(),
    started_at    timestamptz,
    finished_at   timestamptz,
    cancel_reason text,
    CHECK (queued >= 0 AND active >= 0 AND total = queued + active + enriched + partial + no_match
           + not_found + suppressed + timed_out + failed + cancelled),
    CHECK (captured >= 0 AND released >= 0 AND captured + released <= reserved),
    CHECK ((finished_at IS NULL) = (status IN ('QUEUED', 'RUNNING', 'CANCELLING')))
) WITH (fillfactor = 70);
CREATE INDEX runs_page ON runs (company_id, test, id);
CREATE INDEX runs_ended ON runs (company_id, test, finished_at, id) WHERE finished_at IS NOT NULL;
CREATE INDEX runs_open ON runs (created_at) WHERE finished_at IS NULL;

CREATE TABLE run_profiles (
    run_id         text NOT NULL REFERENCES runs (id),
    ordinal        smallint NOT NULL,
    company_id     text NOT NULL,
    profile_id     text NOT NULL,
    outcome        text NOT NULL,
    stage          text,
    attempt        integer NOT NULL DEFAULT 0,
    from_store     boolean NOT NULL DEFAULT false,
    candidate      json,
    failure        json,
    credits        bigint NOT NULL DEFAULT 0,
    fields_changed text[] NOT NULL DEFAULT '{}',
    waiting_on     text[] NOT NULL DEFAULT '{}',
    missing        text[] NOT NULL DEFAULT '{}',
    -- Of a success: the fingerprint of the profile that it was about, which tells an unchanged repeat.
    fingerprint    bytea,
    -- Keyed digests of the identifiers met on the way, so that an objection finds the person by them too.
    person_digests bytea[] NOT NULL DEFAULT '{}',
    started_at     timestamptz,
    finished_at    timestamptz,
    PRIMARY KEY (run_id, ordinal),
    UNIQUE (run_id, profile_id),
    CHECK ((finished_at IS NULL) = (outcome IN ('QUEUED', 'ACTIVE')))
) WITH (fillfactor = 70);
CREATE INDEX run_profiles_open ON run_profiles (run_id) WHERE finished_at IS NULL;
CREATE INDEX run_profiles_newest ON run_profiles (profile_id, finished_at DESC) WHERE outcome IN ('ENRICHED', 'PARTIAL');
CREATE INDEX run_profiles_of_profile ON run_profiles (profile_id, run_id);

-- Events are ranged on run_id itself, whose version 7 UUID sorts by time, so that
-- old ones are dropped by the month instead of deleted by the row.
CREATE TABLE run_events (
    run_id      text NOT NULL,
    sequence    integer NOT NULL,
    kind        text NOT NULL,
    occurred_at timestamptz NOT NULL,
    data        json NOT NULL,
    PRIMARY KEY (run_id, sequence)
) PARTITION BY RANGE (run_id);
CREATE TABLE run_events_rest PARTITION OF run_events DEFAULT;

-- The smallest run id that can be made at a time: enr_ and the first 48 bits of a version 7 UUID (RFC 9562).
CREATE FUNCTION run_id_floor(at timestamptz) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT 'enr_' || left(h, 8) || '-' || right(h, 4)
      FROM lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') AS h
$$;

-- Makes the partitions of the month of a day and of the two months after it, moving what the default one caught meanwhile.
CREATE FUNCTION run_events_partitions(day date) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    first timestamp; -- in UTC
    low   text;
    high  text;
    name  text;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('run_events', 0));
    FOR i IN 0..2 LOOP
        first := date_trunc('month', day::timestamp) + make_interval(months => i);
        name := 'run_events_' || to_char(first, 'YYYY_MM');
        CONTINUE WHEN to_regclass(name) IS NOT NULL;
        low := run_id_floor(first AT TIME ZONE 'UTC');
        high := run_id_floor((first + interval '1 month') AT TIME ZONE 'UTC');
        EXECUTE format('CREATE TABLE %I (LIKE run_events INCLUDING ALL)', name);
        EXECUTE format('WITH moved AS (DELETE FROM run_events_rest WHERE run_id >= $1 AND run_id < $2 RETURNING *)
                        INSERT INTO %I SELECT * FROM moved', name) USING low, high;
        EXECUTE format('ALTER TABLE run_events ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', name, low, high);
    END LOOP;
END
$$;
SELECT run_events_partitions((now() AT TIME ZONE 'UTC')::date);

-- Webhooks, what happened, what is to be told to whom, and every try at telling.

CREATE TABLE webhooks (
    id                   text PRIMARY KEY,
    company_id           text REFERENCES companies (id), -- null: every company of the key
    api_key_id           text NOT NULL REFERENCES api_keys (id),
    test                 boolean NOT NULL DEFAULT false,
    url                  text NOT NULL CHECK (url <> ''),
    name                 text,
    description          text,
    header_names         text[] NOT NULL DEFAULT '{}',
    sealed_headers       bytea, -- names and values; null without custom headers
    event_types          text[] NOT NULL CHECK (event_types <> '{}'),
    all_runs             boolean NOT NULL,
    max_retries          integer NOT NULL CHECK (max_retries BETWEEN 0 AND 15),
    timeout_millis       integer NOT NULL CHECK (timeout_millis BETWEEN 1000 AND 30000),
    enabled              boolean NOT NULL DEFAULT true,
    disabled_reason      text,
    circuit_state        text NOT NULL DEFAULT 'CLOSED' CHECK (circuit_state IN ('CLOSED', 'OPEN', 'HALF_OPEN')),
    consecutive_failures integer NOT NULL DEFAULT 0,
    failing_since        timestamptz,
    circuit_opened_at    timestamptz,
    circuit_retry_at     timestamptz,
    circuit_opens        integer NOT NULL DEFAULT 0, -- since the last success; closed with some: on trust
    probe_delivery_id    text,
    probe_until          timestamptz,
    last_reset_at        timestamptz,
    tested_at            timestamptz[] NOT NULL DEFAULT '{}', -- the tests of the last minute
    created_at           timestamptz NOT NULL DEFAULT now(),
    updated_at           timestamptz NOT NULL DEFAULT now(),
    deleted_at           timestamptz
);
CREATE INDEX webhooks_company ON webhooks (company_id, created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX webhooks_key ON webhooks (api_key_id) WHERE deleted_at IS NULL;

CREATE TABLE webhook_secrets (
    id         text PRIMARY KEY,
    webhook_id text NOT NULL REFERENCES webhooks (id),
    secret     bytea NOT NULL, -- sealed
    hint       text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz
);
CREATE INDEX webhook_secrets_webhook ON webhook_secrets (webhook_id, created_at);

-- Only events that somebody was to hear of.
CREATE TABLE dispatch_events (
    id         text PRIMARY KEY,
    company_id text NOT NULL,
    type       text NOT NULL,
    run_id     text,
    sequence   integer NOT NULL,
    at         timestamptz NOT NULL
);
CREATE INDEX dispatch_events_run ON dispatch_events (company_id, run_id);

-- No foreign key to webhooks or companies: its row lock would make a busy webhook a hot row.
-- Webhooks are marked deleted, never removed, so nothing dangles.
CREATE TABLE deliveries (
    id              text PRIMARY KEY,
    company_id      text NOT NULL,
    event_id        text NOT NULL REFERENCES dispatch_events (id),
    webhook_id      text NOT NULL,
    body            bytea, -- exactly the bytes that are signed and sent; null once erased
    status          text NOT NULL CHECK (status IN ('PENDING', 'RETRYING', 'HELD', 'DELIVERED', 'EXHAUSTED')),
    attempts        integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz,
    lease_id        text,
    lease_until     timestamptz,
    lease_job_id    bigint, -- whose execution holds the lease
    job_id          bigint,
    ping            boolean NOT NULL DEFAULT false, -- sent once by a test; never retried, held or counted
    manual          boolean NOT NULL DEFAULT false, -- queued again on request
    attempts_before integer NOT NULL DEFAULT 0,     -- made before it was queued again: retries count anew
    queued_at       timestamptz NOT NULL DEFAULT now(), -- created, or queued again: its age counts from here
    created_at      timestamptz NOT NULL DEFAULT now(),
    completed_at    timestamptz,
    UNIQUE (event_id, webhook_id),
    CHECK ((completed_at IS NOT NULL) = (status IN ('DELIVERED', 'EXHAUSTED')))
);
CREATE INDEX deliveries_company ON deliveries (company_id, created_at, id);
CREATE INDEX deliveries_webhook ON deliveries (webhook_id, created_at, id);
CREATE INDEX deliveries_failed ON deliveries (webhook_id, completed_at, id) WHERE status = 'EXHAUSTED';
CREATE INDEX deliveries_open ON deliveries (webhook_id) WHERE status IN ('PENDING', 'RETRYING', 'HELD');

-- Rows arrive with every try and leave by whole months: partitions are dropped, rows never deleted.
CREATE TABLE delivery_attempts (
    delivery_id       text NOT NULL,
    number            integer NOT NULL,
    started_at        timestamptz NOT NULL,
    dns_millis        integer,
    connect_millis    integer,
    tls_millis        integer,
    first_byte_millis integer,
    duration_millis   integer NOT NULL,
    remote_ip         text,
    status_code       integer,
    error_class       text,
    response_headers  jsonb,
    response_body     bytea,
    response_sha256   bytea,
    truncated         boolean NOT NULL DEFAULT false,
    manual            boolean NOT NULL DEFAULT false,
    secret_ids        text[] NOT NULL DEFAULT '{}',
    PRIMARY KEY (delivery_id, number, started_at)
) PARTITION BY RANGE (started_at);

-- Catches what no month covers, so that a late upkeep never stops a delivery.
CREATE TABLE delivery_attempts_default PARTITION OF delivery_attempts DEFAULT;

-- Makes the partitions of the month of "instant" and of the "ahead" months after it, moving rows that
-- the default partition caught meanwhile, and drops those that ended more than "keep" before "instant".
-- Months are UTC. Returns how many partitions it made and dropped.
CREATE FUNCTION maintain_delivery_attempts(instant timestamptz, ahead integer, keep interval, OUT made integer, OUT dropped integer)
LANGUAGE plpgsql AS $$
DECLARE
    month timestamptz;
    part  text;
    old   record;
BEGIN
    made := 0;
    dropped := 0;
    PERFORM pg_advisory_xact_lock(hashtextextended('maintain_delivery_attempts', 0));
    FOR i IN 0..ahead LOOP
        month := (date_trunc('month', instant AT TIME ZONE 'UTC') + make_interval(months => i)) AT TIME ZONE 'UTC';
        part := 'delivery_attempts_' || to_char(month AT TIME ZONE 'UTC', 'YYYYMM');
        CONTINUE WHEN to_regclass(part) IS NOT NULL;
        EXECUTE format('CREATE TABLE %I (LIKE delivery_attempts INCLUDING ALL)', part);
        EXECUTE format(
            'WITH moved AS (DELETE FROM delivery_attempts_default WHERE started_at >= $1 AND started_at < $2 RETURNING *)
             INSERT INTO %I SELECT * FROM moved', part)
            USING month, (month AT TIME ZONE 'UTC' + interval '1 month') AT TIME ZONE 'UTC';
        EXECUTE format('ALTER TABLE delivery_attempts ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
            part, month, (month AT TIME ZONE 'UTC' + interval '1 month') AT TIME ZONE 'UTC');
        made := made + 1;
    END LOOP;
    FOR old IN
        SELECT c.relname AS name FROM pg_inherits p JOIN pg_class c ON c.oid = p.inhrelid
         WHERE p.inhparent = 'delivery_attempts'::regclass AND c.relname ~ '^delivery_attempts_[0-9]{6}$'
           AND (to_date(right(c.relname, 6), 'YYYYMM') + interval '1 month') AT TIME ZONE 'UTC' <= instant - keep
    LOOP
        EXECUTE format('DROP TABLE %I', old.name);
        dropped := dropped + 1;
    END LOOP;
    DELETE FROM delivery_attempts_default WHERE started_at < instant - keep;
END $$;

SELECT maintain_delivery_attempts(now(), 2, interval '30 days');

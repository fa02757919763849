-- What is of note in a company, numbered per company, and deliveries queued again on request.

-- The row lock of a counter makes commit order equal sequence order, so that a reader that
-- follows the numbers can never skip one that commits late.
CREATE TABLE company_activity_counters (
    company_id text PRIMARY KEY,
    last       bigint NOT NULL
);

CREATE TABLE company_activity (
    company_id   text NOT NULL,
    sequence     bigint NOT NULL,
    kind         text NOT NULL,
    occurred_at  timestamptz NOT NULL,
    summary      text NOT NULL,
    subject_type text,
    subject_id   text,
    test         boolean NOT NULL, -- caused by a test key: shown to test keys only
    PRIMARY KEY (company_id, sequence)
);
CREATE INDEX company_activity_age ON company_activity (occurred_at);

-- What a call of redeliver did, so that the same key gets the same answer.
CREATE TABLE redeliveries (
    id         text PRIMARY KEY,
    company_id text NOT NULL,
    requeued   integer NOT NULL,
    remaining  integer NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX redeliveries_age ON redeliveries (created_at);

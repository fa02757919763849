-- The ledger. Every movement of credits is one statement that writes the entries
-- and the account together; the triggers at the end refuse, at the end of that
-- statement, whatever does not add up.

-- The clock of every billing rule. A function of its own, so that a test can
-- let time pass; it is inlined, and costs nothing.
CREATE FUNCTION billing_now() RETURNS timestamptz LANGUAGE sql VOLATILE AS 'SELECT clock_timestamp()';

-- Where a billing period begins: the day of the month, or its last day where the
-- month is shorter, at midnight in the zone of the company. Always computed from
-- the anchor, so that it never drifts.
CREATE FUNCTION billing_boundary(month timestamp, anchor integer, zone text) RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT least(date_trunc('month', month) + make_interval(days => anchor - 1),
                 date_trunc('month', month) + interval '1 month -1 day') AT TIME ZONE zone
$$;

-- The last boundary that is not after an instant.
CREATE FUNCTION billing_period_start(instant timestamptz, anchor integer, zone text) RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT max(b.at)
      FROM generate_series(-1, 1) AS m (n)
     CROSS JOIN LATERAL (SELECT billing_boundary((instant AT TIME ZONE zone) + make_interval(months => m.n), anchor, zone) AS at) AS b
     WHERE b.at <= instant
$$;

-- Where the period ends that begins at an instant: the first boundary at least a
-- week later. The week matters only after a change of anchor or zone, which
-- would otherwise leave a stub of hours or days with an invoice of its own.
CREATE FUNCTION billing_period_end(start timestamptz, anchor integer, zone text) RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT min(b.at)
      FROM generate_series(0, 2) AS m (n)
     CROSS JOIN LATERAL (SELECT billing_boundary((start AT TIME ZONE zone) + make_interval(months => m.n), anchor, zone) AS at) AS b
     WHERE b.at >= start + interval '168 hours'
$$;

-- No moving column is indexed and half of each page is left free, so that updates stay within their page (HOT).
CREATE TABLE billing_accounts (
    id                text PRIMARY KEY,
    company_id        text NOT NULL UNIQUE REFERENCES companies (id),
    mode              text NOT NULL CHECK (mode IN ('PREPAID', 'POSTPAID')),
    available         bigint NOT NULL DEFAULT 0 CHECK (available >= 0),
    held              bigint NOT NULL DEFAULT 0 CHECK (held >= 0),
    granted_total     bigint NOT NULL DEFAULT 0 CHECK (granted_total >= 0),
    captured_total    bigint NOT NULL DEFAULT 0 CHECK (captured_total >= 0),
    expired_total     bigint NOT NULL DEFAULT 0 CHECK (expired_total >= 0),
    adjusted_total    bigint NOT NULL DEFAULT 0,
    refunded_total    bigint NOT NULL DEFAULT 0 CHECK (refunded_total >= 0),
    owed              bigint NOT NULL DEFAULT 0 CHECK (owed >= 0),
    invoiced_total    bigint NOT NULL DEFAULT 0,
    credit_limit      bigint CHECK (credit_limit >= 0),
    last_seq          bigint NOT NULL DEFAULT 0,
    last_at           timestamptz NOT NULL DEFAULT billing_now(),
    next_expiry_at    timestamptz,
    cycle_anchor      smallint NOT NULL DEFAULT 1 CHECK (cycle_anchor BETWEEN 1 AND 31),
    time_zone         text NOT NULL DEFAULT 'UTC',
    next_period_start timestamptz NOT NULL DEFAULT date_trunc('month', billing_now(), 'UTC'),
    next_period_end   timestamptz NOT NULL DEFAULT billing_period_end(date_trunc('month', billing_now(), 'UTC'), 1, 'UTC'),
    low_threshold     bigint CHECK (low_threshold > 0),
    created_at        timestamptz NOT NULL DEFAULT billing_now(),
    -- What came in is still here, was spent, or expired. Captures that are owed or invoiced were never paid for with credits.
    CONSTRAINT billing_accounts_add_up CHECK (
        granted_total + adjusted_total + refunded_total
        = available + CASE mode WHEN 'PREPAID' THEN held ELSE 0 END
          + captured_total - owed - invoiced_total + expired_total),
    CONSTRAINT billing_accounts_limit CHECK (mode = 'POSTPAID' OR credit_limit IS NULL),
    CONSTRAINT billing_accounts_period CHECK (next_period_start < next_period_end)
) WITH (fillfactor = 50);

-- Credits that came in, each with its own life. remaining only ever falls.
CREATE TABLE billing_grants (
    id         text PRIMARY KEY,
    account_id text NOT NULL REFERENCES billing_accounts (id),
    origin     text NOT NULL CHECK (origin IN ('PURCHASE', 'GRANT', 'REFUND', 'ADJUST')),
    amount     bigint NOT NULL CHECK (amount > 0),
    remaining  bigint NOT NULL,
    priority   integer NOT NULL DEFAULT 0,
    expires_at timestamptz,
    reference  text,
    created_at timestamptz NOT NULL,
    spent      boolean NOT NULL GENERATED ALWAYS AS (remaining = 0) STORED,
    CONSTRAINT billing_grants_remaining CHECK (remaining BETWEEN 0 AND amount)
) WITH (fillfactor = 50);
CREATE UNIQUE INDEX billing_grants_reference ON billing_grants (account_id, reference) WHERE reference IS NOT NULL;
-- In spending order. The predicate is spent and not remaining, so that a draw stays HOT until the last credit.
CREATE INDEX billing_grants_live ON billing_grants (account_id, priority, expires_at, id) WHERE NOT spent;

-- What runs hold. held = amount - captured - released.
CREATE TABLE billing_reservations (
    run_id     text PRIMARY KEY,
    account_id text NOT NULL REFERENCES billing_accounts (id),
    amount     bigint NOT NULL CHECK (amount > 0),
    captured   bigint NOT NULL DEFAULT 0 CHECK (captured >= 0),
    released   bigint NOT NULL DEFAULT 0 CHECK (released >= 0),
    state      text NOT NULL DEFAULT 'OPEN' CHECK (state IN ('OPEN', 'SETTLED', 'VOID', 'EXPIRED')),
    expires_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT billing_reservations_covered CHECK (captured + released <= amount),
    CONSTRAINT billing_reservations_ended CHECK (state = 'OPEN' OR captured + released = amount)
) WITH (fillfactor = 70);
CREATE INDEX billing_reservations_open ON billing_reservations (expires_at) WHERE state = 'OPEN';

-- The entries. Every unique key holds account_id. The triggers check the account of
-- new entries once a statement, in place of a foreign key that would do it once a row.
CREATE TABLE billing_entries (
    account_id      text NOT NULL,
    seq             bigint NOT NULL CHECK (seq > 0),
    d_available     bigint NOT NULL DEFAULT 0,
    d_held          bigint NOT NULL DEFAULT 0,
    d_captured      bigint NOT NULL DEFAULT 0,
    d_owed          bigint NOT NULL DEFAULT 0,
    available_after bigint NOT NULL CHECK (available_after >= 0),
    held_after      bigint NOT NULL CHECK (held_after >= 0),
    at              timestamptz NOT NULL,
    kind            text NOT NULL,
    run_id          text,
    profile_id      text,
    grant_id        text,
    invoice_id      text,
    idempotency_key text,
    actor           text NOT NULL,
    memo            text,
    chain           bytea, -- digest of this entry and of the chain before it; only where chaining is on
    PRIMARY KEY (account_id, seq),
    CONSTRAINT billing_entries_shape CHECK (coalesce(CASE kind
        WHEN 'PURCHASE' THEN d_available > 0 AND d_held = 0 AND d_captured = 0 AND d_owed = 0 AND grant_id IS NOT NULL
        WHEN 'GRANT'    THEN d_available > 0 AND d_held = 0 AND d_captured = 0 AND d_owed = 0 AND grant_id IS NOT NULL
        WHEN 'REFUND'   THEN d_available >= 0 AND d_held = 0 AND d_captured = 0 AND d_owed <= 0
        WHEN 'RESERVE'  THEN d_available IN (0, -d_held) AND d_held > 0 AND d_captured = 0 AND d_owed = 0 AND run_id IS NOT NULL
        WHEN 'CAPTURE'  THEN d_available = 0 AND d_held = -d_captured AND d_captured > 0 AND d_owed IN (0, d_captured)
                             AND run_id IS NOT NULL AND profile_id IS NOT NULL
        WHEN 'RELEASE'  THEN d_available IN (0, -d_held) AND d_held < 0 AND d_captured = 0 AND d_owed = 0 AND run_id IS NOT NULL
        WHEN 'EXPIRE'   THEN d_available < 0 AND d_held = 0 AND d_captured = 0 AND d_owed = 0 AND grant_id IS NOT NULL
        WHEN 'ADJUST'   THEN d_held = 0 AND d_captured = 0
        WHEN 'INVOICE'  THEN d_available = 0 AND d_held = 0 AND d_captured = 0 AND d_owed <= 0
    END, false)),
    -- Which captures an invoice is about is said by its window of numbers; only the entry that takes them off names it.
    CONSTRAINT billing_entries_invoice CHECK ((invoice_id IS NOT NULL) = (kind = 'INVOICE'))
);
-- Exactly once: a profile is captured once in its run (and could be refunded once).
-- Entries without a profile are never equal to each other, so the index finds all entries of a run as well.
CREATE UNIQUE INDEX billing_entries_once ON billing_entries (account_id, run_id, profile_id, kind) WHERE run_id IS NOT NULL;
CREATE UNIQUE INDEX billing_entries_key ON billing_entries (account_id, idempotency_key) WHERE idempotency_key IS NOT NULL;

-- Which grants an entry took its credits from.
CREATE TABLE billing_grant_draws (
    account_id text NOT NULL,
    seq        bigint NOT NULL,
    grant_id   text NOT NULL,
    amount     bigint NOT NULL CHECK (amount > 0),
    PRIMARY KEY (account_id, seq, grant_id)
);

-- Entries and draws never change, and nothing of the ledger is ever deleted.

CREATE FUNCTION billing_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% of % is refused: %', TG_OP, TG_TABLE_NAME, TG_ARGV[0]
        USING ERRCODE = 'integrity_constraint_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = TG_NAME;
END $$;

CREATE TRIGGER billing_entries_unchanged BEFORE UPDATE ON billing_entries
    FOR EACH STATEMENT EXECUTE FUNCTION billing_refuse('an entry never changes');
CREATE TRIGGER billing_entries_kept BEFORE DELETE OR TRUNCATE ON billing_entries
    FOR EACH STATEMENT EXECUTE FUNCTION billing_refuse('entries are append-only');
CREATE TRIGGER billing_grant_draws_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON billing_grant_draws
    FOR EACH STATEMENT EXECUTE FUNCTION billing_refuse('draws are append-only');
CREATE TRIGGER billing_accounts_kept BEFORE DELETE OR TRUNCATE ON billing_accounts
    FOR EACH STATEMENT EXECUTE FUNCTION billing_refuse('accounts are kept');
CREATE TRIGGER billing_grants_kept BEFORE DELETE OR TRUNCATE ON billing_grants
    FOR EACH STATEMENT EXECUTE FUNCTION billing_refuse('grants are kept');
CREATE TRIGGER billing_reservations_kept BEFORE DELETE OR TRUNCATE ON billing_reservations
    FOR EACH STATEMENT EXECUTE FUNCTION billing_refuse('reservations are kept');

CREATE TRIGGER billing_accounts_empty BEFORE INSERT ON billing_accounts
    FOR EACH ROW WHEN (NEW.last_seq <> 0 OR NEW.available <> 0 OR NEW.held <> 0 OR NEW.captured_total <> 0
                       OR NEW.granted_total <> 0 OR NEW.owed <> 0 OR NEW.invoiced_total <> 0)
    EXECUTE FUNCTION billing_refuse('an account begins empty');
CREATE TRIGGER billing_grants_unchanged BEFORE UPDATE ON billing_grants
    FOR EACH ROW WHEN ((NEW.id, NEW.account_id, NEW.origin, NEW.amount, NEW.priority, NEW.created_at)
                       IS DISTINCT FROM (OLD.id, OLD.account_id, OLD.origin, OLD.amount, OLD.priority, OLD.created_at)
                       OR NEW.expires_at IS DISTINCT FROM OLD.expires_at OR NEW.reference IS DISTINCT FROM OLD.reference
                       OR NEW.remaining > OLD.remaining)
    EXECUTE FUNCTION billing_refuse('a grant only ever shrinks');
CREATE TRIGGER billing_reservations_unchanged BEFORE UPDATE ON billing_reservations
    FOR EACH ROW WHEN ((NEW.run_id, NEW.account_id, NEW.created_at) IS DISTINCT FROM (OLD.run_id, OLD.account_id, OLD.created_at)
                       OR NEW.amount < OLD.amount OR NEW.captured < OLD.captured OR NEW.released < OLD.released)
    EXECUTE FUNCTION billing_refuse('a reservation only ever grows');

-- What adds up, checked once a statement and at its end, when every part of it is
-- in place. The plans are cached, perhaps while the tables were still small; so
-- scans of a whole table are off, and each LATERAL keeps its lookup by index.

-- New entries follow the one before them, and the account has counted them.
CREATE FUNCTION billing_entries_follow() RETURNS trigger LANGUAGE plpgsql
    SET enable_seqscan = off AS $$
DECLARE
    wrong record;
BEGIN
    SELECT f.account_id, f.seq INTO wrong
      FROM fresh f
      LEFT JOIN LATERAL (SELECT b.id, b.last_seq, b.last_at FROM billing_accounts b WHERE b.id = f.account_id OFFSET 0) a ON true
      LEFT JOIN LATERAL (
            SELECT e.seq, e.at, e.available_after, e.held_after
              FROM billing_entries e
             WHERE e.account_id = f.account_id AND e.seq = f.seq - 1
            OFFSET 0) p ON true
     WHERE a.id IS NULL OR f.seq > a.last_seq OR f.at > a.last_at
        OR (f.seq > 1 AND p.seq IS NULL)
        OR f.available_after <> coalesce(p.available_after, 0) + f.d_available
        OR f.held_after <> coalesce(p.held_after, 0) + f.d_held
        OR f.at < p.at
     LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'entry % of account % does not follow from the one before it', wrong.seq, wrong.account_id
            USING ERRCODE = 'integrity_constraint_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = TG_NAME;
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER billing_entries_follow AFTER INSERT ON billing_entries
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION billing_entries_follow();

-- An account moves by the sum of the entries that it counted in the same statement; its grants cover it; its limit and mode hold.
CREATE FUNCTION billing_accounts_follow() RETURNS trigger LANGUAGE plpgsql
    SET enable_seqscan = off AS $$
DECLARE
    wrong record;
BEGIN
    SELECT n.id, n.mode, CASE
            WHEN o.id IS NULL THEN 'its id changed'
            WHEN n.company_id <> o.company_id THEN 'its company changed'
            WHEN n.mode <> o.mode AND (o.held > 0 OR n.held > 0) THEN 'its mode changed while credits are held'
            WHEN n.available + CASE n.mode WHEN 'PREPAID' THEN n.held ELSE 0 END <> c.remaining THEN 'its grants do not cover it'
            WHEN n.mode = 'POSTPAID' AND n.owed + n.held > o.owed + o.held AND n.owed + n.held > n.credit_limit THEN 'its limit is exceeded'
            ELSE 'it does not follow from its entries'
        END AS reason INTO wrong
      FROM fresh n
      LEFT JOIN stale o ON o.id = n.id
     CROSS JOIN LATERAL (
            SELECT count(*) AS lines, coalesce(max(e.at), n.last_at) AS at,
                   coalesce(sum(e.d_available), 0) AS available, coalesce(sum(e.d_held), 0) AS held,
                   coalesce(sum(e.d_captured), 0) AS captured, coalesce(sum(e.d_owed), 0) AS owed,
                   coalesce(sum(e.d_available) FILTER (WHERE e.kind IN ('PURCHASE', 'GRANT')), 0) AS granted,
                   coalesce(sum(e.d_available) FILTER (WHERE e.kind = 'ADJUST'), 0) AS adjusted,
                   coalesce(sum(e.d_available) FILTER (WHERE e.kind = 'REFUND'), 0) AS refunded,
                   coalesce(sum(e.d_available) FILTER (WHERE e.kind = 'EXPIRE'), 0) AS expired,
                   coalesce(sum(e.d_owed) FILTER (WHERE e.kind <> 'CAPTURE'), 0) AS invoiced
              FROM billing_entries e
             WHERE e.account_id = n.id AND e.seq > o.last_seq) s
     CROSS JOIN LATERAL (
            SELECT coalesce(sum(g.remaining), 0) AS remaining
              FROM billing_grants g
             WHERE g.account_id = n.id AND NOT g.spent) c
     WHERE o.id IS NULL
        OR n.company_id <> o.company_id
        OR n.mode <> o.mode AND (o.held > 0 OR n.held > 0)
        OR n.last_seq - o.last_seq <> s.lines OR n.last_at < greatest(o.last_at, s.at)
        OR n.available - o.available <> s.available OR n.held - o.held <> s.held
        OR n.captured_total - o.captured_total <> s.captured OR n.owed - o.owed <> s.owed
        OR n.granted_total - o.granted_total <> s.granted OR n.adjusted_total - o.adjusted_total <> s.adjusted
        OR n.refunded_total - o.refunded_total <> s.refunded OR o.expired_total - n.expired_total <> s.expired
        OR o.invoiced_total - n.invoiced_total <> s.invoiced
        OR n.available + CASE n.mode WHEN 'PREPAID' THEN n.held ELSE 0 END <> c.remaining
        OR n.mode = 'POSTPAID' AND n.owed + n.held > o.owed + o.held AND n.owed + n.held > n.credit_limit
     LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'account % cannot move: %', wrong.id, wrong.reason
            USING ERRCODE = 'integrity_constraint_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = TG_NAME;
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER billing_accounts_follow AFTER UPDATE ON billing_accounts
    REFERENCING OLD TABLE AS stale NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION billing_accounts_follow();

-- A reservation is the sum of the entries of its run.
CREATE FUNCTION billing_reservations_follow() RETURNS trigger LANGUAGE plpgsql
    SET enable_seqscan = off AS $$
DECLARE
    wrong record;
BEGIN
    SELECT n.run_id INTO wrong
      FROM fresh n
     CROSS JOIN LATERAL (
            SELECT coalesce(sum(e.d_held) FILTER (WHERE e.kind = 'RESERVE'), 0) AS amount,
                   coalesce(sum(e.d_captured), 0) AS captured,
                   coalesce(sum(-e.d_held) FILTER (WHERE e.kind = 'RELEASE'), 0) AS released
              FROM billing_entries e
             WHERE e.account_id = n.account_id AND e.run_id = n.run_id) s
     WHERE n.amount <> s.amount OR n.captured <> s.captured OR n.released <> s.released
     LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'the reservation of run % does not follow from its entries', wrong.run_id
            USING ERRCODE = 'integrity_constraint_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = TG_NAME;
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER billing_reservations_made AFTER INSERT ON billing_reservations
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION billing_reservations_follow();
CREATE TRIGGER billing_reservations_moved AFTER UPDATE ON billing_reservations
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION billing_reservations_follow();

-- Grants cover the account, no more and no less.
CREATE FUNCTION billing_grants_follow() RETURNS trigger LANGUAGE plpgsql
    SET enable_seqscan = off AS $$
DECLARE
    wrong record;
BEGIN
    SELECT n.account_id INTO wrong
      FROM (SELECT DISTINCT account_id FROM fresh) n
      LEFT JOIN LATERAL (SELECT b.mode, b.available, b.held FROM billing_accounts b WHERE b.id = n.account_id OFFSET 0) a ON true
     CROSS JOIN LATERAL (
            SELECT coalesce(sum(g.remaining), 0) AS remaining
              FROM billing_grants g
             WHERE g.account_id = n.account_id AND NOT g.spent) c
     WHERE c.remaining <> a.available + CASE a.mode WHEN 'PREPAID' THEN a.held ELSE 0 END
     LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'the grants of account % do not cover it', wrong.account_id
            USING ERRCODE = 'integrity_constraint_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = TG_NAME;
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER billing_grants_made AFTER INSERT ON billing_grants
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION billing_grants_follow();
CREATE TRIGGER billing_grants_moved AFTER UPDATE ON billing_grants
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION billing_grants_follow();

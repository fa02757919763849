-- Invoices, prices, and the audit of all of it.

-- The number of the last entry of an account that is dated before an instant; 0
-- for none. Within an account time never runs against the numbers, so this halves
-- its way there by the primary key and no index on time burdens each capture.
CREATE FUNCTION billing_seq_before(account text, instant timestamptz) RETURNS bigint LANGUAGE plpgsql STABLE AS $$
DECLARE
    low    bigint := 0;
    high   bigint := coalesce((SELECT a.last_seq FROM billing_accounts a WHERE a.id = account), 0);
    middle bigint;
BEGIN
    WHILE low < high LOOP
        middle := (low + high + 1) / 2;
        IF (SELECT e.at < instant FROM billing_entries e WHERE e.account_id = account AND e.seq = middle) THEN
            low := middle;
        ELSE
            high := middle - 1;
        END IF;
    END LOOP;
    RETURN low;
END $$;

-- What a credit costs a company, from when on. Append-only: of prices that begin together the last one set holds.
CREATE TABLE billing_prices (
    number     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id text NOT NULL REFERENCES billing_accounts (id),
    currency   text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'), -- ISO 4217
    digits     smallint NOT NULL CHECK (digits BETWEEN 0 AND 4), -- decimals of an amount of money in it
    price      numeric NOT NULL CHECK (price >= 0 AND scale(price) <= 8),
    starts_at  timestamptz NOT NULL,
    actor      text NOT NULL,
    created_at timestamptz NOT NULL
);
CREATE INDEX billing_prices_account ON billing_prices (account_id, starts_at);

-- One document for each period in which something was captured. Its window of entry
-- numbers says what it is about; windows follow each other without gap or overlap.
CREATE TABLE billing_invoices (
    id           text PRIMARY KEY,
    account_id   text NOT NULL REFERENCES billing_accounts (id),
    period_start timestamptz NOT NULL,
    period_end   timestamptz NOT NULL,
    revision     integer NOT NULL DEFAULT 1 CHECK (revision > 0), -- above 1: corrects the one before it, which is void
    from_seq     bigint NOT NULL CHECK (from_seq > 0),
    to_seq       bigint NOT NULL,
    kind         text NOT NULL CHECK (kind IN ('INVOICE', 'STATEMENT')),
    status       text NOT NULL DEFAULT 'CLOSED' CHECK (status IN ('CLOSED', 'PAID', 'VOID')),
    number       text UNIQUE,
    currency     text NOT NULL,
    digits       smallint NOT NULL,
    quantity     bigint NOT NULL, -- credits taken off what is owed
    total        numeric NOT NULL,
    closed_at    timestamptz NOT NULL,
    finalise_at  timestamptz NOT NULL, -- end of the grace period
    finalised_at timestamptz,
    paid_at      timestamptz,
    payment      text, -- reference of the money that came in
    voided_at    timestamptz,
    void_reason  text,
    CONSTRAINT billing_invoices_period CHECK (period_start < period_end),
    CONSTRAINT billing_invoices_window CHECK (from_seq <= to_seq + 1),
    CONSTRAINT billing_invoices_numbered CHECK ((number IS NULL) = (finalised_at IS NULL)),
    CONSTRAINT billing_invoices_paid CHECK ((status = 'PAID') = (paid_at IS NOT NULL) AND (paid_at IS NULL OR number IS NOT NULL)),
    CONSTRAINT billing_invoices_voided CHECK ((status = 'VOID') = (voided_at IS NOT NULL) AND (voided_at IS NULL) = (void_reason IS NULL)),
    CONSTRAINT billing_invoices_revision UNIQUE (account_id, period_start, revision)
);
CREATE UNIQUE INDEX billing_invoices_once ON billing_invoices (account_id, period_start) WHERE status <> 'VOID';
CREATE INDEX billing_invoices_waiting ON billing_invoices (finalise_at) WHERE number IS NULL AND status = 'CLOSED';

CREATE TABLE billing_invoice_lines (
    invoice_id  text NOT NULL REFERENCES billing_invoices (id),
    position    integer NOT NULL CHECK (position > 0),
    kind        text NOT NULL CHECK (kind IN ('USAGE', 'PREPAID', 'REFUND', 'ADJUST', 'MANUAL')),
    description text NOT NULL,
    quantity    bigint NOT NULL,
    unit_price  numeric NOT NULL,
    total       numeric NOT NULL,
    PRIMARY KEY (invoice_id, position)
);

-- The series of numbers, one for invoices and one for statements. A number is drawn
-- in the transaction that writes it on a document, so none is ever missing.
CREATE TABLE billing_counters (
    name  text PRIMARY KEY,
    value bigint NOT NULL DEFAULT 0
);
INSERT INTO billing_counters (name) VALUES ('INVOICE'), ('STATEMENT');

-- What the last audits found, the same on every node.
CREATE TABLE billing_audits (
    at         timestamptz PRIMARY KEY,
    accounts   bigint NOT NULL,
    entries    bigint NOT NULL,
    violations bigint NOT NULL,
    findings   json NOT NULL
);

CREATE TRIGGER billing_prices_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON billing_prices
    FOR EACH STATEMENT EXECUTE FUNCTION billing_refuse('prices are append-only');
CREATE TRIGGER billing_invoices_kept BEFORE DELETE OR TRUNCATE ON billing_invoices
    FOR EACH STATEMENT EXECUTE FUNCTION billing_refuse('invoices are kept');
CREATE TRIGGER billing_invoice_lines_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON billing_invoice_lines
    FOR EACH STATEMENT EXECUTE FUNCTION billing_refuse('lines are append-only');
CREATE TRIGGER billing_counters_forward BEFORE UPDATE ON billing_counters
    FOR EACH ROW WHEN (NEW.name <> OLD.name OR NEW.value <> OLD.value + 1)
    EXECUTE FUNCTION billing_refuse('a number is given once');
CREATE TRIGGER billing_counters_kept BEFORE DELETE OR TRUNCATE ON billing_counters
    FOR EACH STATEMENT EXECUTE FUNCTION billing_refuse('a series of numbers is kept');
CREATE TRIGGER billing_invoices_unchanged BEFORE UPDATE ON billing_invoices
    FOR EACH ROW WHEN ((NEW.id, NEW.account_id, NEW.period_start, NEW.period_end, NEW.revision, NEW.from_seq, NEW.to_seq, NEW.kind,
                        NEW.currency, NEW.digits, NEW.quantity, NEW.closed_at, NEW.finalise_at)
                       IS DISTINCT FROM
                       (OLD.id, OLD.account_id, OLD.period_start, OLD.period_end, OLD.revision, OLD.from_seq, OLD.to_seq, OLD.kind,
                        OLD.currency, OLD.digits, OLD.quantity, OLD.closed_at, OLD.finalise_at)
                       OR OLD.number IS NOT NULL AND (NEW.number, NEW.total) IS DISTINCT FROM (OLD.number, OLD.total)
                       OR OLD.status <> 'CLOSED')
    EXECUTE FUNCTION billing_refuse('an invoice changes only before it has a number, and ends paid or void');

-- An invoice is the sum of its lines, its window follows the one before it, and
-- the credits of its window are the ones taken off what is owed.
CREATE FUNCTION billing_invoices_follow() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    wrong record;
BEGIN
    SELECT n.id, CASE
            WHEN l.total <> n.total THEN 'it is not the sum of its lines'
            WHEN l.quantity <> n.quantity THEN 'its lines are not what its window owes'
            WHEN n.revision = 1 AND n.from_seq <> coalesce(p.to_seq, 0) + 1 THEN 'its window does not follow the one before it'
            WHEN n.revision > 1 AND (o.id IS NULL OR (o.from_seq, o.to_seq, o.period_end, o.status) IS DISTINCT FROM (n.from_seq, n.to_seq, n.period_end, 'VOID'))
                THEN 'it corrects nothing that is void'
            ELSE 'no entry takes it off what is owed'
        END AS reason INTO wrong
      FROM fresh n
     CROSS JOIN LATERAL (
            SELECT coalesce(sum(i.total), 0) AS total, coalesce(sum(i.quantity) FILTER (WHERE i.kind NOT IN ('PREPAID', 'MANUAL')), 0) AS quantity
              FROM billing_invoice_lines i
             WHERE i.invoice_id = n.id) l
      LEFT JOIN LATERAL (
            SELECT i.to_seq
              FROM billing_invoices i
             WHERE i.account_id = n.account_id AND i.period_start < n.period_start
             ORDER BY i.period_start DESC
             LIMIT 1) p ON true
      LEFT JOIN billing_invoices o ON o.account_id = n.account_id AND o.period_start = n.period_start AND o.revision = n.revision - 1
     WHERE l.total <> n.total OR l.quantity <> n.quantity
        OR n.revision = 1 AND n.from_seq <> coalesce(p.to_seq, 0) + 1
        OR n.revision > 1 AND (o.id IS NULL OR (o.from_seq, o.to_seq, o.period_end, o.status) IS DISTINCT FROM (n.from_seq, n.to_seq, n.period_end, 'VOID'))
        OR n.revision = 1 AND NOT EXISTS (
               SELECT FROM billing_accounts a JOIN billing_entries e ON e.account_id = a.id AND e.seq > n.to_seq AND e.seq <= a.last_seq
                WHERE a.id = n.account_id AND e.kind = 'INVOICE' AND e.invoice_id = n.id AND e.d_owed = -n.quantity)
     LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'invoice % cannot be: %', wrong.id, wrong.reason
            USING ERRCODE = 'integrity_constraint_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = TG_NAME;
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER billing_invoices_made AFTER INSERT ON billing_invoices
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION billing_invoices_follow();
CREATE TRIGGER billing_invoices_moved AFTER UPDATE ON billing_invoices
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION billing_invoices_follow();

-- A line is added only while its invoice has no number, and the invoice counts it in the same statement.
CREATE FUNCTION billing_invoice_lines_follow() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    wrong record;
BEGIN
    SELECT n.invoice_id INTO wrong
      FROM (SELECT DISTINCT f.invoice_id FROM fresh f) n
      JOIN billing_invoices i ON i.id = n.invoice_id
     CROSS JOIN LATERAL (SELECT sum(l.total) AS total FROM billing_invoice_lines l WHERE l.invoice_id = n.invoice_id) s
     WHERE i.number IS NOT NULL OR i.status <> 'CLOSED' OR i.total <> s.total;
    IF FOUND THEN
        RAISE EXCEPTION 'invoice % takes no more lines, or does not count them', wrong.invoice_id
            USING ERRCODE = 'integrity_constraint_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = TG_NAME;
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER billing_invoice_lines_made AFTER INSERT ON billing_invoice_lines
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION billing_invoice_lines_follow();

-- An optional chain over the entries of an account: each digest covers the entry
-- and the digest before it, so that no entry can be changed, removed or put in
-- without breaking all that follow. Off by default: the trigger is enabled by a
-- node whose settings ask for it, and from then on every entry is chained.
CREATE FUNCTION billing_entry_text(e billing_entries) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT concat_ws('|', e.account_id, e.seq, e.kind, e.d_available, e.d_held, e.d_captured, e.d_owed, e.available_after, e.held_after,
                     (extract(epoch FROM e.at) * 1000000)::bigint,
                     coalesce(octet_length(e.run_id) || ':' || e.run_id, '-'), coalesce(octet_length(e.profile_id) || ':' || e.profile_id, '-'),
                     coalesce(octet_length(e.grant_id) || ':' || e.grant_id, '-'), coalesce(octet_length(e.invoice_id) || ':' || e.invoice_id, '-'),
                     coalesce(octet_length(e.idempotency_key) || ':' || e.idempotency_key, '-'),
                     octet_length(e.actor) || ':' || e.actor, coalesce(octet_length(e.memo) || ':' || e.memo, '-'))
$$;

CREATE FUNCTION billing_entries_link() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    before bytea;
BEGIN
    -- rows of one statement arrive in the order of their numbers, and a row sees those before it
    SELECT e.chain INTO before FROM billing_entries e WHERE e.account_id = NEW.account_id AND e.seq = NEW.seq - 1;
    IF NOT FOUND AND NEW.seq > 1 THEN
        RAISE EXCEPTION 'entry % of account % comes before the one it follows', NEW.seq, NEW.account_id
            USING ERRCODE = 'integrity_constraint_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = TG_NAME;
    END IF;
    NEW.chain := sha256(coalesce(before, ''::bytea) || convert_to(billing_entry_text(NEW), 'UTF8'));
    RETURN NEW;
END $$;

CREATE TRIGGER billing_entries_chain BEFORE INSERT ON billing_entries
    FOR EACH ROW EXECUTE FUNCTION billing_entries_link();
ALTER TABLE billing_entries DISABLE TRIGGER billing_entries_chain;

-- How a number is spelled.
CREATE FUNCTION billing_number(series text, value bigint) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE series WHEN 'INVOICE' THEN 'INV-' ELSE 'STM-' END || lpad(value::text, greatest(8, length(value::text)), '0')
$$;

-- Proves the books: one row for each broken invariant of billing/README.md. It
-- trusts none of the constraints above. Balances are judged as of the last
-- movement of the account, so a grant that expired since is no violation until the account moves again.
CREATE FUNCTION billing_audit() RETURNS TABLE (invariant text, account_id text, detail text)
    LANGUAGE sql STABLE ROWS 10 AS $$
WITH line AS (
    SELECT e.*, lag(e.seq, 1, 0::bigint) OVER w AS seq_before, lag(e.at) OVER w AS at_before,
           sum(e.d_available) OVER w AS available_sum, sum(e.d_held) OVER w AS held_sum
      FROM billing_entries e
    WINDOW w AS (PARTITION BY e.account_id ORDER BY e.seq ROWS UNBOUNDED PRECEDING)
), total AS (
    SELECT a.id, a.mode, a.available, a.held, a.last_seq, a.last_at, count(e.seq) AS lines, max(e.at) AS at,
           coalesce(sum(e.d_available), 0) AS d_available, coalesce(sum(e.d_held), 0) AS d_held,
           coalesce(sum(e.d_captured), 0) AS d_captured, coalesce(sum(e.d_owed), 0) AS d_owed,
           coalesce(sum(e.d_available) FILTER (WHERE e.kind IN ('PURCHASE', 'GRANT')), 0) AS granted,
           coalesce(sum(e.d_available) FILTER (WHERE e.kind = 'ADJUST'), 0) AS adjusted,
           coalesce(sum(e.d_available) FILTER (WHERE e.kind = 'REFUND'), 0) AS refunded,
           -coalesce(sum(e.d_available) FILTER (WHERE e.kind = 'EXPIRE'), 0) AS expired,
           -coalesce(sum(e.d_owed) FILTER (WHERE e.kind <> 'CAPTURE'), 0) AS invoiced,
           coalesce(sum(e.d_owed) FILTER (WHERE e.kind <> 'INVOICE' AND e.seq > coalesce(w.to_seq, 0)), 0) AS unbilled
      FROM billing_accounts a
      LEFT JOIN (SELECT i.account_id, max(i.to_seq) AS to_seq FROM billing_invoices i GROUP BY i.account_id) w ON w.account_id = a.id
      LEFT JOIN billing_entries e ON e.account_id = a.id
     GROUP BY a.id
), run AS (
    SELECT e.account_id, e.run_id,
           coalesce(sum(e.d_held) FILTER (WHERE e.kind = 'RESERVE'), 0) AS amount, sum(e.d_captured) AS captured,
           -coalesce(sum(e.d_held) FILTER (WHERE e.kind = 'RELEASE'), 0) AS released
      FROM billing_entries e
     WHERE e.kind IN ('RESERVE', 'CAPTURE', 'RELEASE')
     GROUP BY e.account_id, e.run_id
), purse AS (
    SELECT a.id, coalesce(sum(g.remaining), 0) AS remaining,
           coalesce(sum(g.remaining) FILTER (WHERE g.expires_at <= a.last_at), 0) AS expired,
           min(g.expires_at) FILTER (WHERE g.expires_at > a.last_at AND g.remaining > 0) AS next
      FROM billing_accounts a
      LEFT JOIN billing_grants g ON g.account_id = a.id
     GROUP BY a.id
)
SELECT 'I1', t.id, format('entries sum to available %s, held %s, captured %s, owed %s, but the account says %s, %s, %s, %s',
                          t.d_available, t.d_held, t.d_captured, t.d_owed, a.available, a.held, a.captured_total, a.owed)
  FROM total t JOIN billing_accounts a ON a.id = t.id
 WHERE (t.d_available, t.d_held, t.d_captured, t.d_owed) IS DISTINCT FROM (a.available, a.held, a.captured_total, a.owed)
UNION ALL
SELECT 'I2', t.id, format('granted %s + adjusted %s + refunded %s came in; available %s + held %s + captured %s + expired %s are accounted for',
                          a.granted_total, a.adjusted_total, a.refunded_total,
                          a.available, a.held, a.captured_total - a.owed - a.invoiced_total, a.expired_total)
  FROM total t JOIN billing_accounts a ON a.id = t.id
 WHERE a.granted_total + a.adjusted_total + a.refunded_total
       <> a.available + CASE a.mode WHEN 'PREPAID' THEN a.held ELSE 0 END
          + a.captured_total - a.owed - a.invoiced_total + a.expired_total
    OR (t.granted, t.adjusted, t.refunded, t.expired, t.invoiced)
       IS DISTINCT FROM (a.granted_total, a.adjusted_total, a.refunded_total, a.expired_total, a.invoiced_total)
UNION ALL
SELECT 'I3', a.id, format('available %s, held %s, owed %s: one is below zero', a.available, a.held, a.owed)
  FROM billing_accounts a
 WHERE a.available < 0 OR a.held < 0 OR a.owed < 0
UNION ALL
SELECT 'I3', l.account_id, format('entry %s leaves available %s, held %s', l.seq, l.available_sum, l.held_sum)
  FROM line l
 WHERE l.available_sum < 0 OR l.held_sum < 0
UNION ALL
SELECT 'I4', coalesce(r.account_id, e.account_id),
       format('run %s: reserved %s, captured %s, released %s, %s; its entries say %s, %s, %s',
              coalesce(r.run_id, e.run_id), r.amount, r.captured, r.released, r.state, e.amount, e.captured, e.released)
  FROM billing_reservations r
  FULL JOIN run e ON e.run_id = r.run_id AND e.account_id = r.account_id
 WHERE (r.amount, r.captured, r.released) IS DISTINCT FROM (e.amount, e.captured, e.released)
    OR r.captured + r.released > r.amount
    OR r.state <> 'OPEN' AND r.captured + r.released <> r.amount
UNION ALL
SELECT 'I4', t.id, format('held is %s, open reservations hold %s', t.held, coalesce(r.held, 0))
  FROM total t
  LEFT JOIN (SELECT o.account_id, sum(o.amount - o.captured - o.released) AS held
               FROM billing_reservations o WHERE o.state = 'OPEN' GROUP BY o.account_id) r ON r.account_id = t.id
 WHERE t.held <> coalesce(r.held, 0)
UNION ALL
SELECT 'I5', e.account_id, format('profile %s is captured %s times in run %s', e.profile_id, count(*), e.run_id)
  FROM billing_entries e
 WHERE e.kind = 'CAPTURE'
 GROUP BY e.account_id, e.run_id, e.profile_id
HAVING count(*) > 1 OR sum(e.d_captured) <> 1
UNION ALL
SELECT 'I5', e.account_id, format('run %s captured %s of %s reserved', e.run_id, e.captured, e.amount)
  FROM run e
 WHERE e.captured > e.amount
UNION ALL
SELECT 'I6', l.account_id, format('entry %s follows entry %s', l.seq, l.seq_before)
  FROM line l
 WHERE l.seq <> l.seq_before + 1
UNION ALL
SELECT 'I6', l.account_id, format('entry %s says available %s, held %s after it; the sums are %s, %s',
                                  l.seq, l.available_after, l.held_after, l.available_sum, l.held_sum)
  FROM line l
 WHERE (l.available_after, l.held_after) IS DISTINCT FROM (l.available_sum, l.held_sum)
UNION ALL
SELECT 'I6', l.account_id, format('entry %s is dated before entry %s', l.seq, l.seq_before)
  FROM line l
 WHERE l.at < l.at_before
UNION ALL
SELECT 'I6', t.id, format('the account counts %s entries until %s; there are %s until %s', t.last_seq, t.last_at, t.lines, t.at)
  FROM total t
 WHERE t.last_seq <> t.lines OR t.last_at < t.at
UNION ALL
SELECT 'I6', l.account_id, format('entry %s belongs to no account', l.seq)
  FROM line l
 WHERE NOT EXISTS (SELECT FROM billing_accounts a WHERE a.id = l.account_id)
UNION ALL
SELECT 'I8', t.id, format('what is not on an invoice is worth %s, %s are owed', t.unbilled, a.owed)
  FROM total t JOIN billing_accounts a ON a.id = t.id
 WHERE t.unbilled <> a.owed
UNION ALL
SELECT 'I8', i.account_id, format('invoice %s covers the entries %s to %s, the one before it ended at %s', i.id, i.from_seq, i.to_seq, i.to_before)
  FROM (SELECT f.*, lag(f.to_seq, 1, 0::bigint) OVER (PARTITION BY f.account_id ORDER BY f.period_start) AS to_before,
               lag(f.period_end) OVER (PARTITION BY f.account_id ORDER BY f.period_start) AS end_before
          FROM billing_invoices f
         WHERE f.revision = 1) i
 WHERE i.from_seq <> i.to_before + 1 OR i.period_start < i.end_before
UNION ALL
SELECT 'I8', i.account_id, format('invoice %s has no void one before it with the same window', i.id)
  FROM billing_invoices i
 WHERE i.revision > 1 AND NOT EXISTS (
       SELECT FROM billing_invoices o
        WHERE o.account_id = i.account_id AND o.period_start = i.period_start AND o.revision = i.revision - 1 AND o.status = 'VOID'
          AND (o.from_seq, o.to_seq, o.period_end) = (i.from_seq, i.to_seq, i.period_end))
UNION ALL
SELECT 'I8', i.account_id, format('invoice %s: its window owes %s and captured %s for credits, its lines say %s and %s, of %s',
                                  i.id, w.owed, w.prepaid, l.owed, l.prepaid, i.quantity)
  FROM billing_invoices i
 CROSS JOIN LATERAL (
        SELECT coalesce(sum(e.d_owed) FILTER (WHERE e.kind <> 'INVOICE'), 0) AS owed,
               coalesce(sum(e.d_captured - e.d_owed) FILTER (WHERE e.kind = 'CAPTURE'), 0) AS prepaid
          FROM billing_entries e
         WHERE e.account_id = i.account_id AND e.seq BETWEEN i.from_seq AND i.to_seq) w
 CROSS JOIN LATERAL (
        SELECT coalesce(sum(n.quantity) FILTER (WHERE n.kind NOT IN ('PREPAID', 'MANUAL')), 0) AS owed,
               coalesce(sum(n.quantity) FILTER (WHERE n.kind = 'PREPAID'), 0) AS prepaid
          FROM billing_invoice_lines n
         WHERE n.invoice_id = i.id) l
 WHERE (w.owed, w.prepaid) IS DISTINCT FROM (l.owed, l.prepaid) OR w.owed <> i.quantity
UNION ALL
SELECT 'I8', i.account_id, format('entry %s of invoice %s is dated outside its period', e.seq, i.id)
  FROM billing_invoices i
  JOIN billing_entries e ON e.account_id = i.account_id AND e.seq IN (i.to_seq, i.to_seq + 1)
 WHERE (e.seq = i.to_seq) <> (e.at < i.period_end)
UNION ALL
SELECT 'I8', i.account_id, format('invoice %s is worth %s, its lines %s', i.id, i.total, coalesce(l.total, 0))
  FROM billing_invoices i
  LEFT JOIN (SELECT n.invoice_id, sum(n.total) AS total, bool_or(n.total <> round(n.quantity * n.unit_price, f.digits)) AS wrong
               FROM billing_invoice_lines n JOIN billing_invoices f ON f.id = n.invoice_id GROUP BY n.invoice_id) l ON l.invoice_id = i.id
 WHERE i.total <> coalesce(l.total, 0) OR l.wrong
UNION ALL
SELECT 'I8', coalesce(i.account_id, e.account_id), format('invoice %s takes %s off what is owed, its entry %s', coalesce(i.id, e.invoice_id), i.quantity, -e.d_owed)
  FROM (SELECT f.* FROM billing_invoices f WHERE f.revision = 1) i
  FULL JOIN (SELECT x.* FROM billing_entries x WHERE x.kind = 'INVOICE') e ON e.invoice_id = i.id AND e.account_id = i.account_id
 WHERE (i.quantity = -e.d_owed) IS NOT TRUE
UNION ALL
SELECT 'I8', '', format('%s numbers of %s were given, %s are on documents', c.value, c.name, n.given)
  FROM billing_counters c
 CROSS JOIN LATERAL (
        SELECT count(*) AS given, max(i.number) AS newest
          FROM billing_invoices i
         WHERE i.kind = c.name AND i.number IS NOT NULL) n
 WHERE c.value <> n.given OR n.newest <> billing_number(c.name, c.value)
UNION ALL
SELECT 'I12', t.id, format('grants have %s left, the account %s', p.remaining, t.available + CASE t.mode WHEN 'PREPAID' THEN t.held ELSE 0 END)
  FROM total t JOIN purse p ON p.id = t.id
 WHERE p.remaining <> t.available + CASE t.mode WHEN 'PREPAID' THEN t.held ELSE 0 END
UNION ALL
SELECT 'I12', t.id, format('expired grants have %s left, only %s is held', p.expired, t.held)
  FROM total t JOIN purse p ON p.id = t.id
 WHERE p.expired > CASE t.mode WHEN 'PREPAID' THEN t.held ELSE 0 END
UNION ALL
SELECT 'I12', a.id, format('a grant expires at %s, the account waits until %s', p.next, a.next_expiry_at)
  FROM billing_accounts a JOIN purse p ON p.id = a.id
 WHERE p.next < coalesce(a.next_expiry_at, 'infinity')
UNION ALL
SELECT 'I12', g.account_id, format('grant %s lost %s, entries drew %s of it', g.id, g.amount - g.remaining, coalesce(sum(d.amount), 0))
  FROM billing_grants g
  LEFT JOIN billing_grant_draws d ON d.grant_id = g.id AND d.account_id = g.account_id
 GROUP BY g.id
HAVING g.amount - g.remaining <> coalesce(sum(d.amount), 0)
UNION ALL
SELECT 'I12', e.account_id, format('entry %s (%s) spent %s, %s was drawn for it', e.seq, e.kind,
                                   CASE e.kind WHEN 'CAPTURE' THEN e.d_captured - e.d_owed ELSE -e.d_available END, coalesce(d.amount, 0))
  FROM billing_entries e
  LEFT JOIN (SELECT w.account_id, w.seq, sum(w.amount) AS amount FROM billing_grant_draws w GROUP BY w.account_id, w.seq) d
    ON d.account_id = e.account_id AND d.seq = e.seq
 WHERE CASE e.kind WHEN 'CAPTURE' THEN e.d_captured - e.d_owed WHEN 'EXPIRE' THEN -e.d_available
                   WHEN 'ADJUST' THEN greatest(-e.d_available, 0) ELSE 0 END <> coalesce(d.amount, 0)
UNION ALL
SELECT 'I12', d.account_id, format('a draw of %s on grant %s belongs to no entry', d.amount, d.grant_id)
  FROM billing_grant_draws d
 WHERE NOT EXISTS (SELECT FROM billing_entries e WHERE e.account_id = d.account_id AND e.seq = d.seq)
$$;

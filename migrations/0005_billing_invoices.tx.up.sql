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
           coalesce(sum(e.d_owed) FILTER (WHERE e.kind = 'CAPTURE' AND e.invoice_id IS NULL), 0) AS unbilled
      FROM billing_accounts a
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
SELECT 'I8', t.id, format('captures without an invoice are worth %s, %s are owed', t.unbilled, a.owed)
  FROM total t JOIN billing_accounts a ON a.id = t.id
 WHERE t.unbilled <> a.owed
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

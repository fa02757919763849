package billing

import (
	"context"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"
)

// systemActor signs entries that no caller asked for.
const systemActor = "system"

// batch is what moveBatch works on, without repeats.
type batch struct {
	// accounts are locked.
	accounts []string
	// runs are all runs of the batch; the rest belong to one account each.
	runs []string
	// captureRuns, profiles and outcomes are the captures, item by item.
	captureRuns, profiles, outcomes []string
	// ends are the runs that end, states what becomes of the reservation of each.
	ends, states []string
}

// movedRun is a run after the move.
type movedRun struct {
	RunID      string `bun:"run_id"`
	RunCredits `bun:",extend"`
	AccountID  string `bun:"account_id"`
	// Uncovered counts captures that the run's reservation does not cover.
	Uncovered int64 `bun:"uncovered"`
	// Overdue says that expired grants of the account now exceed what it holds.
	Overdue bool `bun:"overdue"`
}

// moveBatch writes the captures and releases, and moves reservations, accounts
// and grants by what was inserted. The accounts were locked by a statement
// before this one: a statement sees the tables as they were when it began, so
// waiting for the lock in here would compute from stale figures. Everything
// read here changes only under that lock.
func moveBatch(ctx context.Context, tx bun.Tx, b batch) ([]movedRun, error) {
	var runs []movedRun
	err := tx.NewRaw(moveSQL, struct{ Accounts, Runs, CaptureRuns, Profiles, Outcomes, Ends, States, Actor any }{
		bun.List(b.accounts), bun.List(b.runs),
		pgdialect.Array(b.captureRuns), pgdialect.Array(b.profiles), pgdialect.Array(b.outcomes),
		pgdialect.Array(b.ends), pgdialect.Array(b.states), systemActor,
	}).Scan(ctx, &runs)
	return runs, err
}

const moveSQL = `
WITH account AS MATERIALIZED (
	SELECT a.id, CASE a.mode WHEN 'PREPAID' THEN 1 ELSE 0 END AS prepaid, a.available, a.held, a.last_seq,
	       a.next_expiry_at, greatest(a.last_at, billing_now()) AS at
	  FROM billing_accounts AS a
	 WHERE a.id IN (?accounts)
), asked AS MATERIALIZED (
	-- captures that do not exist yet; LIMIT has each looked up by the unique index, whatever the statistics say
	SELECT w.run_id, w.profile_id, w.outcome, w.place, r.account_id,
	       coalesce(r.state = 'OPEN' AND row_number() OVER (PARTITION BY w.run_id ORDER BY w.place)
	                                     <= r.amount - r.captured - r.released, false) AS covered
	  FROM unnest(?capture_runs::text[], ?profiles::text[], ?outcomes::text[]) WITH ORDINALITY AS w (run_id, profile_id, outcome, place)
	  LEFT JOIN billing_reservations AS r ON r.run_id = w.run_id AND r.run_id IN (?runs) AND r.account_id IN (?accounts)
	  LEFT JOIN LATERAL (
			SELECT e.kind
			  FROM billing_entries AS e
			 WHERE e.account_id = r.account_id AND e.run_id = w.run_id AND e.profile_id = w.profile_id AND e.kind = 'CAPTURE'
			 LIMIT 1) AS done ON true
	 WHERE done.kind IS NULL
), captured AS (
	INSERT INTO billing_entries (account_id, seq, d_held, d_captured, d_owed, available_after, held_after, at,
	                             kind, run_id, profile_id, actor, memo)
	SELECT a.id, a.last_seq + row_number() OVER w, -1, 1, 1 - a.prepaid, a.available, a.held - row_number() OVER w, a.at,
	       'CAPTURE', q.run_id, q.profile_id, ?actor, nullif(q.outcome, '')
	  FROM asked AS q
	  JOIN account AS a ON a.id = q.account_id
	 WHERE q.covered
	WINDOW w AS (PARTITION BY a.id ORDER BY q.place)
	ON CONFLICT (account_id, run_id, profile_id, kind) WHERE run_id IS NOT NULL DO NOTHING
	RETURNING account_id, seq, run_id
), taken AS (
	SELECT c.account_id, c.run_id, count(*) AS captured
	  FROM captured AS c
	 GROUP BY c.account_id, c.run_id
), change AS MATERIALIZED (
	-- what happens to each reservation: captures, and the rest when the run ends
	SELECT r.run_id, r.account_id, coalesce(t.captured, 0) AS captured, w.run_id IS NOT NULL AS ends, w.state,
	       CASE WHEN w.run_id IS NULL THEN 0 ELSE r.amount - r.captured - r.released - coalesce(t.captured, 0) END AS rest
	  FROM billing_reservations AS r
	  LEFT JOIN taken AS t ON t.run_id = r.run_id
	  LEFT JOIN unnest(?ends::text[], ?states::text[]) AS w (run_id, state) ON w.run_id = r.run_id
	 WHERE r.run_id IN (?runs) AND r.account_id IN (?accounts) AND r.state = 'OPEN'
	   AND (t.run_id IS NOT NULL OR w.run_id IS NOT NULL)
), total AS MATERIALIZED (
	SELECT c.account_id, sum(c.captured)::bigint AS captured, sum(c.rest)::bigint AS rest,
	       (sum(c.captured) + count(*) FILTER (WHERE c.rest > 0))::bigint AS lines
	  FROM change AS c
	 GROUP BY c.account_id
), released AS (
	INSERT INTO billing_entries (account_id, seq, d_available, d_held, available_after, held_after, at, kind, run_id, actor)
	SELECT a.id, a.last_seq + t.captured + row_number() OVER w, a.prepaid * c.rest, -c.rest,
	       a.available + a.prepaid * sum(c.rest) OVER w, a.held - t.captured - sum(c.rest) OVER w, a.at, 'RELEASE', c.run_id, ?actor
	  FROM change AS c
	  JOIN account AS a ON a.id = c.account_id
	  JOIN total AS t ON t.account_id = c.account_id
	 WHERE c.rest > 0
	WINDOW w AS (PARTITION BY a.id ORDER BY c.run_id ROWS UNBOUNDED PRECEDING)
), reservation AS (
	UPDATE billing_reservations AS r
	   SET captured = r.captured + c.captured,
	       released = r.released + c.rest,
	       state = CASE WHEN c.ends THEN c.state ELSE r.state END
	  FROM change AS c
	 WHERE r.run_id = c.run_id AND r.run_id IN (?runs)
), moved AS (
	UPDATE billing_accounts AS b
	   SET available = b.available + a.prepaid * t.rest,
	       held = b.held - t.captured - t.rest,
	       captured_total = b.captured_total + t.captured,
	       owed = b.owed + (1 - a.prepaid) * t.captured,
	       last_seq = b.last_seq + t.lines,
	       last_at = a.at
	  FROM total AS t
	  JOIN account AS a ON a.id = t.account_id
	 WHERE b.id = t.account_id AND b.id IN (?accounts) AND t.lines > 0
), purse AS MATERIALIZED (
	-- live grants in spending order, each covering the captures above below and up to upto
	SELECT g.id, g.account_id, g.remaining, g.expires_at <= a.at AS expired,
	       (sum(g.remaining) OVER w - g.remaining)::bigint AS below, (sum(g.remaining) OVER w)::bigint AS upto
	  FROM billing_grants AS g
	  JOIN account AS a ON a.id = g.account_id
	 WHERE NOT g.spent AND a.prepaid = 1
	WINDOW w AS (PARTITION BY g.account_id ORDER BY coalesce(g.expires_at <= a.at, false) DESC, g.priority, g.expires_at, g.id)
), drawn AS (
	INSERT INTO billing_grant_draws (account_id, seq, grant_id, amount)
	SELECT c.account_id, c.seq, p.id, 1
	  FROM captured AS c
	  JOIN account AS a ON a.id = c.account_id
	  JOIN purse AS p ON p.account_id = c.account_id AND c.seq - a.last_seq > p.below AND c.seq - a.last_seq <= p.upto
	RETURNING grant_id, amount
), spent AS (
	UPDATE billing_grants AS g
	   SET remaining = g.remaining - d.amount
	  FROM (SELECT grant_id, sum(amount)::bigint AS amount FROM drawn GROUP BY grant_id) AS d
	 WHERE g.id = d.grant_id
), overdue AS (
	-- captures take from what has expired first
	SELECT a.id, a.next_expiry_at <= a.at OR e.remaining - t.captured > a.held - t.captured - t.rest AS overdue
	  FROM account AS a
	  JOIN total AS t ON t.account_id = a.id
	  LEFT JOIN (SELECT account_id, sum(remaining) AS remaining FROM purse WHERE expired GROUP BY account_id) AS e ON e.account_id = a.id
	 WHERE t.lines > 0
)
SELECT w.run_id, coalesce(r.account_id, '') AS account_id, coalesce(r.amount, 0) AS reserved,
       coalesce(r.captured + coalesce(c.captured, 0), 0) AS captured,
       coalesce(r.released + coalesce(c.rest, 0), 0) AS released,
       coalesce(r.amount - r.captured - r.released - coalesce(c.captured + c.rest, 0), 0) AS held,
       (SELECT count(*) FROM asked AS q WHERE q.run_id = w.run_id AND NOT q.covered) AS uncovered,
       coalesce(o.overdue, false) AS overdue
  FROM unnest(ARRAY[?runs]::text[]) AS w (run_id)
  LEFT JOIN billing_reservations AS r ON r.run_id = w.run_id AND r.account_id IN (?accounts)
  LEFT JOIN change AS c ON c.run_id = w.run_id
  LEFT JOIN overdue AS o ON o.id = r.account_id`

// expire ends what has expired in accounts that the transaction has locked, as
// far as it is not held: held credits count as those that are lost soonest, so
// that a hold never loses what it stands on. One entry for each grant.
func expire(ctx context.Context, tx bun.Tx, accountIDs []string) error {
	_, err := tx.NewRaw(expireSQL, struct {
		Accounts any
		Actor    string
	}{bun.List(accountIDs), systemActor}).Exec(ctx)
	return err
}

const expireSQL = `
WITH account AS MATERIALIZED (
	SELECT a.id, a.available, a.held, a.last_seq, greatest(a.last_at, billing_now()) AS at
	  FROM billing_accounts AS a
	 WHERE a.id IN (?accounts)
), due AS (
	SELECT g.id, g.account_id, least(g.remaining, sum(g.remaining) OVER w - a.held)::bigint AS lost
	  FROM billing_grants AS g
	  JOIN account AS a ON a.id = g.account_id
	 WHERE NOT g.spent AND g.expires_at <= a.at
	WINDOW w AS (PARTITION BY g.account_id ORDER BY g.priority, g.expires_at, g.id)
), line AS MATERIALIZED (
	SELECT d.id AS grant_id, d.account_id, d.lost, a.last_seq + row_number() OVER w AS seq,
	       a.available - sum(d.lost) OVER w AS available_after, a.held, a.at
	  FROM due AS d
	  JOIN account AS a ON a.id = d.account_id
	 WHERE d.lost > 0
	WINDOW w AS (PARTITION BY d.account_id ORDER BY d.id ROWS UNBOUNDED PRECEDING)
), entry AS (
	INSERT INTO billing_entries (account_id, seq, d_available, available_after, held_after, at, kind, grant_id, actor)
	SELECT l.account_id, l.seq, -l.lost, l.available_after, l.held, l.at, 'EXPIRE', l.grant_id, ?actor
	  FROM line AS l
), drawn AS (
	INSERT INTO billing_grant_draws (account_id, seq, grant_id, amount)
	SELECT l.account_id, l.seq, l.grant_id, l.lost
	  FROM line AS l
), lost AS (
	UPDATE billing_grants AS g
	   SET remaining = g.remaining - l.lost
	  FROM line AS l
	 WHERE g.id = l.grant_id
)
UPDATE billing_accounts AS b
   SET available = b.available - coalesce(t.lost, 0),
       expired_total = b.expired_total + coalesce(t.lost, 0),
       last_seq = b.last_seq + coalesce(t.lines, 0),
       last_at = a.at,
       next_expiry_at = (SELECT min(g.expires_at)
                           FROM billing_grants AS g
                          WHERE g.account_id = a.id AND NOT g.spent AND g.expires_at > a.at)
  FROM account AS a
  LEFT JOIN (SELECT account_id, sum(lost)::bigint AS lost, count(*) AS lines FROM line GROUP BY account_id) AS t ON t.account_id = a.id
 WHERE b.id = a.id`

package billing

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/uptrace/bun"

	"github.com/enrichd/enrichd/internal/ident"
	"github.com/enrichd/enrichd/internal/pg"
)

// insertAccount reports false when the company has an account already.
func insertAccount(ctx context.Context, db bun.IDB, a *Account) (bool, error) {
	res, err := db.NewRaw(`
		INSERT INTO billing_accounts (id, company_id, mode, credit_limit, cycle_anchor, time_zone, next_period_start, next_period_end)
		SELECT ?id, ?company_id, ?mode, ?credit_limit, ?cycle_anchor, ?time_zone, p.start, billing_period_end(p.start, ?cycle_anchor, ?time_zone)
		  FROM (SELECT billing_period_start(billing_now(), ?cycle_anchor, ?time_zone) AS start OFFSET 0) AS p
		ON CONFLICT (company_id) DO NOTHING`, a).Exec(ctx)
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n == 1, err
}

// standing is an account at the moment of reading, Now by the ledger's clock.
// Overdue says that a grant has expired since the account last moved, so that
// available may be too high.
type standing struct {
	Account `bun:",extend"`
	Now     time.Time `bun:"now"`
	Overdue bool      `bun:"overdue"`
	// was is what was left when the transaction first locked the account.
	was int64
}

// accountOf returns nil when the company has no account.
func accountOf(ctx context.Context, db bun.IDB, companyID string) (*standing, error) {
	return scanAccount(ctx, db.NewRaw(accountSQL+" WHERE a.company_id = ?", companyID))
}

// accountByID returns nil when there is no such account.
func accountByID(ctx context.Context, db bun.IDB, id string) (*standing, error) {
	return scanAccount(ctx, db.NewRaw(accountSQL+" WHERE a.id = ?", id))
}

// lockAccount is accountOf that also locks the row until the end of the
// transaction. The lock is a statement of its own: one that waits for it has read
// the clock before, and would take the account to stand at a time that it has passed.
func lockAccount(ctx context.Context, tx bun.Tx, companyID string) (*standing, error) {
	if _, err := tx.NewRaw("SELECT FROM billing_accounts WHERE company_id = ? FOR UPDATE", companyID).Exec(ctx); err != nil {
		return nil, err
	}
	return accountOf(ctx, tx, companyID)
}

const accountSQL = `
SELECT a.*, c.now, coalesce(a.next_expiry_at <= c.now, false) AS overdue
  FROM billing_accounts AS a
 CROSS JOIN LATERAL (SELECT greatest(a.last_at, billing_now()) AS now OFFSET 0) AS c`

func scanAccount(ctx context.Context, q *bun.RawQuery) (*standing, error) {
	a := new(standing)
	err := q.Scan(ctx, a)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	a.was = a.left()
	return a, err
}

// lockAccounts locks the accounts of the companies, in the order of their ids, and
// returns those: what each has left, and where it is low.
func lockAccounts(ctx context.Context, tx bun.Tx, companyIDs []string) ([]watched, error) {
	var rows []watched
	err := tx.NewRaw(watchedSQL+`
		 WHERE a.company_id IN (?)
		 ORDER BY a.id
		   FOR UPDATE OF a`, bun.List(companyIDs)).Scan(ctx, &rows)
	return rows, err
}

// watchedOf is lockAccounts by id, without a lock.
func watchedOf(ctx context.Context, tx bun.Tx, ids []string) ([]watched, error) {
	var rows []watched
	err := tx.NewRaw(watchedSQL+" WHERE a.id IN (?) ORDER BY a.id", bun.List(ids)).Scan(ctx, &rows)
	return rows, err
}

const watchedSQL = `
SELECT a.id, a.company_id, a.available, a.held, a.low_threshold, a.last_at,
       CASE a.mode WHEN 'PREPAID' THEN a.available + a.held ELSE coalesce(a.credit_limit - a.owed, 9223372036854775807) END AS remaining
  FROM billing_accounts AS a`

// runCredits returns the credits of those of the runs that have a reservation.
func runCredits(ctx context.Context, db bun.IDB, runIDs []string) (map[string]RunCredits, error) {
	var rows []struct {
		RunID      string `bun:"run_id"`
		RunCredits `bun:",extend"`
	}
	err := db.NewRaw(`
		SELECT run_id, amount AS reserved, captured, released, amount - captured - released AS held
		  FROM billing_reservations
		 WHERE run_id IN (?)`, bun.List(runIDs)).Scan(ctx, &rows)
	credits := make(map[string]RunCredits, len(rows))
	for _, r := range rows {
		credits[r.RunID] = r.RunCredits
	}
	return credits, err
}

// entriesBefore returns up to limit entries numbered below before (0: from the
// newest) that the filter lets through, newest first.
func entriesBefore(ctx context.Context, db bun.IDB, accountID string, before int64, f EntryFilter, limit int) ([]*Entry, error) {
	var rows []*Entry
	q := db.NewSelect().Model(&rows).Where("account_id = ?", accountID).OrderExpr("seq DESC").Limit(int64(limit))
	if before > 0 {
		q.Where("seq < ?", before)
	}
	if len(f.Kinds) > 0 {
		q.Where("kind IN (?)", bun.List(f.Kinds))
	}
	if f.RunID != nil {
		q.Where("run_id = ?", *f.RunID)
	}
	if f.From != nil {
		q.Where("seq > (SELECT billing_seq_before(?, ?))", accountID, *f.From)
	}
	if f.To != nil {
		q.Where("seq <= (SELECT billing_seq_before(?, ?))", accountID, *f.To)
	}
	err := q.Scan(ctx)
	return rows, err
}

// grantsBefore returns up to limit grants of an account made before one ("": from the newest), newest first.
func grantsBefore(ctx context.Context, db bun.IDB, accountID, before string, limit int) ([]*CreditGrant, error) {
	var rows []*CreditGrant
	q := db.NewSelect().Model(&rows).Where("g.account_id = ?", accountID).OrderExpr("g.created_at DESC, g.id DESC").Limit(int64(limit))
	if before != "" {
		q.Where("(g.created_at, g.id) < (SELECT b.created_at, b.id FROM billing_grants AS b WHERE b.id = ? AND b.account_id = ?)", before, accountID)
	}
	err := q.Scan(ctx)
	return rows, err
}

// grantByID returns one grant of an account; nil when there is none.
func grantByID(ctx context.Context, db bun.IDB, accountID, id string) (*CreditGrant, error) {
	g := new(CreditGrant)
	err := db.NewSelect().Model(g).Where("g.id = ? AND g.account_id = ?", id, accountID).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return g, err
}

// grantOf returns the entry that the account's command with the key made, and the grant behind it; nil when there is none.
func grantOf(ctx context.Context, db bun.IDB, accountID, key string) (*Entry, *CreditGrant, error) {
	e, g := new(Entry), new(CreditGrant)
	err := db.NewSelect().Model(e).Where("account_id = ?", accountID).Where("idempotency_key = ?", key).Scan(ctx)
	if err == nil && e.GrantID != nil {
		err = db.NewSelect().Model(g).Where("id = ?", *e.GrantID).Where("account_id = ?", accountID).Scan(ctx)
	}
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil, nil
	}
	return e, g, err
}

// referenceUsed reports whether a grant of the account has the external reference.
func referenceUsed(ctx context.Context, db bun.IDB, accountID, reference string) (bool, error) {
	return db.NewSelect().Model((*CreditGrant)(nil)).Where("account_id = ?", accountID).Where("reference = ?", reference).Exists(ctx)
}

// insertGrant adds credits to an account that the transaction has locked and in
// which nothing is overdue. The entry is dated at the moment of that look, so
// that no account ever moves at a time when it was overdue.
func insertGrant(ctx context.Context, tx bun.Tx, a *standing, in Grant, capture *Entry) (*Entry, error) {
	e := new(Entry)
	if capture == nil {
		capture = new(Entry)
	}
	err := tx.NewRaw(`
		WITH account AS (
			UPDATE billing_accounts AS a
			   SET available = a.available + ?credits,
			       granted_total = a.granted_total + CASE WHEN ?kind IN ('PURCHASE', 'GRANT') THEN ?credits ELSE 0 END,
			       adjusted_total = a.adjusted_total + CASE ?kind WHEN 'ADJUST' THEN ?credits ELSE 0 END,
			       refunded_total = a.refunded_total + CASE ?kind WHEN 'REFUND' THEN ?credits ELSE 0 END,
			       last_seq = a.last_seq + 1,
			       last_at = ?now,
			       next_expiry_at = least(a.next_expiry_at, ?expires_at)
			 WHERE a.id = ?account_id
			RETURNING a.id, a.available, a.held, a.last_seq
		), made AS (
			INSERT INTO billing_grants (id, account_id, origin, amount, remaining, priority, expires_at, reference, created_at)
			SELECT ?grant_id, a.id, ?kind, ?credits, ?credits, ?priority, ?expires_at, nullif(?reference, ''), ?now
			  FROM account AS a
		)
		INSERT INTO billing_entries (account_id, seq, d_available, available_after, held_after, at, kind, run_id, profile_id, grant_id, idempotency_key, actor, memo)
		SELECT a.id, a.last_seq, ?credits, a.available, a.held, ?now, ?kind, ?run_id, ?profile_id, ?grant_id, ?key, ?actor, nullif(?memo, '')
		  FROM account AS a
		RETURNING *`, struct {
		Grant     `bun:",extend"`
		AccountID string
		GrantID   string
		RunID     *string
		ProfileID *string
		Now       time.Time
	}{in, a.ID, ident.New("gnt"), capture.RunID, capture.ProfileID, a.Now}).Scan(ctx, e)
	return e, err
}

// reserve holds the credits and writes the entries, or reports false when the
// account is missing, overdue, or short. It is one statement, since the accept
// that it belongs to is. The entries are dated before the next expiry for the
// reason given at insertGrant.
func reserve(ctx context.Context, tx bun.Tx, r Reservation) (bool, error) {
	var n int
	err := tx.Tx.QueryRowContext(ctx, reserveSQL, r.CompanyID, r.RunID, r.Hold, r.Settled, r.Required, r.ExpiresAt, r.Actor).Scan(&n)
	return n > 0, err
}

// ReserveCTE is the reservation as part of a statement: account, reservation and
// entries, with the arguments :company :run :hold :settled :required :expires_at
// :actor. entries returns no row when the account is missing, overdue, or short.
// It is exported because the accept that it belongs to is one statement.
const ReserveCTE = `
	account AS (
		UPDATE billing_accounts AS a
		   SET available = a.available - CASE a.mode WHEN 'PREPAID' THEN :hold::bigint - :settled::bigint ELSE 0 END,
		       held = a.held + (:hold - :settled),
		       last_seq = a.last_seq + CASE WHEN :settled > 0 THEN 2 ELSE 1 END,
		       last_at = least(greatest(a.last_at, billing_now()), a.next_expiry_at - interval '1 microsecond')
		 WHERE a.company_id = :company::text
		   AND CASE a.mode WHEN 'PREPAID' THEN a.available >= :required::bigint
		       ELSE a.credit_limit IS NULL OR a.owed + a.held + :required <= a.credit_limit END
		   AND (a.next_expiry_at IS NULL OR a.next_expiry_at > greatest(a.last_at, billing_now()))
		RETURNING a.id, CASE a.mode WHEN 'PREPAID' THEN 1 ELSE 0 END AS prepaid, a.available, a.held, a.last_seq, a.last_at
	), reservation AS (
		INSERT INTO billing_reservations (run_id, account_id, amount, released, state, expires_at, created_at)
		SELECT :run::text, a.id, :hold, :settled, CASE WHEN :settled = :hold THEN 'SETTLED' ELSE 'OPEN' END, :expires_at::timestamptz, a.last_at
		  FROM account AS a
	), entries AS (
		INSERT INTO billing_entries (account_id, seq, d_available, d_held, available_after, held_after, at, kind, run_id, actor)
		SELECT a.id, a.last_seq - CASE WHEN :settled > 0 THEN 1 ELSE 0 END, a.prepaid * -:hold, :hold,
		       a.available - a.prepaid * :settled, a.held + :settled, a.last_at, 'RESERVE', :run, :actor::text
		  FROM account AS a
		 UNION ALL
		SELECT a.id, a.last_seq, a.prepaid * :settled, -:settled, a.available, a.held, a.last_at, 'RELEASE', :run, :actor
		  FROM account AS a
		 WHERE :settled > 0
		RETURNING 1
	)`

// reserveSQL has arguments, so that each connection plans it once.
var reserveSQL = pg.Named("WITH "+ReserveCTE+" SELECT count(*) FROM entries",
	"company", "run", "hold", "settled", "required", "expires_at", "actor")

// reopenSQL is reserveSQL for a reservation that exists.
var reopenSQL = pg.Named(`
	WITH account AS (
		UPDATE billing_accounts AS a
		   SET available = a.available - CASE a.mode WHEN 'PREPAID' THEN :add::bigint ELSE 0 END,
		       held = a.held + :add,
		       last_seq = a.last_seq + 1,
		       last_at = least(greatest(a.last_at, billing_now()), a.next_expiry_at - interval '1 microsecond')
		 WHERE a.company_id = :company::text
		   AND CASE a.mode WHEN 'PREPAID' THEN a.available >= :add
		       ELSE a.credit_limit IS NULL OR a.owed + a.held + :add <= a.credit_limit END
		   AND (a.next_expiry_at IS NULL OR a.next_expiry_at > greatest(a.last_at, billing_now()))
		   AND EXISTS (SELECT FROM billing_reservations AS r WHERE r.run_id = :run::text AND r.account_id = a.id)
		RETURNING a.id, CASE a.mode WHEN 'PREPAID' THEN 1 ELSE 0 END AS prepaid, a.available, a.held, a.last_seq, a.last_at
	), reservation AS (
		UPDATE billing_reservations AS r
		   SET amount = r.amount + :add, state = 'OPEN', expires_at = greatest(r.expires_at, :expires_at::timestamptz)
		  FROM account AS a
		 WHERE r.run_id = :run
		RETURNING r.amount, r.captured, r.released
	), entry AS (
		INSERT INTO billing_entries (account_id, seq, d_available, d_held, available_after, held_after, at, kind, run_id, actor)
		SELECT a.id, a.last_seq, a.prepaid * -:add, :add, a.available, a.held, a.last_at, 'RESERVE', :run, :actor::text
		  FROM account AS a
	)
	SELECT amount, captured, released, amount - captured - released FROM reservation`,
	"company", "run", "add", "expires_at", "actor")

// reopen holds more for a run, or reports false when the account is overdue, or short.
func reopen(ctx context.Context, tx bun.Tx, r Reopen) (c RunCredits, ok bool, err error) {
	err = tx.Tx.QueryRowContext(ctx, reopenSQL, r.CompanyID, r.RunID, r.Add, r.ExpiresAt, r.Actor).
		Scan(&c.Reserved, &c.Captured, &c.Released, &c.Held)
	if errors.Is(err, sql.ErrNoRows) {
		return c, false, nil
	}
	return c, err == nil, err
}

// audit returns what billing_audit finds.
func audit(ctx context.Context, db bun.IDB) ([]Violation, error) {
	var found []Violation
	err := db.NewRaw(`SELECT invariant, account_id, detail FROM billing_audit()`).Scan(ctx, &found)
	return found, err
}

// overdueCompanies lists the companies in whose accounts a grant has expired since the account last moved.
func overdueCompanies(ctx context.Context, db bun.IDB) (ids []string, err error) {
	err = db.NewRaw(`SELECT company_id FROM billing_accounts WHERE next_expiry_at <= greatest(last_at, billing_now()) ORDER BY id`).Scan(ctx, &ids)
	return ids, err
}

// knownZone reports whether the database, which computes the periods, knows a time zone by that name.
func knownZone(ctx context.Context, db bun.IDB, name string) (known bool, err error) {
	err = db.NewRaw(`SELECT EXISTS (SELECT FROM pg_timezone_names WHERE name = ?)`, name).Scan(ctx, &known)
	return known, err
}

// updateSettings writes the settings of an account that was locked at a time; recut
// computes the end of its period anew. That is always ahead: were it a day that has
// passed, what was taken back since would be in no window with what it takes back,
// and the period could not be closed.
func updateSettings(ctx context.Context, tx bun.Tx, a *Account, now time.Time, recut bool) error {
	_, err := tx.NewRaw(`
		UPDATE billing_accounts
		   SET mode = ?mode, credit_limit = ?credit_limit, cycle_anchor = ?cycle_anchor, time_zone = ?time_zone, low_threshold = ?low_threshold,
		       next_period_end = CASE WHEN ?recut
		           THEN billing_period_end(greatest(next_period_start, ?now::timestamptz - interval '168 hours' + interval '1 microsecond'), ?cycle_anchor, ?time_zone)
		           ELSE next_period_end END
		 WHERE id = ?id`, struct {
		*Account `bun:",extend"`
		Now      time.Time
		Recut    bool
	}{a, now, recut}).Exec(ctx)
	return err
}

// lateReservation is one that is open past its time.
type lateReservation struct {
	CompanyID string `bun:"company_id"`
	RunID     string `bun:"run_id"`
}

// lateReservations lists up to limit reservations that are open past their time, the oldest first.
func lateReservations(ctx context.Context, db bun.IDB, limit int) (rows []lateReservation, err error) {
	err = db.NewRaw(`
		SELECT a.company_id, r.run_id
		  FROM billing_reservations AS r
		  JOIN billing_accounts AS a ON a.id = r.account_id
		 WHERE r.state = 'OPEN' AND r.expires_at <= billing_now()
		 ORDER BY r.expires_at
		 LIMIT ?`, limit).Scan(ctx, &rows)
	return rows, err
}

// enableChain has every entry chained from now on.
func enableChain(ctx context.Context, db bun.IDB) error {
	var on bool
	err := db.NewRaw(`SELECT tgenabled <> 'D' FROM pg_trigger WHERE tgname = 'billing_entries_chain' AND tgrelid = 'billing_entries'::regclass`).Scan(ctx, &on)
	if err != nil || on {
		return err
	}
	_, err = db.ExecContext(ctx, "ALTER TABLE billing_entries ENABLE TRIGGER billing_entries_chain")
	return err
}

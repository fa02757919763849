package billing

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"
)

// invoiceOf returns a stored invoice by id or number, with its lines; nil when there is none.
func invoiceOf(ctx context.Context, db bun.IDB, idOrNumber string) (*Invoice, error) {
	i := new(Invoice)
	err := db.NewSelect().Model(i).Where("i.id = ? OR i.number = ?", idOrNumber, idOrNumber).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return i, storedLines(ctx, db, i)
}

// invoicesBefore returns up to limit stored invoices, newest first: those before
// a period and revision, or the newest when the period is zero.
func invoicesBefore(ctx context.Context, db bun.IDB, accountID string, start time.Time, revision, limit int) ([]*Invoice, error) {
	var rows []*Invoice
	if limit < 1 {
		return rows, nil
	}
	q := db.NewSelect().Model(&rows).Where("i.account_id = ?", accountID).OrderExpr("i.period_start DESC, i.revision DESC").Limit(int64(limit))
	if !start.IsZero() {
		q.Where("(i.period_start, i.revision) < (?, ?)", start, revision)
	}
	if err := q.Scan(ctx); err != nil || len(rows) == 0 {
		return rows, err
	}
	return rows, storedLines(ctx, db, rows...)
}

// latestOf returns the newest revision of a period's invoice, locked; nil when there is none.
func latestOf(ctx context.Context, tx bun.Tx, accountID string, start time.Time) (*Invoice, error) {
	i := new(Invoice)
	err := tx.NewSelect().Model(i).Where("i.account_id = ? AND i.period_start = ?", accountID, start).
		OrderExpr("i.revision DESC").Limit(1).For("UPDATE").Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return i, storedLines(ctx, tx, i)
}

func storedLines(ctx context.Context, db bun.IDB, invoices ...*Invoice) error {
	byID := make(map[string]*Invoice, len(invoices))
	ids := make([]string, len(invoices))
	for n, i := range invoices {
		ids[n], byID[i.ID], i.Lines = i.ID, i, []*InvoiceLine{}
	}
	var lines []*InvoiceLine
	err := db.NewSelect().Model(&lines).ColumnExpr("l.*").Where("l.invoice_id IN (?)", bun.List(ids)).OrderExpr("l.invoice_id, l.position").Scan(ctx)
	for _, line := range lines {
		i := byID[line.InvoiceID]
		line.Currency = i.Currency
		i.Lines = append(i.Lines, line)
	}
	return err
}

// windowOf finds the entries of an invoice's period: those after the invoice
// before it that are dated before its end.
func windowOf(ctx context.Context, db bun.IDB, i *Invoice) error {
	return db.NewRaw(`
		SELECT coalesce(max(p.to_seq), 0) + 1, billing_seq_before(?, ?)
		  FROM billing_invoices AS p
		 WHERE p.account_id = ?`, i.AccountID, i.PeriodEnd, i.AccountID).Scan(ctx, &i.FromSeq, &i.ToSeq)
}

// currencyOf finds what the account's money is counted in.
func currencyOf(ctx context.Context, db bun.IDB, i *Invoice) error {
	i.Currency, i.Digits = NoCurrency, 0
	err := db.NewRaw(`SELECT p.currency, p.digits FROM billing_prices AS p WHERE p.account_id = ? ORDER BY p.number LIMIT 1`, i.AccountID).
		Scan(ctx, &i.Currency, &i.Digits)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	return err
}

// linesOf computes the lines of an invoice's window and their sum. Every entry
// costs what a credit cost when it happened; before the first price it costs nothing.
// round() of a numeric rounds half away from zero.
func linesOf(ctx context.Context, db bun.IDB, i *Invoice) error {
	i.Lines = []*InvoiceLine{}
	err := db.NewRaw(`
		WITH price AS MATERIALIZED (
			SELECT p.price, p.starts_at, lead(p.starts_at, 1, 'infinity') OVER (ORDER BY p.starts_at) AS ends_at
			  FROM (SELECT DISTINCT ON (c.starts_at) c.price, c.starts_at
			          FROM (SELECT price, starts_at, number FROM billing_prices WHERE account_id = ?account
			                 UNION ALL SELECT 0, '-infinity', 0) AS c
			         ORDER BY c.starts_at, c.number DESC) AS p
		), item AS (
			SELECT CASE WHEN e.kind <> 'CAPTURE' THEN e.kind WHEN e.d_owed = 0 THEN 'PREPAID' ELSE 'USAGE' END AS kind,
			       CASE e.kind WHEN 'ADJUST' THEN e.seq END AS seq, CASE e.kind WHEN 'ADJUST' THEN e.memo END AS memo,
			       e.at, CASE WHEN e.kind = 'CAPTURE' AND e.d_owed = 0 THEN e.d_captured ELSE e.d_owed END AS quantity
			  FROM billing_entries AS e
			 WHERE e.account_id = ?account AND e.seq BETWEEN ?from_seq AND ?to_seq
			   AND (e.kind = 'CAPTURE' OR e.kind IN ('ADJUST', 'REFUND') AND e.d_owed <> 0)
			 UNION ALL -- credits that were left when the account went postpaid
			SELECT 'MANUAL', NULL, NULL, e.at, e.d_available
			  FROM billing_entries AS e
			 WHERE e.account_id = ?account AND e.seq BETWEEN ?from_seq AND ?to_seq
			   AND e.kind = 'ADJUST' AND e.d_available < 0 AND e.grant_id IS NOT NULL
		), line AS (
			SELECT n.kind, n.seq, n.memo, CASE n.kind WHEN 'PREPAID' THEN NULL ELSE p.starts_at END AS since,
			       CASE n.kind WHEN 'PREPAID' THEN 0 ELSE p.price END AS unit_price, sum(n.quantity)::bigint AS quantity
			  FROM item AS n
			  JOIN price AS p ON n.at >= p.starts_at AND n.at < p.ends_at
			 GROUP BY 1, 2, 3, 4, 5
		)
		SELECT kind, quantity, unit_price::text, round(quantity * unit_price, ?digits)::text AS total,
		       CASE WHEN kind = 'ADJUST' THEN coalesce(memo, 'Adjustment')
		            WHEN since > '-infinity' AND (SELECT count(*) FROM price) > 2 THEN to_char(since AT TIME ZONE 'UTC', 'YYYY-MM-DD')
		            ELSE '' END AS description
		  FROM line
		 ORDER BY array_position(ARRAY['USAGE', 'PREPAID', 'REFUND', 'ADJUST', 'MANUAL'], kind), since, seq`, struct {
		Account        string
		FromSeq, ToSeq int64
		Digits         int
	}{i.AccountID, i.FromSeq, i.ToSeq, i.Digits}).Scan(ctx, &i.Lines)
	if err != nil {
		return err
	}
	totals := make([]string, len(i.Lines))
	for n, line := range i.Lines {
		totals[n] = line.Amount
	}
	return db.NewRaw("SELECT round(coalesce(sum(t), 0), ?)::text FROM unnest(?::numeric[]) AS t", i.Digits, pgdialect.Array(totals)).Scan(ctx, &i.Amount)
}

// insertInvoice closes a period of an account that the transaction has locked:
// the invoice with its lines, the entry that takes it off what is owed, and the
// account's next period, in one statement. A correction moves no credits: what
// it corrects has taken them off already.
func insertInvoice(ctx context.Context, tx bun.Tx, i *Invoice, at time.Time, grace time.Duration, actor string) error {
	var positions, quantities []int64
	var kinds, descriptions, prices, totals []string
	for _, l := range i.Lines {
		positions, quantities = append(positions, int64(l.Position)), append(quantities, l.Quantity)
		kinds, descriptions, prices, totals = append(kinds, string(l.Kind)), append(descriptions, l.Description), append(prices, l.Price), append(totals, l.Amount)
	}
	return tx.NewRaw(`
		WITH account AS (
			UPDATE billing_accounts AS a
			   SET owed = a.owed - ?quantity,
			       invoiced_total = a.invoiced_total + ?quantity,
			       last_seq = a.last_seq + 1,
			       last_at = ?at,
			       next_period_start = ?period_end,
			       next_period_end = billing_period_end(?period_end, a.cycle_anchor, a.time_zone)
			 WHERE a.id = ?account_id AND ?revision = 1
			RETURNING a.id, a.available, a.held, a.last_seq
		), entry AS (
			INSERT INTO billing_entries (account_id, seq, d_owed, available_after, held_after, at, kind, invoice_id, actor)
			SELECT a.id, a.last_seq, -?quantity, a.available, a.held, ?at, 'INVOICE', ?id, ?actor
			  FROM account AS a
		), lines AS (
			INSERT INTO billing_invoice_lines (invoice_id, position, kind, description, quantity, unit_price, total)
			SELECT ?id, l.*
			  FROM unnest(?positions::integer[], ?kinds::text[], ?descriptions::text[], ?quantities::bigint[], ?prices::numeric[], ?totals::numeric[]) AS l
		)
		INSERT INTO billing_invoices (id, account_id, period_start, period_end, revision, from_seq, to_seq, kind, currency, digits,
		                              quantity, total, closed_at, finalise_at)
		VALUES (?id, ?account_id, ?period_start, ?period_end, ?revision, ?from_seq, ?to_seq, ?kind, ?currency, ?digits,
		        ?quantity, ?total::numeric, ?at, ?at::timestamptz + make_interval(secs => ?grace))
		RETURNING status, closed_at, finalise_at`, struct {
		*Invoice                                                   `bun:",extend"`
		At                                                         time.Time
		Grace                                                      float64
		Actor                                                      string
		Positions, Quantities, Kinds, Descriptions, Prices, Totals any
	}{
		i, at, grace.Seconds(), actor,
		pgdialect.Array(positions), pgdialect.Array(quantities), pgdialect.Array(kinds), pgdialect.Array(descriptions),
		pgdialect.Array(prices), pgdialect.Array(totals),
	}).Scan(ctx, &i.Status, &i.ClosedAt, &i.FinaliseAt)
}

// fence dates a locked account at the moment at which it was seen, so that nothing moves it at an earlier one.
func fence(ctx context.Context, tx bun.Tx, a *Account, at time.Time) error {
	_, err := tx.NewRaw(`UPDATE billing_accounts SET last_at = ? WHERE id = ?`, at, a.ID).Exec(ctx)
	return err
}

// skipPeriod closes a period in which nothing was captured, without a document.
func skipPeriod(ctx context.Context, tx bun.Tx, a *Account, at time.Time) error {
	_, err := tx.NewRaw(`
		UPDATE billing_accounts AS a
		   SET last_at = ?, next_period_start = a.next_period_end,
		       next_period_end = billing_period_end(a.next_period_end, a.cycle_anchor, a.time_zone)
		 WHERE a.id = ?`, at, a.ID).Exec(ctx)
	return err
}

// numberInvoice gives the next number of the series to an invoice whose account is locked.
func numberInvoice(ctx context.Context, tx bun.Tx, i *Invoice, at time.Time) error {
	return tx.NewRaw(`
		WITH drawn AS (
			UPDATE billing_counters SET value = value + 1 WHERE name = ?kind RETURNING name, value
		)
		UPDATE billing_invoices AS i
		   SET number = billing_number(d.name, d.value), finalised_at = ?at
		  FROM drawn AS d
		 WHERE i.id = ?id
		RETURNING i.number, i.finalised_at`, struct {
		*Invoice `bun:",extend"`
		At       time.Time
	}{i, at}).Scan(ctx, &i.Number, &i.FinalisedAt)
}

// dueAccounts lists up to limit accounts after an id with a period that has ended and is not closed, by id.
func dueAccounts(ctx context.Context, db bun.IDB, after string, limit int) (ids []string, err error) {
	err = db.NewRaw(`
		SELECT a.id
		  FROM billing_accounts AS a
		 WHERE a.next_period_end <= greatest(a.last_at, billing_now()) AND a.id > ?
		 ORDER BY a.id
		 LIMIT ?`, after, limit).Scan(ctx, &ids)
	return ids, err
}

// waitingInvoices lists invoices whose grace period is over, in the order in which they get their numbers.
func waitingInvoices(ctx context.Context, db bun.IDB, limit int) (ids []string, err error) {
	err = db.NewRaw(`
		SELECT i.id
		  FROM billing_invoices AS i
		 WHERE i.number IS NULL AND i.status = 'CLOSED' AND i.finalise_at <= billing_now()
		 ORDER BY i.finalise_at, i.id
		 LIMIT ?`, limit).Scan(ctx, &ids)
	return ids, err
}

// payInvoice and voidInvoice end an invoice that is locked.
func payInvoice(ctx context.Context, tx bun.Tx, i *Invoice, payment string, at time.Time) error {
	return tx.NewRaw(`UPDATE billing_invoices SET status = 'PAID', paid_at = ?, payment = nullif(?, '') WHERE id = ? RETURNING status, paid_at, payment`,
		at, payment, i.ID).Scan(ctx, &i.Status, &i.PaidAt, &i.Payment)
}

func voidInvoice(ctx context.Context, tx bun.Tx, i *Invoice, reason string, at time.Time) error {
	return tx.NewRaw(`UPDATE billing_invoices SET status = 'VOID', voided_at = ?, void_reason = ? WHERE id = ? RETURNING status, voided_at, void_reason`,
		at, reason, i.ID).Scan(ctx, &i.Status, &i.VoidedAt, &i.VoidReason)
}

// addLine puts a line of money on an invoice that is locked and has no number.
func addLine(ctx context.Context, tx bun.Tx, i *Invoice, description, amount string) error {
	_, err := tx.NewRaw(`
		WITH line AS (
			INSERT INTO billing_invoice_lines (invoice_id, position, kind, description, quantity, unit_price, total)
			SELECT ?, (SELECT max(position) FROM billing_invoice_lines WHERE invoice_id = ?) + 1, 'MANUAL', ?, 1, ?::numeric, ?::numeric
			RETURNING invoice_id, total
		)
		UPDATE billing_invoices AS i SET total = i.total + l.total FROM line AS l WHERE i.id = l.invoice_id`,
		i.ID, i.ID, description, amount, amount).Exec(ctx)
	return err
}

// insertPrice adds a price to the account's list, with at least the currency's own decimals.
func insertPrice(ctx context.Context, tx bun.Tx, p *Price) error {
	return tx.NewRaw(`
		INSERT INTO billing_prices (account_id, currency, digits, price, starts_at, actor, created_at)
		SELECT ?account_id, ?currency, ?digits, round(p.v, greatest(scale(p.v), ?digits)), coalesce(?starts_at, billing_now()), ?actor, billing_now()
		  FROM (SELECT trim_scale(?price::numeric) AS v) AS p
		RETURNING number, price, starts_at, created_at`, p).Scan(ctx, &p.Number, &p.Price, &p.StartsAt, &p.CreatedAt)
}

// pricedAt reports whether a price was set for an account that holds at a time.
func pricedAt(ctx context.Context, db bun.IDB, accountID string, at time.Time) (priced bool, err error) {
	err = db.NewRaw(`SELECT EXISTS (SELECT FROM billing_prices AS p WHERE p.account_id = ? AND p.starts_at <= ?)`, accountID, at).Scan(ctx, &priced)
	return priced, err
}

// pricesOf lists an account's prices by start, those that a later one replaced left out.
func pricesOf(ctx context.Context, db bun.IDB, accountID string) ([]*Price, error) {
	prices := []*Price{}
	err := db.NewRaw(`
		SELECT DISTINCT ON (p.starts_at) p.*
		  FROM billing_prices AS p
		 WHERE p.account_id = ?
		 ORDER BY p.starts_at, p.number DESC`, accountID).Scan(ctx, &prices)
	return prices, err
}

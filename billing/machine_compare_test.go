package billing_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/uptrace/bun"
	"pgregory.net/rapid"

	"github.com/enrichd/enrichd/billing"
)

// query reads rows of the round's accounts; the query's one argument is the list of their ids.
func query[T any](t *rapid.T, m *machine, sql string) (rows []T) {
	ids := make([]string, len(m.accounts))
	for n, a := range m.accounts {
		ids[n] = a.id
	}
	if err := m.b.DB.NewRaw(sql, bun.List(ids)).Scan(context.Background(), &rows); err != nil {
		t.Fatal(err)
	}
	return rows
}

// same compares two sets of lines.
func same[K comparable](t *rapid.T, what string, got, want map[K]string) {
	if maps.Equal(got, want) {
		return
	}
	for k, line := range got {
		if want[k] != line {
			t.Errorf("%s %v: %q, the model says %q", what, k, line, want[k])
		}
	}
	for k, line := range want {
		if _, ok := got[k]; !ok {
			t.Errorf("%s %v: nothing, the model says %q", what, k, line)
		}
	}
	t.FailNow()
}

// compare holds all that lies in the database against the model, and audits it.
func (m *machine) compare(t *rapid.T) {
	m.compareAccounts(t)
	m.compareEntries(t)
	m.compareInvoices(t)

	grants, expected := map[string]string{}, map[string]string{}
	for _, g := range query[billing.CreditGrant](t, m, "SELECT id, remaining, priority, expires_at FROM billing_grants WHERE account_id IN (?)") {
		grants[g.ID] = fmt.Sprint(g.Remaining, g.Priority, g.ExpiresAt != nil)
	}
	for _, a := range m.accounts {
		for _, g := range a.grants {
			expected[g.id] = fmt.Sprint(g.remaining, g.priority, !g.expires.IsZero())
		}
	}
	same(t, "grant", grants, expected)

	holds, expected := map[string]string{}, map[string]string{}
	for _, r := range query[struct {
		ID                 string `bun:"run_id"`
		billing.RunCredits `bun:",extend"`
		State              string `bun:"state"`
	}](t, m, "SELECT run_id, state, amount AS reserved, captured, released, amount - captured - released AS held FROM billing_reservations WHERE account_id IN (?)") {
		holds[r.ID] = fmt.Sprint(r.RunCredits, r.State)
	}
	for _, r := range m.runs {
		expected[r.id] = fmt.Sprint(r.credits(), r.state)
	}
	same(t, "reservation", holds, expected)

	violations, err := m.b.Audit(context.Background(), m.b.DB)
	if err != nil || len(violations) > 0 {
		t.Fatalf("audit: %v %v", violations, err)
	}
	if m.steps++; m.steps%10 == 0 {
		m.prove(t)
	}
}

// prove plays every entry again.
func (m *machine) prove(t *rapid.T) {
	proof, err := m.b.Prove(context.Background())
	if err != nil || len(proof.Findings) > 0 {
		t.Fatalf("proof: %v %v", proof.Findings, err)
	}
}

// compareAccounts compares the rows as they lie there: Account would end what has expired.
func (m *machine) compareAccounts(t *rapid.T) {
	line := func(mode billing.Mode, limit int64, start, end string, figures ...int64) string {
		if mode == billing.Prepaid {
			limit = 0
		}
		return fmt.Sprintf("%s, limit %d, %s to %s: available, held, owed, granted, captured, expired, adjusted, refunded, invoiced, entries %v", mode, limit, start, end, figures)
	}
	const layout = "2006-01-02T15:04Z"
	rows, expected := map[string]string{}, map[string]string{}
	for _, r := range query[billing.Account](t, m, "SELECT * FROM billing_accounts WHERE id IN (?)") {
		limit := int64(0)
		if r.CreditLimit != nil {
			limit = *r.CreditLimit
		}
		rows[r.ID] = line(r.Mode, limit, r.NextPeriodStart.UTC().Format(layout), r.NextPeriodEnd.UTC().Format(layout), r.Available, r.Held, r.Owed,
			r.GrantedTotal, r.CapturedTotal, r.ExpiredTotal, r.AdjustedTotal, r.RefundedTotal, r.InvoicedTotal, r.LastSeq)
	}
	for _, a := range m.accounts {
		expected[a.id] = line(a.mode, a.limit, a.start.UTC().Format(layout), a.end.UTC().Format(layout), a.available, a.held, a.owed,
			a.granted, a.captured, a.expiredEver, a.adjusted, a.refunded, a.invoiced, int64(len(a.entries)))
	}
	same(t, "account", rows, expected)
}

// compareEntries compares the entries since the last look, in any order within the look.
func (m *machine) compareEntries(t *rapid.T) {
	for _, a := range m.accounts {
		if a.compared == len(a.entries) {
			continue
		}
		var rows []billing.Entry
		if err := m.b.DB.NewRaw("SELECT * FROM billing_entries WHERE account_id = ? AND seq > ?", a.id, a.compared).Scan(context.Background(), &rows); err != nil {
			t.Fatal(err)
		}
		var got, want []string
		for _, e := range rows {
			run, profile := "", ""
			if e.ProfileID != nil {
				run, profile = *e.RunID, *e.ProfileID
			}
			got = append(got, fmt.Sprint(e.Kind, " ", run, " ", profile, " ", e.OwedChange, " ", e.OccurredAt.UnixMicro()))
		}
		for _, e := range a.entries[a.compared:] {
			want = append(want, fmt.Sprint(e.kind, " ", e.run, " ", e.profile, " ", e.owed, " ", e.at.UnixMicro()))
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Fatalf("%s: entries after %d are\n%q, the model says\n%q", a.company, a.compared, got, want)
		}
		a.compared = len(a.entries)
	}
}

// compareInvoices compares the documents, and on which of them each capture is.
func (m *machine) compareInvoices(t *rapid.T) {
	documents, expected := map[string]string{}, map[string]string{}
	for _, i := range query[billing.Invoice](t, m, "SELECT * FROM billing_invoices WHERE account_id IN (?)") {
		documents[i.ID] = documentLine(i.PeriodStart, i.PeriodEnd, i.FromSeq, i.ToSeq, i.Kind, i.Status, i.Quantity, i.Amount, i.Number != nil)
	}
	on, captured := map[string]string{}, map[string]string{}
	for _, a := range m.accounts {
		for _, i := range a.invoices {
			expected[i.id] = documentLine(i.start, i.end, i.from, i.to, i.kind, i.status, i.quantity, money(i.cents), i.numbered)
		}
		for capture, place := range a.captures {
			captured[capture] = a.entries[place].invoice
		}
	}
	same(t, "document", documents, expected)
	for _, c := range query[struct {
		Capture string `bun:"capture"`
		Invoice string `bun:"invoice"`
	}](t, m, `SELECT e.run_id || '/' || e.profile_id AS capture, coalesce(string_agg(i.id, ' '), '') AS invoice
		  FROM billing_entries AS e
		  LEFT JOIN billing_invoices AS i ON i.account_id = e.account_id AND e.seq BETWEEN i.from_seq AND i.to_seq AND i.revision = 1
		 WHERE e.kind = 'CAPTURE' AND e.account_id IN (?)
		 GROUP BY e.account_id, e.seq`) {
		on[c.Capture] = c.Invoice
	}
	same(t, "capture", on, captured)
}

func documentLine(start, end time.Time, from, to int64, kind billing.InvoiceKind, status billing.InvoiceStatus, quantity int64, total string, numbered bool) string {
	return fmt.Sprintf("%s/%s entries %d to %d %s %s quantity %d total %s numbered %t",
		start.UTC().Format(time.RFC3339), end.UTC().Format(time.RFC3339), from, to, kind, status, quantity, total, numbered)
}

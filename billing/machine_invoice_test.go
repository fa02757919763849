package billing_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/enrichd/enrichd/billing"
	"github.com/enrichd/enrichd/internal/fault"
)

// The commands of an operator: corrections, settings, and the life of invoices.

// conflict expects a refusal with this state.
func conflict(t *rapid.T, err error, state string) {
	var refused fault.Conflict
	if !errors.As(err, &refused) || refused.State != state {
		t.Fatalf("refused with %q: %v", state, err)
	}
}

func (m *machine) adjust(t *rapid.T) {
	a := m.account(t)
	n := rapid.Int64Range(-8, 8).Filter(func(n int64) bool { return n != 0 }).Draw(t, "credits")
	in := billing.Adjust{CompanyID: a.company, Credits: n, Memo: "by hand", Actor: "cli", Key: fmt.Sprintf("adjust-%d", serial.Add(1))}
	e, balance, err := m.b.Adjust(context.Background(), in)
	after := a.clone()
	after.close(m.now, m.b.Grace)
	switch {
	case a.mode == billing.Postpaid && n > after.owed:
		conflict(t, err, string(billing.Postpaid))
		return
	case n < 0 && -n > after.left():
		after.short(t, err, -n)
		return
	case err != nil:
		t.Fatal(err)
	}
	*a = *after
	entry := modelEntry{kind: billing.KindAdjust}
	switch {
	case a.mode == billing.Postpaid:
		a.owe(m.now, -n, entry)
	case n > 0:
		a.come(m.now, n, &modelGrant{id: *e.GrantID}, entry)
	default:
		for range -n {
			a.spend(m.now)
		}
		a.available += n
		a.adjusted += n
		a.post(m.now, entry)
	}
	a.says(t, e, balance)
	again, _, err := m.b.Adjust(context.Background(), in)
	if err != nil || again.ID() != e.ID() {
		t.Fatalf("repeated adjustment: entry %v, error %v", again, err)
	}
}

// refund takes back what a recent run captured, or did not.
func (m *machine) refund(t *rapid.T) {
	run := m.recent(t)
	a, profile := run.account, rapid.SampledFrom(append(slices.Sorted(maps.Keys(run.captured)), "p0")).Draw(t, "profile")
	e, balance, err := m.b.Refund(context.Background(), billing.Refund{
		CompanyID: a.company, RunID: run.id, ProfileID: profile, Memo: "wrong person", Actor: "cli", Key: fmt.Sprintf("refund-%d", serial.Add(1)),
	})
	after := a.clone()
	after.close(m.now, m.b.Grace)
	place, captured := after.captures[run.id+"/"+profile]
	var c *modelEntry
	if captured {
		c = &after.entries[place]
	}
	switch {
	case !captured:
		if !errors.As(err, new(fault.NotFound)) {
			t.Fatalf("refunded what was not captured: %v", err)
		}
		return
	case c.refunded:
		conflict(t, err, string(billing.KindRefund))
		return
	case c.owed > 0 && (c.invoice != "" || after.owed < c.owed):
		conflict(t, err, string(a.mode))
		return
	case c.paid > 0 && a.mode != billing.Prepaid:
		conflict(t, err, string(a.mode))
		return
	case err != nil:
		t.Fatal(err)
	}
	c.refunded = true
	payer, owed := c.payer, c.owed
	*a = *after
	entry := modelEntry{kind: billing.KindRefund, run: run.id, profile: profile}
	seq := int64(len(a.entries)) + 1
	if owed > 0 {
		a.owe(m.now, -owed, entry)
	} else {
		a.come(m.now, 1, &modelGrant{id: *e.GrantID, priority: payer.priority, expires: payer.expires}, entry)
		a.sweep(m.now)
	}
	if e.Seq != seq || balance.Available != a.available || balance.Held != a.held {
		t.Fatalf("refunded: entry %d and %+v, the model says %d, %d, %d", e.Seq, balance, seq, a.available, a.held)
	}
}

// mode changes how a company pays, which is refused while it holds credits, or
// has some left and nobody says that they are to be taken off the next invoice.
func (m *machine) mode(t *rapid.T) {
	a := m.account(t)
	s := billing.Settings{Mode: ptr(rapid.SampledFrom([]billing.Mode{billing.Prepaid, billing.Postpaid}).Draw(t, "mode")), Actor: "cli"}
	limit := rapid.Int64Range(5, 30).Draw(t, "limit")
	if *s.Mode == billing.Postpaid {
		s.CreditLimit, s.CreditLeftover = &limit, rapid.Bool().Draw(t, "leftover")
	}
	_, err := m.b.Set(context.Background(), a.company, s)
	after := a.clone()
	after.close(m.now, m.b.Grace)
	switches := *s.Mode != a.mode
	switch {
	case switches && after.held > 0:
		conflict(t, err, "HELD")
		return
	case switches && after.available > 0 && !s.CreditLeftover:
		conflict(t, err, "AVAILABLE")
		return
	case err != nil:
		t.Fatal(err)
	}
	*a = *after
	a.mode = *s.Mode
	if a.mode == billing.Postpaid {
		a.limit = limit
	}
	if !switches {
		return
	}
	for _, g := range a.grants {
		if g.remaining > 0 {
			a.post(m.now, modelEntry{kind: billing.KindAdjust, leftover: g.remaining})
			a.available -= g.remaining
			a.adjusted -= g.remaining
			g.remaining = 0
		}
	}
	a.post(m.now, modelEntry{kind: billing.KindAdjust})
}

// limit changes what may be owed, also to less than is owed.
func (m *machine) limit(t *rapid.T) {
	a, limit := m.account(t), rapid.Int64Range(0, 40).Draw(t, "limit")
	_, err := m.b.Set(context.Background(), a.company, billing.Settings{CreditLimit: &limit, Actor: "cli"})
	if a.mode == billing.Prepaid {
		if !errors.As(err, new(fault.InvalidInput)) {
			t.Fatalf("a prepaid account took a limit: %v", err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	a.close(m.now, m.b.Grace)
	a.limit = limit
}

// cycle changes the anchor or the zone, which moves the end of the period and not its begin.
func (m *machine) cycle(t *rapid.T) {
	a := m.account(t)
	anchor := rapid.SampledFrom([]int{1, 15, 28, 29, 30, 31}).Draw(t, "anchor")
	zone := rapid.SampledFrom([]string{"UTC", "Europe/Berlin", "America/Los_Angeles", "Pacific/Kiritimati"}).Draw(t, "zone")
	if _, err := m.b.Set(context.Background(), a.company, billing.Settings{CycleAnchor: &anchor, TimeZone: &zone, Actor: "cli"}); err != nil {
		t.Fatal(err)
	}
	a.close(m.now, m.b.Grace)
	in, err := time.LoadLocation(zone)
	if err != nil {
		t.Fatal(err)
	}
	if anchor == a.anchor && zone == a.zone.String() {
		return
	}
	a.anchor, a.zone = anchor, in
	if a.end = a.nextBoundary(a.start.Add(week)); !a.end.After(m.now) {
		a.end = a.nextBoundary(m.now.Add(time.Microsecond))
	}
}

// close closes what has ended, of everybody or of one, and numbers what is due.
func (m *machine) close(t *rapid.T) {
	if a := m.account(t); rapid.Bool().Draw(t, "one") {
		if _, err := m.b.CloseCompany(context.Background(), a.company); err != nil {
			t.Fatal(err)
		}
		a.close(m.now, m.b.Grace)
		return
	}
	done, err := m.b.CloseDue(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	drawn, numbered := 0, 0
	for _, a := range m.accounts {
		if !a.end.After(m.now) {
			before := len(a.invoices)
			a.close(m.now, m.b.Grace)
			for _, i := range a.invoices[before:] {
				drawn++
				if i.numbered {
					numbered++
				}
			}
		}
		for _, i := range a.invoices {
			if !i.numbered && i.status == billing.InvoiceClosed && !i.finalise.After(m.now) {
				a.sweep(m.now)
				i.numbered = true
				numbered++
			}
		}
	}
	if len(done.Invoices) != drawn || len(done.Numbered) != numbered {
		t.Fatalf("%d documents drawn up and %d numbered, the model says %d, %d", len(done.Invoices), len(done.Numbered), drawn, numbered)
	}
}

// invoice does to a document what an operator may do, or may not.
func (m *machine) invoice(t *rapid.T) {
	var all []*modelInvoice
	of := map[*modelInvoice]*modelAccount{}
	for _, a := range m.accounts {
		for _, i := range a.invoices {
			all, of[i] = append(all, i), a
		}
	}
	if len(all) == 0 {
		t.Skip("no document yet")
	}
	ctx, i := context.Background(), all[rapid.IntRange(0, len(all)-1).Draw(t, "document")]
	a := of[i]
	var err error
	allowed := i.status == billing.InvoiceClosed
	switch what := rapid.SampledFrom([]string{"pay", "void", "line", "correct"}).Draw(t, "what"); what {
	case "pay":
		_, err = m.b.Pay(ctx, i.id, "bank "+i.id)
		if allowed = allowed && i.numbered || i.status == billing.InvoicePaid; allowed {
			i.status = billing.InvoicePaid
		}
	case "void":
		_, err = m.b.Void(ctx, i.id, "wrong address")
		if allowed = allowed || i.status == billing.InvoiceVoid; allowed {
			i.status = billing.InvoiceVoid
		}
	case "line":
		cents := rapid.Int64Range(-40, 40).Draw(t, "cents")
		_, err = m.b.AddLine(ctx, i.id, "Goodwill", money(cents))
		if allowed = allowed && !i.numbered; allowed {
			i.cents += cents
		}
	case "correct":
		var corrected *billing.Invoice
		corrected, err = m.b.Correct(ctx, i.id)
		latest := a.latest(i)
		if allowed = latest != i || i.status == billing.InvoiceVoid; !allowed {
			break
		}
		if latest == i {
			latest = a.draw(i.from, i.to)
			latest.start, latest.end, latest.revision, latest.finalise = i.start, i.end, i.revision+1, m.now.Add(m.b.Grace)
			latest.id, latest.numbered = fmt.Sprintf("%s_%d", a.first(i).id, latest.revision), m.b.Grace == 0
			a.invoices = append(a.invoices, latest)
		}
		if err == nil && corrected.ID != latest.id {
			t.Fatalf("corrected by %s, the model says %s", corrected.ID, latest.id)
		}
	}
	if !allowed {
		conflict(t, err, string(i.status))
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	a.sweep(m.now)
}

// first is the first document of the same period.
func (a *modelAccount) first(i *modelInvoice) *modelInvoice {
	for _, o := range a.invoices {
		if o.start.Equal(i.start) {
			return o
		}
	}
	return i
}

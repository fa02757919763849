package billing_test

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/enrichd/enrichd/billing"
)

// The model says what the rules of the ledger say, as plainly as Go can: lists
// and counters, no database, no lock, one loop for each rule.

type modelGrant struct {
	id        string
	remaining int64
	priority  int
	expires   time.Time // zero for never
}

func (g *modelGrant) expired(now time.Time) bool { return !g.expires.IsZero() && !g.expires.After(now) }

// modelEntry is one line of the ledger, numbered by its place.
type modelEntry struct {
	at   time.Time
	kind billing.EntryKind
	// run and profile are those of a capture and of its refund.
	run, profile string
	// owed is what it adds to what is owed, paid what it captured for credits, and
	// leftover how many credits an invoice takes off in money.
	owed, paid, leftover int64

	// What later commands ask of a capture: who paid for it, whether it came back, which invoice is about it.
	payer    modelGrant
	refunded bool
	invoice  string
}

type modelInvoice struct {
	id              string
	start, end      time.Time
	revision        int
	from, to        int64
	kind            billing.InvoiceKind
	status          billing.InvoiceStatus
	quantity, cents int64
	finalise        time.Time
	numbered        bool
}

// money spells cents as the database does.
func money(cents int64) string {
	sign := ""
	if cents < 0 {
		sign, cents = "-", -cents
	}
	return fmt.Sprintf("%s%d.%02d", sign, cents/100, cents%100)
}

// centsPerCredit is what a credit costs everybody in the model.
const centsPerCredit = 5

type modelAccount struct {
	id, company                    string
	mode                           billing.Mode
	limit                          int64
	available, held, owed          int64
	granted, captured, expiredEver int64
	adjusted, refunded, invoiced   int64
	grants                         []*modelGrant
	entries                        []modelEntry
	captures                       map[string]int // place of a run's capture of a profile
	anchor                         int
	zone                           *time.Location
	start, end                     time.Time // of the first period that is not closed
	cut                            int64     // number of the last entry that an invoice is about
	invoices                       []*modelInvoice
	compared                       int // entries that were compared with the database already
}

// clone copies all that a command may change, for a command that may be refused.
func (a *modelAccount) clone() *modelAccount {
	out := *a
	out.grants, out.invoices = nil, nil
	for _, g := range a.grants {
		copied := *g
		out.grants = append(out.grants, &copied)
	}
	for _, i := range a.invoices {
		copied := *i
		out.invoices = append(out.invoices, &copied)
	}
	out.entries, out.captures = slices.Clone(a.entries), maps.Clone(a.captures)
	return &out
}

func (a *modelAccount) post(now time.Time, e modelEntry) {
	e.at = now
	a.entries = append(a.entries, e)
}

// left is what a run may hold at most.
func (a *modelAccount) left() int64 {
	if a.mode == billing.Prepaid {
		return a.available
	}
	return max(0, a.limit-a.owed-a.held)
}

// order sorts the grants as they are spent.
func (a *modelAccount) order(now time.Time) {
	far := now.AddDate(1000, 0, 0)
	end := func(g *modelGrant) time.Time {
		if g.expires.IsZero() {
			return far
		}
		return g.expires
	}
	slices.SortFunc(a.grants, func(x, y *modelGrant) int {
		if x.expired(now) != y.expired(now) {
			if x.expired(now) {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(x.priority, y.priority), end(x).Compare(end(y)), cmp.Compare(x.id, y.id))
	})
}

// sweep ends what has expired and is not held: held credits stand on the first of the expired ones.
func (a *modelAccount) sweep(now time.Time) {
	a.order(now)
	covered := a.held
	for _, g := range a.grants {
		if !g.expired(now) || g.remaining == 0 {
			continue
		}
		kept := min(g.remaining, covered)
		covered -= kept
		if lost := g.remaining - kept; lost > 0 {
			g.remaining = kept
			a.available -= lost
			a.expiredEver += lost
			a.post(now, modelEntry{kind: billing.KindExpire})
		}
	}
}

// spend takes one credit out of the grants, and says which had it.
func (a *modelAccount) spend(now time.Time) modelGrant {
	a.order(now)
	for _, g := range a.grants {
		if g.remaining > 0 {
			g.remaining--
			return *g
		}
	}
	panic("the model spends what is not there")
}

func (a *modelAccount) capture(now time.Time, run, profile string) {
	e := modelEntry{kind: billing.KindCapture, run: run, profile: profile}
	a.held--
	a.captured++
	if a.mode == billing.Postpaid {
		a.owed++
		e.owed = 1
	} else {
		e.paid, e.payer = 1, a.spend(now)
	}
	a.captures[run+"/"+profile] = len(a.entries)
	a.post(now, e)
}

// owe corrects what is owed.
func (a *modelAccount) owe(now time.Time, n int64, e modelEntry) {
	a.owed += n
	a.invoiced -= n
	e.owed = n
	a.post(now, e)
}

// come adds a grant.
func (a *modelAccount) come(now time.Time, n int64, g *modelGrant, e modelEntry) {
	a.available += n
	switch e.kind {
	case billing.KindAdjust:
		a.adjusted += n
	case billing.KindRefund:
		a.refunded += n
	default:
		a.granted += n
	}
	g.remaining = n
	a.grants = append(a.grants, g)
	a.post(now, e)
}

// boundary is the anchor's day of a month, or the last one of a shorter month, at midnight in the zone.
func boundary(year int, month time.Month, anchor int, zone *time.Location) time.Time {
	last := time.Date(year, month+1, 0, 0, 0, 0, 0, zone).Day()
	return time.Date(year, month, min(anchor, last), 0, 0, 0, 0, zone)
}

// nextBoundary is the first one that is not before an instant.
func (a *modelAccount) nextBoundary(from time.Time) time.Time {
	in := from.In(a.zone)
	for n := time.Month(-1); ; n++ {
		first := time.Date(in.Year(), in.Month()+n, 1, 0, 0, 0, 0, a.zone)
		if b := boundary(first.Year(), first.Month(), a.anchor, a.zone); !b.Before(from) {
			return b
		}
	}
}

const week = 7 * 24 * time.Hour

// close closes what has ended, in order, by what is dated before each end and on no invoice yet.
func (a *modelAccount) close(now time.Time, grace time.Duration) {
	a.sweep(now)
	for !a.end.After(now) {
		to := int64(0)
		for n, e := range a.entries {
			if e.at.Before(a.end) {
				to = int64(n) + 1
			}
		}
		if i := a.draw(a.cut+1, to); i != nil {
			i.id = fmt.Sprintf("inv_%s_%d", strings.TrimPrefix(a.id, "acc_"), a.start.Unix())
			i.start, i.end, i.revision, i.finalise, i.numbered = a.start, a.end, 1, now.Add(grace), grace == 0
			a.invoices = append(a.invoices, i)
			for n := a.cut; n < to; n++ {
				a.entries[n].invoice = i.id
			}
			a.cut = to
			a.owed -= i.quantity
			a.invoiced += i.quantity
			a.post(now, modelEntry{kind: billing.KindInvoice, owed: -i.quantity})
		}
		a.start = a.end
		a.end = a.nextBoundary(a.start.Add(week))
	}
}

// draw draws up the document of a window of entries; nil when there is nothing to say.
func (a *modelAccount) draw(from, to int64) *modelInvoice {
	i := &modelInvoice{from: from, to: to, kind: billing.KindStatement, status: billing.InvoiceClosed}
	lines := false
	for n := from; n <= to; n++ {
		e := a.entries[n-1]
		if e.kind == billing.KindInvoice {
			continue
		}
		if e.owed != 0 {
			i.kind = billing.KindOwed
			i.quantity += e.owed
		}
		if e.leftover != 0 {
			i.kind = billing.KindOwed
			i.cents -= e.leftover * centsPerCredit
		}
		lines = lines || e.owed != 0 || e.paid != 0 || e.leftover != 0
	}
	if !lines {
		return nil
	}
	i.cents += i.quantity * centsPerCredit
	return i
}

// latest is the newest document of the same period.
func (a *modelAccount) latest(i *modelInvoice) *modelInvoice {
	for _, o := range slices.Backward(a.invoices) {
		if o.start.Equal(i.start) {
			return o
		}
	}
	return i
}

type modelRun struct {
	id               string
	account          *modelAccount
	amount, released int64
	captured         map[string]bool
	state            string
}

func (r *modelRun) open() bool { return r.state == "OPEN" }

func (r *modelRun) held() int64 { return r.amount - int64(len(r.captured)) - r.released }

func (r *modelRun) credits() billing.RunCredits {
	return billing.RunCredits{Reserved: r.amount, Captured: int64(len(r.captured)), Released: r.released, Held: r.held()}
}

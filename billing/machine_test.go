package billing_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/uptrace/bun"
	"pgregory.net/rapid"

	"github.com/enrichd/enrichd/billing"
)

// least is how many steps the state machine takes at least.
var least = flag.Int("ledger.steps", 300, "steps of the ledger's state machine, at least")

// Rounds of about this many steps, since a failing one is easier to shrink the shorter it is.
func init() {
	flag.Set("rapid.checks", "3")
	flag.Set("rapid.steps", "150")
}

// tick is the unit in which the machine lets time pass within a period.
const tick = time.Minute

// TestStateMachine plays random commands against the ledger and against a model
// that says what the rules say, compares the two after each, and proves the books.
func TestStateMachine(t *testing.T) {
	t.Parallel()
	b := setup(t)
	steps, took := 0, map[string]int{}
	for steps < *least && !t.Failed() {
		rapid.Check(t, func(t *rapid.T) {
			m := newMachine(t, b)
			actions := map[string]func(*rapid.T){}
			for _, c := range []struct {
				name   string
				weight int
				act    func(*rapid.T)
			}{
				{"grant", 2, m.grant}, {"again", 1, m.grantAgain}, {"adjust", 2, m.adjust}, {"refund", 4, m.refund},
				{"reserve", 6, m.reserve}, {"reopen", 3, m.reopen}, {"move", 9, m.move}, {"stray", 1, m.stray},
				{"mode", 2, m.mode}, {"limit", 1, m.limit}, {"cycle", 2, m.cycle}, {"close", 2, m.close}, {"invoice", 3, m.invoice},
				{"pass", 2, m.pass}, {"leap", 3, m.leap},
			} {
				for n := range c.weight { // an action is drawn by its name, so the frequent ones have several
					actions[fmt.Sprintf("%d %s", n, c.name)] = func(t *rapid.T) { c.act(t); took[c.name]++ }
				}
			}
			actions[""] = func(t *rapid.T) { steps++; m.compare(t) }
			t.Repeat(actions)
			m.prove(t)
		})
	}
	t.Logf("%d steps: %v", steps, took)
}

type machine struct {
	b        *bundle
	now      time.Time
	accounts []*modelAccount
	runs     []*modelRun
	grants   []billing.Grant
	entries  []*billing.Entry
	steps    int
}

func newMachine(t *rapid.T, b *bundle) *machine {
	m := &machine{b: b, now: time.Date(2030, 1, 1+rapid.IntRange(0, 364).Draw(t, "day"), 0, 0, 0, 0, time.UTC)}
	b.setClock(m.now)
	b.empty()
	b.Grace = rapid.SampledFrom([]time.Duration{0, 36 * time.Hour}).Draw(t, "grace")
	limit := rapid.Int64Range(5, 30).Draw(t, "limit")
	for _, a := range []*modelAccount{
		{company: "pre", mode: billing.Prepaid}, {company: "other", mode: billing.Prepaid}, {company: "post", mode: billing.Postpaid, limit: limit},
	} {
		a.company = fmt.Sprintf("%s-%d", a.company, serial.Add(1))
		if a.mode == billing.Postpaid {
			b.open(a.company, a.mode, &limit)
		} else {
			b.open(a.company, a.mode, nil)
		}
		b.price(a.company, "EUR", "0.05", m.now.AddDate(-1, 0, 0))
		a.id, a.captures, a.anchor, a.zone = b.row(a.company).ID, map[string]int{}, 1, time.UTC
		a.start = boundary(m.now.Year(), m.now.Month(), 1, time.UTC)
		a.end = a.nextBoundary(a.start.Add(week))
		m.accounts = append(m.accounts, a)
	}
	return m
}

// empty clears the ledger between two rounds, so that the audit after each step
// stays quick; only with the guards off is that possible.
func (b *bundle) empty() {
	tables := []string{
		"billing_invoice_lines", "billing_invoices", "billing_prices", "billing_entries", "billing_grant_draws", "billing_reservations", "billing_grants", "billing_accounts",
	}
	guarded := append([]string{"billing_counters"}, tables...)
	for _, table := range guarded {
		b.exec("ALTER TABLE ? DISABLE TRIGGER USER", bun.Ident(table))
	}
	for _, table := range tables {
		b.exec("DELETE FROM ?", bun.Ident(table))
	}
	b.exec("UPDATE billing_counters SET value = 0")
	for _, table := range guarded {
		b.exec("ALTER TABLE ? ENABLE TRIGGER USER", bun.Ident(table))
	}
	b.exec("ALTER TABLE billing_entries DISABLE TRIGGER billing_entries_chain")
}

// life draws when a grant expires: never, within minutes, or within months.
func (m *machine) life(t *rapid.T) *time.Time {
	n := rapid.IntRange(0, 12).Draw(t, "life")
	switch {
	case n == 0:
		return nil
	case n <= 6:
		return ptr(m.now.Add(time.Duration(n) * tick))
	default:
		return ptr(m.now.AddDate(0, 0, 9*(n-6)))
	}
}

func (m *machine) account(t *rapid.T) *modelAccount {
	return m.accounts[rapid.IntRange(0, len(m.accounts)-1).Draw(t, "account")]
}

func (m *machine) grant(t *rapid.T) {
	a := m.account(t)
	g := billing.Grant{
		CompanyID: a.company, Credits: rapid.Int64Range(1, 12).Draw(t, "credits"), Kind: billing.KindGrant,
		Key: fmt.Sprintf("key-%d", serial.Add(1)), Priority: rapid.IntRange(0, 2).Draw(t, "priority"), ExpiresAt: m.life(t),
	}
	if rapid.Bool().Draw(t, "bought") {
		g.Kind, g.Reference = billing.KindPurchase, "pay-"+g.Key
	}
	e, balance, err := m.b.Grant(context.Background(), g)
	if a.mode == billing.Postpaid {
		conflict(t, err, string(billing.Postpaid))
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	a.sweep(m.now)
	row := &modelGrant{id: *e.GrantID, priority: g.Priority}
	if g.ExpiresAt != nil {
		row.expires = *g.ExpiresAt
	}
	a.come(m.now, g.Credits, row, modelEntry{kind: g.Kind})
	m.grants, m.entries = append(m.grants, g), append(m.entries, e)
	a.says(t, e, balance)
}

// says compares what a command answered with the model after it.
func (a *modelAccount) says(t *rapid.T, e *billing.Entry, balance *billing.CreditBalance) {
	if balance.Available != a.available || balance.Held != a.held || e.Seq != int64(len(a.entries)) {
		t.Fatalf("%s: entry %d and %+v, the model says %d, %d, %d", e.Kind, e.Seq, balance, len(a.entries), a.available, a.held)
	}
}

// grantAgain repeats a command: the same entry, whatever became of the account, and nothing moves but what has expired.
func (m *machine) grantAgain(t *rapid.T) {
	if len(m.grants) == 0 {
		t.Skip("nothing granted yet")
	}
	i := rapid.IntRange(0, len(m.grants)-1).Draw(t, "which")
	e, _, err := m.b.Grant(context.Background(), m.grants[i])
	if err != nil || e.ID() != m.entries[i].ID() {
		t.Fatalf("repeated grant: entry %v, error %v", e, err)
	}
	for _, a := range m.accounts {
		if a.company == m.grants[i].CompanyID {
			a.sweep(m.now)
		}
	}
}

// short expects a refusal for want of credits.
func (a *modelAccount) short(t *rapid.T, err error, required int64) {
	var refused billing.InsufficientCredits
	if !errors.As(err, &refused) || refused.Required != required || refused.Available != a.left() || refused.Limit != (a.mode == billing.Postpaid) {
		t.Fatalf("%d required with %d left: %v", required, a.left(), err)
	}
}

func (m *machine) reserve(t *rapid.T) {
	a := m.account(t)
	r := billing.Reservation{CompanyID: a.company, RunID: fmt.Sprintf("run-%d", serial.Add(1)), Hold: rapid.Int64Range(0, 10).Draw(t, "hold")}
	r.Required = r.Hold + rapid.Int64Range(0, 2).Draw(t, "repeats")
	r.Settled = rapid.Int64Range(0, r.Hold).Draw(t, "settled")
	rc, err := m.b.reserveFor(r)

	after := a.clone()
	after.sweep(m.now)
	if r.Hold > 0 && after.left() < r.Required {
		after.short(t, err, r.Required)
		return // and the transaction rolled back, the sweep with it
	}
	if err != nil {
		t.Fatalf("reserve %d with %d left: %v", r.Required, after.left(), err)
	}
	if r.Hold == 0 {
		return
	}
	run := &modelRun{id: r.RunID, account: a, amount: r.Hold, released: r.Settled, captured: map[string]bool{}, state: "OPEN"}
	after.post(m.now, modelEntry{kind: billing.KindReserve})
	if r.Settled > 0 {
		after.post(m.now, modelEntry{kind: billing.KindRelease})
	}
	if r.Settled == r.Hold {
		run.state = "SETTLED"
	}
	*a = *after
	a.hold(run.held())
	m.runs = append(m.runs, run)
	if rc != run.credits() {
		t.Fatalf("reserved %+v, the model says %+v", rc, run.credits())
	}
}

// hold moves credits to what is held; below zero gives them back.
func (a *modelAccount) hold(n int64) {
	a.held += n
	if a.mode == billing.Prepaid {
		a.available -= n
	}
}

// recent is one of the last runs, so that commands meet.
func (m *machine) recent(t *rapid.T) *modelRun {
	if len(m.runs) == 0 {
		t.Skip("nothing reserved yet")
	}
	return m.runs[len(m.runs)-rapid.IntRange(1, min(6, len(m.runs))).Draw(t, "run, from the last")]
}

// reopen raises what a run holds, whether it has ended or not, and whatever the mode was when it began.
func (m *machine) reopen(t *rapid.T) {
	run := m.recent(t)
	a, add := run.account, rapid.Int64Range(1, 4).Draw(t, "add")
	rc, err := m.b.reopen(a.company, run.id, add)
	after := a.clone()
	after.sweep(m.now)
	if after.left() < add {
		after.short(t, err, add)
		return
	}
	if err != nil {
		t.Fatalf("reopen by %d with %d left: %v", add, after.left(), err)
	}
	*a = *after
	a.post(m.now, modelEntry{kind: billing.KindReserve})
	a.hold(add)
	run.amount += add
	run.state = "OPEN"
	if rc != run.credits() {
		t.Fatalf("reopened %+v, the model says %+v", rc, run.credits())
	}
}

// move captures and settles a random part of what is open, with repeats of what was captured long ago.
func (m *machine) move(t *rapid.T) {
	if len(m.runs) == 0 {
		t.Skip("nothing reserved yet")
	}
	var captures []billing.Capture
	var settles []billing.Settle
	named, moved := map[string]*modelRun{}, map[*modelAccount]bool{}
	for range rapid.IntRange(1, 12).Draw(t, "captures") {
		run := m.recent(t)
		profile := fmt.Sprintf("p%d", rapid.IntRange(0, 9).Draw(t, "profile"))
		if fresh := !run.captured[profile]; fresh {
			if !run.open() || run.held() == 0 {
				continue
			}
			run.captured[profile] = true
			run.account.capture(m.now, run.id, profile)
			moved[run.account] = true
		}
		captures = append(captures, billing.Capture{CompanyID: run.account.company, RunID: run.id, ProfileID: profile})
		named[run.id] = run
	}
	for range rapid.IntRange(0, 3).Draw(t, "settles") {
		run := m.recent(t)
		void := rapid.Bool().Draw(t, "void")
		settles = append(settles, billing.Settle{CompanyID: run.account.company, RunID: run.id, Void: void})
		named[run.id] = run
		if !run.open() {
			continue
		}
		run.state = map[bool]string{true: "VOID", false: "SETTLED"}[void]
		rest := run.held()
		run.released += rest
		run.account.hold(-rest)
		if rest > 0 {
			run.account.post(m.now, modelEntry{kind: billing.KindRelease})
			moved[run.account] = true
		}
	}
	for a := range moved {
		a.sweep(m.now)
	}
	credits, err := m.b.move(captures, settles)
	if err != nil {
		t.Fatal(err)
	}
	expected := map[string]billing.RunCredits{}
	for id, run := range named {
		expected[id] = run.credits()
	}
	if !maps.Equal(credits, expected) {
		t.Fatalf("moved %v, the model says %v", credits, expected)
	}
}

// stray captures what nothing was held for: an error, and nothing moves.
func (m *machine) stray(t *rapid.T) {
	company, run := m.accounts[0].company, "unheard-of"
	if len(m.runs) > 0 {
		if r := m.recent(t); !r.open() {
			company, run = r.account.company, r.id
		}
	}
	if _, err := m.b.move([]billing.Capture{{CompanyID: company, RunID: run, ProfileID: "stranger"}}, nil); err == nil {
		t.Fatalf("captured on %s, which holds nothing", run)
	}
}

func (m *machine) pass(t *rapid.T) {
	m.to(m.now.Add(time.Duration(rapid.IntRange(1, 3).Draw(t, "ticks")) * tick))
}

func (m *machine) to(at time.Time) {
	m.now = at
	m.b.exec("UPDATE test_clock SET at = ?", m.now)
}

// leap goes to where a period ends, or just before or after that, whether it is closed there or not.
func (m *machine) leap(t *rapid.T) {
	day := 24 * time.Hour
	to := m.account(t).end.Add(rapid.SampledFrom([]time.Duration{-9 * day, -time.Microsecond, 0, time.Hour, 35 * time.Hour, 45 * day}).Draw(t, "beside"))
	if !to.After(m.now) {
		to = m.now.Add(rapid.SampledFrom([]time.Duration{time.Hour, 36 * time.Hour, 5 * day}).Draw(t, "later"))
	}
	m.to(to.UTC())
}

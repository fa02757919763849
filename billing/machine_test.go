package billing_test

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/uptrace/bun"
	"pgregory.net/rapid"

	"github.com/enrichd/enrichd/billing"
)

// least is how many steps the state machine takes at least.
var least = flag.Int("ledger.steps", 2000, "steps of the ledger's state machine, at least")

// Rounds of about this many steps, since a failing one is easier to shrink the shorter it is.
func init() {
	flag.Set("rapid.checks", "4")
	flag.Set("rapid.steps", "100")
}

// tick is the unit in which the machine lets time pass.
const tick = time.Minute

// TestStateMachine plays random commands against the ledger and against a model
// that says what the rules say, as plainly as Go can, and proves the books after each.
func TestStateMachine(t *testing.T) {
	t.Parallel()
	b := setup(t)
	steps := 0
	for steps < *least && !t.Failed() {
		rapid.Check(t, func(t *rapid.T) {
			m := newMachine(t, b)
			t.Repeat(map[string]func(*rapid.T){
				"":        func(t *rapid.T) { steps++; m.compare(t) },
				"grant":   m.grant,
				"again":   m.grantAgain,
				"reserve": m.reserve,
				"move":    m.move,
				"stray":   m.stray,
				"pass":    m.pass,
			})
		})
	}
	t.Logf("%d steps", steps)
}

type modelGrant struct {
	id        string
	remaining int64
	priority  int
	expires   time.Time // zero for never
}

func (g *modelGrant) expired(now time.Time) bool { return !g.expires.IsZero() && !g.expires.After(now) }

type modelAccount struct {
	company                        string
	mode                           billing.Mode
	limit                          int64
	available, held, owed          int64
	granted, captured, expiredEver int64
	lines                          int64
	grants                         []*modelGrant
}

func (a modelAccount) clone() *modelAccount {
	grants := a.grants
	a.grants = nil
	for _, g := range grants {
		copied := *g
		a.grants = append(a.grants, &copied)
	}
	return &a
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
			a.lines++
		}
	}
}

func (a *modelAccount) captureOne(now time.Time) {
	a.lines++
	a.held--
	a.captured++
	if a.mode == billing.Postpaid {
		a.owed++
		return
	}
	a.order(now)
	for _, g := range a.grants {
		if g.remaining > 0 {
			g.remaining--
			return
		}
	}
	panic("the model captured without credits")
}

type modelRun struct {
	id       string
	account  *modelAccount
	amount   int64
	captured map[string]bool
	released int64
	open     bool
}

func (r *modelRun) held() int64 { return r.amount - int64(len(r.captured)) - r.released }

func (r *modelRun) credits() billing.RunCredits {
	return billing.RunCredits{Reserved: r.amount, Captured: int64(len(r.captured)), Released: r.released, Held: r.held()}
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
	m := &machine{b: b, now: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC).AddDate(0, 0, int(serial.Add(1)))}
	b.setClock(m.now)
	b.empty()
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
	for _, table := range tables {
		b.exec("ALTER TABLE ? DISABLE TRIGGER USER", bun.Ident(table))
	}
	b.exec("TRUNCATE " + strings.Join(tables, ", "))
	for _, table := range tables {
		b.exec("ALTER TABLE ? ENABLE TRIGGER USER", bun.Ident(table))
	}
	b.exec("ALTER TABLE billing_entries DISABLE TRIGGER billing_entries_chain")
}

func (m *machine) grant(t *rapid.T) {
	a := rapid.SampledFrom(m.accounts[:2]).Draw(t, "account")
	g := billing.Grant{
		CompanyID: a.company, Credits: rapid.Int64Range(1, 12).Draw(t, "credits"), Kind: billing.KindGrant,
		Key: fmt.Sprintf("key-%d", serial.Add(1)), Priority: rapid.IntRange(0, 2).Draw(t, "priority"),
	}
	if ticks := rapid.IntRange(0, 6).Draw(t, "life"); ticks > 0 {
		g.ExpiresAt = ptr(m.now.Add(time.Duration(ticks) * tick))
	}
	e, balance, err := m.b.Grant(context.Background(), g)
	if err != nil {
		t.Fatal(err)
	}
	a.sweep(m.now)
	a.available += g.Credits
	a.granted += g.Credits
	a.lines++
	row := &modelGrant{id: *e.GrantID, remaining: g.Credits, priority: g.Priority}
	if g.ExpiresAt != nil {
		row.expires = *g.ExpiresAt
	}
	a.grants = append(a.grants, row)
	m.grants, m.entries = append(m.grants, g), append(m.entries, e)
	if balance.Available != a.available || balance.Held != a.held || e.Seq != a.lines {
		t.Fatalf("granted: entry %d and %+v, the model says %d, %d, %d", e.Seq, balance, a.lines, a.available, a.held)
	}
}

// grantAgain repeats a command: the same entry, and nothing moves but what has expired.
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

func (m *machine) reserve(t *rapid.T) {
	i := rapid.IntRange(0, len(m.accounts)-1).Draw(t, "account")
	a := m.accounts[i]
	r := billing.Reservation{CompanyID: a.company, RunID: fmt.Sprintf("run-%d", serial.Add(1)), Hold: rapid.Int64Range(0, 10).Draw(t, "hold")}
	r.Required = r.Hold + rapid.Int64Range(0, 2).Draw(t, "repeats")
	r.Settled = rapid.Int64Range(0, r.Hold).Draw(t, "settled")
	rc, err := m.b.reserveFor(r)

	after := a.clone()
	after.sweep(m.now)
	left := after.available
	if a.mode == billing.Postpaid {
		left = max(0, a.limit-a.owed-a.held)
	}
	if r.Hold > 0 && left < r.Required {
		var refused billing.InsufficientCredits
		if !errors.As(err, &refused) || refused.Required != r.Required || refused.Available != left || refused.Limit != (a.mode == billing.Postpaid) {
			t.Fatalf("reserve %d with %d left: %v", r.Required, left, err)
		}
		return // and the transaction rolled back, the sweep with it
	}
	if err != nil {
		t.Fatalf("reserve %d with %d left: %v", r.Required, left, err)
	}
	if r.Hold == 0 {
		return
	}
	run := &modelRun{id: r.RunID, amount: r.Hold, released: r.Settled, captured: map[string]bool{}, open: r.Settled < r.Hold}
	after.held += run.held()
	after.lines++
	if r.Settled > 0 {
		after.lines++
	}
	if a.mode == billing.Prepaid {
		after.available -= run.held()
	}
	*a = *after
	run.account = a
	m.runs = append(m.runs, run)
	if rc != run.credits() {
		t.Fatalf("reserved %+v, the model says %+v", rc, run.credits())
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
		run := rapid.SampledFrom(m.runs[max(0, len(m.runs)-6):]).Draw(t, "run")
		profile := fmt.Sprintf("p%d", rapid.IntRange(0, 9).Draw(t, "profile"))
		if fresh := !run.captured[profile]; fresh {
			if !run.open || run.held() == 0 {
				continue
			}
			run.captured[profile] = true
			run.account.captureOne(m.now)
			moved[run.account] = true
		}
		captures = append(captures, billing.Capture{CompanyID: run.account.company, RunID: run.id, ProfileID: profile})
		named[run.id] = run
	}
	for range rapid.IntRange(0, 3).Draw(t, "settles") {
		run := rapid.SampledFrom(m.runs[max(0, len(m.runs)-6):]).Draw(t, "ending")
		settles = append(settles, billing.Settle{CompanyID: run.account.company, RunID: run.id, Void: rapid.Bool().Draw(t, "void")})
		named[run.id] = run
		if !run.open {
			continue
		}
		run.open = false
		rest := run.held()
		run.released += rest
		run.account.held -= rest
		if run.account.mode == billing.Prepaid {
			run.account.available += rest
		}
		if rest > 0 {
			run.account.lines++
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
		if r := rapid.SampledFrom(m.runs).Draw(t, "run"); !r.open {
			company, run = r.account.company, r.id
		}
	}
	if _, err := m.b.move([]billing.Capture{{CompanyID: company, RunID: run, ProfileID: "stranger"}}, nil); err == nil {
		t.Fatalf("captured on %s, which holds nothing", run)
	}
}

func (m *machine) pass(t *rapid.T) {
	m.now = m.now.Add(time.Duration(rapid.IntRange(1, 3).Draw(t, "ticks")) * tick)
	m.b.exec("UPDATE test_clock SET at = ?", m.now)
}

func (m *machine) compare(t *rapid.T) {
	for _, a := range m.accounts {
		row := m.b.row(a.company) // as it lies there: Account would end what has expired
		got := []int64{row.Available, row.Held, row.Owed, row.GrantedTotal, row.CapturedTotal, row.ExpiredTotal, row.LastSeq}
		want := []int64{a.available, a.held, a.owed, a.granted, a.captured, a.expiredEver, a.lines}
		if !slices.Equal(got, want) {
			t.Fatalf("%s: available, held, owed, granted, captured, expired, entries are %v, the model says %v", a.company, got, want)
		}
		var rows []struct {
			ID        string `bun:"id"`
			Remaining int64  `bun:"remaining"`
		}
		if err := m.b.DB.NewRaw("SELECT id, remaining FROM billing_grants WHERE account_id = ?", row.ID).Scan(context.Background(), &rows); err != nil {
			t.Fatal(err)
		}
		remaining := map[string]int64{}
		for _, r := range rows {
			remaining[r.ID] = r.Remaining
		}
		for _, g := range a.grants {
			if remaining[g.id] != g.remaining {
				t.Fatalf("%s: grant %s has %d left, the model says %d", a.company, g.id, remaining[g.id], g.remaining)
			}
		}
	}
	violations, err := m.b.Audit(context.Background(), m.b.DB)
	if err != nil || len(violations) > 0 {
		t.Fatalf("audit: %v %v", violations, err)
	}
	if m.steps++; m.steps%5 != 0 {
		return
	}
	proof, err := m.b.Prove(context.Background())
	if err != nil || len(proof.Findings) > 0 {
		t.Fatalf("proof: %v %v", proof.Findings, err)
	}
}

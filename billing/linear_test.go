package billing_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/enrichd/enrichd/billing"
	"github.com/enrichd/enrichd/internal/fault"
	"github.com/enrichd/enrichd/internal/pg"
	"github.com/enrichd/enrichd/internal/pgtest"
)

// nodes are n ledgers on one database, each with connections of its own, as processes have them.
func nodes(t testing.TB, n int) []*bundle {
	t.Helper()
	db := pgtest.New(t)
	out := []*bundle{{&billing.Ledger{DB: db.Bun}, t}}
	for len(out) < n {
		other, err := pg.Open(db.DSN, 10, pg.AllowInsecure(true))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = other.Close() })
		out = append(out, &bundle{&billing.Ledger{DB: other}, t})
	}
	return out
}

// step is one call in a history: reserve takes n, release and grant give n.
type step struct {
	kind string
	n    int64
}

// answer is what the call was told: refused, and how many were then available.
type answer struct {
	refused   bool
	available int64
}

// counter says how one account looks from outside: what is available is a
// number; a reserve takes from it exactly when there is enough, and is otherwise
// refused with that number (I13).
var counter = porcupine.Model{
	Init: func() any { return int64(0) },
	Step: func(state, input, output any) (bool, any) {
		available, s, a := state.(int64), input.(step), output.(answer)
		switch {
		case s.kind != "reserve":
			return true, available + s.n
		case a.refused:
			return available < s.n && a.available == available, available
		default:
			return available >= s.n, available - s.n
		}
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%v %+v", input, output) },
}

// history records calls with the intervals in which they ran.
type history struct {
	began time.Time
	mu    sync.Mutex
	ops   []porcupine.Operation
}

// call runs f and records what it answers; an error that is no refusal ends the test.
func (h *history) call(t testing.TB, client int, s step, f func() error) (ok bool) {
	call := time.Since(h.began)
	err := f()
	back := time.Since(h.began)
	var short billing.InsufficientCredits
	out := answer{}
	if errors.As(err, &short) {
		out = answer{true, short.Available}
	} else if err != nil {
		t.Errorf("%+v: %v", s, err)
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = append(h.ops, porcupine.Operation{ClientId: client, Input: s, Call: int64(call), Output: out, Return: int64(back)})
	return !out.refused
}

// TestReserveIsLinearizable lets clients on two nodes reserve, release, capture
// and grant on one account that is nearly always short, and looks that every
// answer is one that a single counter could have given at one moment of its call.
func TestReserveIsLinearizable(t *testing.T) {
	t.Parallel()
	const clients, rounds, calls, credits = 8, 8, 40, 15
	on := nodes(t, 2)
	refused, admitted := 0, 0
	for round := range rounds {
		company := on[0].open(fmt.Sprintf("company-%d", round), billing.Prepaid, nil)
		h := &history{began: time.Now()}
		h.call(t, 0, step{"grant", credits}, func() error {
			_, _, err := on[0].Grant(context.Background(), billing.Grant{CompanyID: company, Credits: credits, Kind: billing.KindGrant, Key: "grant"})
			return err
		})
		var group sync.WaitGroup
		for client := range clients {
			dice := rand.New(rand.NewPCG(uint64(round), uint64(client)))
			group.Go(func() {
				b := on[client%len(on)]
				var held []string
				for i := range calls {
					switch {
					case i == 10 && client%2 == 1: // credits come in while others take them
						n := 1 + dice.Int64N(4)
						h.call(t, client, step{"grant", n}, func() error {
							_, _, err := b.Grant(context.Background(), billing.Grant{CompanyID: company, Credits: n, Kind: billing.KindGrant, Key: fmt.Sprintf("grant-%d", client)})
							return err
						})
					case len(held) > 0 && dice.IntN(2) == 0:
						run := held[0]
						held = held[1:]
						var captures []billing.Capture
						n := int64(0)
						rc, err := b.Credits(context.Background(), b.DB, run)
						if n = rc[run].Held; err != nil || n == 0 {
							t.Errorf("%s holds %+v, %v", run, rc[run], err)
							return
						}
						if n > 1 && dice.IntN(8) == 0 { // one of them is spent, and does not come back
							captures = []billing.Capture{{CompanyID: company, RunID: run, ProfileID: "p"}}
							n--
						}
						h.call(t, client, step{"release", n}, func() error {
							_, err := b.move(captures, []billing.Settle{{CompanyID: company, RunID: run}})
							return err
						})
					default:
						run, n := fmt.Sprintf("run-%d-%d-%d", round, client, i), 1+dice.Int64N(4)
						if h.call(t, client, step{"reserve", n}, func() error { _, err := b.reserve(company, run, n, 0); return err }) {
							held = append(held, run)
						}
					}
				}
			})
		}
		group.Wait()
		if t.Failed() {
			return
		}
		result, info := porcupine.CheckOperationsVerbose(counter, h.ops, time.Minute)
		if result != porcupine.Ok {
			picture := t.ArtifactDir() + "/history.html"
			t.Fatalf("round %d: %d calls are %s; picture in %s: %v", round, len(h.ops), result, picture, porcupine.VisualizePath(counter, info, picture))
		}
		for _, op := range h.ops {
			if op.Input.(step).kind == "reserve" {
				if op.Output.(answer).refused {
					refused++
				} else {
					admitted++
				}
			}
		}
	}
	if refused == 0 || admitted == 0 {
		t.Errorf("%d refused and %d admitted prove nothing", refused, admitted)
	}
	t.Logf("%d histories of %d calls: %d admitted, %d refused", rounds, clients*calls, admitted, refused)
}

// TestTheCheckSeesWhatIsWrong gives the check histories that no counter could have made.
func TestTheCheckSeesWhatIsWrong(t *testing.T) {
	t.Parallel()
	op := func(call, back int64, s step, a answer) porcupine.Operation {
		return porcupine.Operation{Input: s, Call: call, Output: a, Return: back}
	}
	grant := op(0, 1, step{"grant", 5}, answer{})
	for name, test := range map[string]struct {
		right bool
		ops   []porcupine.Operation
	}{
		"refused though there was enough all the time":   {false, []porcupine.Operation{grant, op(2, 3, step{"reserve", 5}, answer{true, 4})}},
		"refused while another briefly held it":          {true, []porcupine.Operation{grant, op(2, 9, step{"reserve", 5}, answer{true, 1}), op(3, 5, step{"reserve", 4}, answer{}), op(6, 8, step{"release", 4}, answer{})}},
		"refused after the other had given it back":      {false, []porcupine.Operation{grant, op(2, 3, step{"reserve", 4}, answer{}), op(4, 5, step{"release", 4}, answer{}), op(6, 7, step{"reserve", 5}, answer{true, 1})}},
		"admitted two where there was enough for one":    {false, []porcupine.Operation{grant, op(2, 5, step{"reserve", 3}, answer{}), op(2, 5, step{"reserve", 3}, answer{})}},
		"refused with a figure that never was available": {false, []porcupine.Operation{grant, op(2, 3, step{"reserve", 9}, answer{true, 6})}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := porcupine.CheckOperations(counter, test.ops); got != test.right {
				t.Errorf("it says %t", got)
			}
		})
	}
}

// TestStampedeOnTwoNodes has two hundred callers on two nodes want a hundred
// credits at the same moment, and then two hundred more of the next hundred.
func TestStampedeOnTwoNodes(t *testing.T) {
	t.Parallel()
	const callers, credits = 200, 100
	on := nodes(t, 2)
	c := on[0].prepaid("acme", 0)
	for wave := range int64(2) {
		on[0].grant(billing.Grant{CompanyID: c, Credits: credits})
		var admitted, refused atomic.Int64
		gate := make(chan struct{})
		var group sync.WaitGroup
		for i := range callers {
			group.Go(func() {
				<-gate
				_, err := on[i%2].reserve(c, fmt.Sprintf("run-%d-%d", wave, i), 1, 0)
				var short billing.InsufficientCredits
				switch {
				case err == nil:
					admitted.Add(1)
				case errors.As(err, &short) && short.Available == 0 && short.Required == 1:
					refused.Add(1)
				default:
					t.Errorf("%d: %v", i, err)
				}
			})
		}
		close(gate)
		group.Wait()
		if admitted.Load() != credits || refused.Load() != callers-credits {
			t.Errorf("%d admitted, %d refused", admitted.Load(), refused.Load())
		}
		on[1].expectBalance(c, 0, credits*(wave+1))
	}
}

// TestRetriesAtOnce sends the same command a hundred times at the same moment, from two nodes.
func TestRetriesAtOnce(t *testing.T) {
	t.Parallel()
	const times = 100
	atOnce := func(f func(i int)) {
		gate := make(chan struct{})
		var group sync.WaitGroup
		for i := range times {
			group.Go(func() { <-gate; f(i) })
		}
		close(gate)
		group.Wait()
	}
	t.Run("a purchase credits once, and all are told the same", func(t *testing.T) {
		t.Parallel()
		on := nodes(t, 2)
		c := on[0].prepaid("acme", 0)
		purchase := billing.Grant{CompanyID: c, Credits: 25, Kind: billing.KindPurchase, Key: "k", Reference: "pay_1", Actor: "psp"}
		atOnce(func(i int) {
			e, balance, err := on[i%2].Grant(context.Background(), purchase)
			if err != nil || e.Seq != 1 || *balance != (billing.CreditBalance{Posted: 25, Available: 25}) {
				t.Error(e, balance, err)
			}
		})
		on[0].expectBalance(c, 25, 0)
	})
	t.Run("a payment that comes under a hundred keys credits once, and the others are refused", func(t *testing.T) {
		t.Parallel()
		on := nodes(t, 2)
		c := on[0].prepaid("acme", 0)
		var credited, refused atomic.Int64
		atOnce(func(i int) {
			_, _, err := on[i%2].Grant(context.Background(), billing.Grant{
				CompanyID: c, Credits: 25, Kind: billing.KindPurchase, Key: fmt.Sprint(i), Reference: "pay_1", Actor: "psp",
			})
			if err == nil {
				credited.Add(1)
			} else if refusals(err) == 1 {
				refused.Add(1)
			} else {
				t.Error(err)
			}
		})
		if credited.Load() != 1 || refused.Load() != times-1 {
			t.Errorf("%d credited, %d refused", credited.Load(), refused.Load())
		}
		on[0].expectBalance(c, 25, 0)
	})
	t.Run("a batch of captures and its settlement move once", func(t *testing.T) {
		t.Parallel()
		on := nodes(t, 2)
		c := on[0].prepaid("acme", 10)
		on[0].hold(c, "run", 5)
		atOnce(func(i int) {
			rc, err := on[i%2].move([]billing.Capture{{CompanyID: c, RunID: "run", ProfileID: "p1"}, {CompanyID: c, RunID: "run", ProfileID: "p2"}},
				[]billing.Settle{{CompanyID: c, RunID: "run"}})
			if want := (billing.RunCredits{Reserved: 5, Captured: 2, Released: 3}); err != nil || rc["run"] != want {
				t.Error(rc, err)
			}
		})
		on[0].expectBalance(c, 8, 0)
		if n := on[0].account(c).LastSeq; n != 5 { // grant, reserve, two captures, release
			t.Errorf("%d entries", n)
		}
	})
}

// refusals counts the refusals in an error that is nothing else.
func refusals(err error) int {
	users, rest := fault.Users(err)
	if rest != nil {
		return -1
	}
	return len(users)
}

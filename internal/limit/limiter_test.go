package limit

import (
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/enrichd/enrichd/internal/access"
	"github.com/enrichd/enrichd/internal/ident"
	"github.com/enrichd/enrichd/internal/pg"
	"github.com/enrichd/enrichd/internal/pgtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// node is one process's limiter on a pool of its own.
func node(t *testing.T, db *pgtest.DB) *Limiter {
	t.Helper()
	pool, err := pg.Open(db.DSN, 4)
	if err != nil {
		t.Fatal(err)
	}
	l := &Limiter{DB: pool, Log: slog.New(slog.DiscardHandler)}
	if err := l.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(l.Stop(t.Context()), pool.Close()); err != nil {
			t.Error(err)
		}
	})
	return l
}

func principal(plan string) *access.Principal {
	return &access.Principal{Company: access.Company{ID: ident.NewUUID(), Plan: plan}, Key: access.Key{ID: ident.NewUUID()}}
}

func take(t *testing.T, l *Limiter, p *access.Principal, b Bucket, n int64) Verdict {
	t.Helper()
	v, err := l.Take(t.Context(), p, b, n)
	if refused := (Exceeded{}); err != nil && !errors.As(err, &refused) || v.Allowed != (err == nil) {
		t.Fatalf("%+v, %v", v, err)
	}
	return v
}

func TestOneNode(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)

	t.Run("admits the burst, then says when to come back, and admits again then", func(t *testing.T) {
		t.Parallel()
		l, p := node(t, db), principal("none")
		began := time.Now()
		for i := range int64(60) {
			v := take(t, l, p, Requests, 1)
			if !v.Allowed {
				t.Fatalf("refuses request %d: %+v", i, v)
			}
			if v.Minute.Limit != 60 || v.Hour.Limit != 2000 {
				t.Fatalf("%+v", v)
			}
			// What came back meanwhile may show.
			if back := int64(time.Since(began) / time.Second); v.Minute.Remaining < 59-i || v.Minute.Remaining > 59-i+back+1 || v.Hour.Remaining != 1999-i {
				t.Fatalf("after request %d: %+v", i, v)
			}
		}
		v := take(t, l, p, Requests, 1)
		for v.Allowed { // the machine was slow, and a token came back
			v = take(t, l, p, Requests, 1)
		}
		if v.RetryAfter != time.Second || v.Minute.Remaining != 0 || v.ByHour || v.Refusing() != v.Minute {
			t.Fatalf("%+v", v)
		}
		time.Sleep(v.RetryAfter) // what a client is told to do
		if v := take(t, l, p, Requests, 1); !v.Allowed {
			t.Errorf("refuses who waited as told: %+v", v)
		}
	})
	t.Run("looking takes nothing", func(t *testing.T) {
		t.Parallel()
		l, p := node(t, db), principal("business")
		for range 600 {
			if v := take(t, l, p, Requests, 0); !v.Allowed || v.Left != 500 {
				t.Fatalf("%+v", v)
			}
		}
	})
	t.Run("refuses by the hour's quota until the hour ends", func(t *testing.T) {
		t.Parallel()
		l, p := node(t, db), principal("trial")
		p.Key.Limits = &access.Limits{PerMinute: 6000, PerHour: 100, Burst: 1000}
		admitted := 0
		for range 300 {
			v := take(t, l, p, Requests, 1)
			if v.Allowed {
				admitted++
				continue
			}
			if !v.ByHour || v.RetryAfter > time.Hour || v.Refusing().Limit != 100 || v.Hour.Remaining != 0 {
				t.Fatalf("%+v", v)
			}
		}
		if admitted != 100 && time.Now().Unix()%3600 > 10 {
			t.Errorf("%d admitted of an hour's 100", admitted)
		}
	})
	t.Run("keeps buckets, keys and companies apart", func(t *testing.T) {
		t.Parallel()
		l, p := node(t, db), principal("none")
		for take(t, l, p, Requests, 1).Allowed {
		}
		if !take(t, l, p, Runs, 1).Allowed || !take(t, l, p, Polls, 1).Allowed {
			t.Error("an empty bucket empties others")
		}
		sibling := *p
		sibling.Key.ID = ident.NewUUID()
		if !take(t, l, &sibling, Requests, 1).Allowed {
			t.Error("one busy key starves the next")
		}
		if !take(t, l, principal("none"), Requests, 1).Allowed {
			t.Error("one company empties another")
		}
	})
	t.Run("making keys does not multiply what a company has", func(t *testing.T) {
		t.Parallel()
		l, p := node(t, db), principal("none")
		began, admitted := time.Now(), int64(0)
		for range 20 {
			p.Key.ID = ident.NewUUID()
			for range 60 {
				if take(t, l, p, Requests, 1).Allowed {
					admitted++
				}
			}
		}
		if most := 240 + int64(time.Since(began)/(time.Second/4)) + 1; admitted < 240 || admitted > most {
			t.Errorf("%d admitted to 20 keys, between 240 and %d expected", admitted, most)
		}
		p.Key.ID, p.Key.Test = ident.NewUUID(), true
		if !take(t, l, p, Requests, 1).Allowed {
			t.Error("live keys empty the bucket of test keys")
		}
	})
	t.Run("takes the cost of an operation whole or not at all", func(t *testing.T) {
		t.Parallel()
		l, p := node(t, db), principal("none")
		if b := l.Budget(t.Context(), p); b.Capacity != 11_200 || b.Remaining != b.Capacity || b.RestorePerSecond != 120 {
			t.Fatalf("%+v", b)
		}
		if v := take(t, l, p, Cost, 10_000); !v.Allowed || v.Left != 1200 {
			t.Fatalf("%+v", v)
		}
		v := take(t, l, p, Cost, 10_000)
		if v.Allowed || v.RetryAfter < 60*time.Second || v.RetryAfter > 74*time.Second {
			t.Fatalf("%+v", v)
		}
		if v := take(t, l, p, Cost, 1000); !v.Allowed {
			t.Errorf("refuses what is there: %+v", v)
		}
	})
	t.Run("admits all that a key may have at once, asked by many", func(t *testing.T) {
		t.Parallel()
		l, p := node(t, db), principal("scale")
		began, admitted := time.Now(), hammer(t, p, 400, l, l, l, l)
		if most := 1000 + int64(time.Since(began)/(100*time.Millisecond)) + 1; admitted < 1000 || admitted > most {
			t.Errorf("%d admitted, between 1000 and %d expected", admitted, most)
		}
	})
}

// hammer makes each ask n times as fast as it can, and counts what was admitted.
func hammer(t *testing.T, p *access.Principal, n int, nodes ...*Limiter) int64 {
	t.Helper()
	var admitted atomic.Int64
	var wg sync.WaitGroup
	for _, l := range nodes {
		wg.Go(func() {
			for range n {
				v, err := l.Take(t.Context(), p, Requests, 1)
				if v.Allowed && err == nil {
					admitted.Add(1)
				}
			}
		})
	}
	wg.Wait()
	return admitted.Load()
}

func TestThreeNodes(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	nodes := []*Limiter{node(t, db), node(t, db), node(t, db)}

	t.Run("admit what one may, and at most one lease each above it", func(t *testing.T) {
		t.Parallel()
		p := principal("business")
		began := time.Now()
		admitted := hammer(t, p, 600, nodes...)
		back := int64(time.Since(began)/(time.Minute/300)) + 1
		if admitted < 500-3*maxLease || admitted > 500+back+3*maxLease {
			t.Errorf("%d admitted of a burst of 500 (%d came back)", admitted, back)
		}
		t.Logf("%d admitted of a burst of 500; %d came back meanwhile", admitted, back)
	})
	t.Run("what a silent node has used is booked, and what it has not is free again", func(t *testing.T) {
		t.Parallel()
		p := principal("none")
		for range 30 {
			take(t, nodes[0], p, Requests, 1)
		}
		began := time.Now()
		var v Verdict
		for v.Allowed = true; v.Allowed && time.Since(began) < time.Minute; {
			v = take(t, nodes[1], p, Requests, 0)
			if booked := 60 - v.Left; booked <= 30 && time.Since(began) > leaseInRow {
				break
			}
			time.Sleep(50 * time.Millisecond)
		}
		// Six seconds and more have brought as many tokens back.
		if elapsed := int64(time.Since(began)/time.Second) + 1; v.Left < 30 || v.Left > 30+elapsed+1 {
			t.Errorf("%d left after %d s", v.Left, elapsed)
		}
	})
}

func TestDatabaseAway(t *testing.T) {
	t.Parallel()
	pool, err := pg.Open("postgres://nobody@127.0.0.1:1/none?sslmode=disable", 2)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	l := &Limiter{DB: pool, Log: slog.New(slog.DiscardHandler)}
	p := principal("none")
	admitted := 0
	began := time.Now()
	for range 200 {
		if take(t, l, p, Requests, 1).Allowed {
			admitted++
		}
	}
	if back := int(time.Since(began) / time.Second); admitted < 60 || admitted > 60+back+1 {
		t.Errorf("%d admitted by the node alone, of a burst of 60", admitted)
	}
	if v := take(t, l, p, Requests, 1); v.RetryAfter < time.Second || v.Minute.Limit != 60 {
		t.Errorf("%+v", v)
	}
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	l, p := node(t, db), principal("starter")
	h := http.Header{}
	take(t, l, p, Requests, 1).SetHeaders(h.Set)
	for name, want := range map[string]string{
		"X-RateLimit-Limit-Minute": "120", "X-RateLimit-Limit-Hour": "5000", "X-RateLimit-Remaining-Hour": "4999",
		"RateLimit-Policy": `"default";q=120;w=60, "hour";q=5000;w=3600`, "Retry-After": "",
	} {
		if got := h.Get(name); got != want {
			t.Errorf("%s: %q, not %q", name, got, want)
		}
	}
	for _, name := range []string{"X-RateLimit-Reset-Minute", "X-RateLimit-Reset-Hour"} {
		if at, err := strconv.ParseInt(h.Get(name), 10, 64); err != nil || at < time.Now().Add(-time.Minute).Unix() {
			t.Errorf("%s: %q", name, h.Get(name))
		}
	}
	var v Verdict
	for v = take(t, l, p, Requests, 1); v.Allowed; {
		v = take(t, l, p, Requests, 1)
	}
	v.SetHeaders(h.Set)
	if h.Get("Retry-After") != "1" || h.Get("X-RateLimit-Remaining-Minute") != "0" {
		t.Errorf("%v", h)
	}
	none := http.Header{}
	var unlimited *Limiter
	take(t, unlimited, p, Requests, 1).SetHeaders(none.Set)
	if len(none) != 0 {
		t.Errorf("headers without a limit: %v", none)
	}
}

package cmd_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"
)

// TestLimits asks two servers with one key, as fast as it can.
func TestLimits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	nodes := []*node{w.serve(t), w.serve(t)}
	me := w.tenant(t, nodes[0], 10)
	if s := w.cli(t, "limits", "set", "--key", me.keyID, "--per-minute", "60", "--per-hour", "300", "--burst", "60"); s.status != 0 {
		t.Fatalf("%+v", s)
	}
	people := w.importAll(t, me.company)
	at := func(n *node) caller { return caller{n.url, me.key} }

	t.Run("together they admit what the key may", func(t *testing.T) {
		began := time.Now()
		var mu sync.Mutex
		admitted, refused := 0, 0
		var wg sync.WaitGroup
		for _, n := range nodes {
			for range 2 {
				wg.Go(func() {
					for range 50 {
						r := at(n).send(t, "GET", "/billing/usage", nil)
						mu.Lock()
						switch r.status {
						case http.StatusOK:
							admitted++
						case http.StatusTooManyRequests:
							refused++
							expectLimited(t, r)
						default:
							t.Errorf("%d %s", r.status, r.body)
						}
						mu.Unlock()
						for _, name := range []string{"X-RateLimit-Limit-Minute", "X-RateLimit-Limit-Hour", "X-RateLimit-Remaining-Minute",
							"X-RateLimit-Remaining-Hour", "X-RateLimit-Reset-Minute", "X-RateLimit-Reset-Hour", "RateLimit", "RateLimit-Policy"} {
							if r.header.Get(name) == "" {
								t.Errorf("%d without %s", r.status, name)
							}
						}
						if got := r.header.Get("X-RateLimit-Limit-Minute"); got != "60" {
							t.Errorf("a limit of %s", got)
						}
					}
				})
			}
		}
		wg.Wait()
		// A second brings one token back; a lease of a small bucket is a few tokens.
		if back := int(time.Since(began)/time.Second) + 1; admitted < 50 || admitted > 60+back+2*4 {
			t.Errorf("%d admitted and %d refused in %s", admitted, refused, time.Since(began))
		}
	})
	t.Run("an empty bucket refuses GraphQL before it is parsed", func(t *testing.T) {
		var e struct {
			Errors []struct {
				Extensions struct {
					Code         string
					RetryAfterMs int
				}
			}
		}
		var r reply
		eventually(t, patience, "a refusal", func() bool {
			r = at(nodes[1]).graphql(t, "{", nil)
			return r.status == http.StatusTooManyRequests
		})
		r.decode(t, &e)
		if len(e.Errors) != 1 || e.Errors[0].Extensions.Code != "RATE_LIMITED" || e.Errors[0].Extensions.RetryAfterMs < 1000 ||
			r.header.Get("Retry-After") != strconv.Itoa(e.Errors[0].Extensions.RetryAfterMs/1000) {
			t.Errorf("%v %s", r.header, r.body)
		}
	})
	t.Run("another key of another company does not feel it", func(t *testing.T) {
		other := w.tenant(t, nodes[0], 1)
		r := other.graphql(t, "{ viewer { company { id } } }", nil)
		var answer struct {
			Extensions struct {
				Cost struct{ Requested, Remaining, Capacity, RestorePerSecond int }
			}
		}
		r.decode(t, &answer)
		if c := answer.Extensions.Cost; r.status != 200 || c.Requested < 1 || c.Remaining != c.Capacity-c.Requested || c.RestorePerSecond < 1 {
			t.Errorf("%d %s", r.status, r.body)
		}
	})
	t.Run("waiting as told is enough", func(t *testing.T) {
		var r reply
		eventually(t, patience, "a refusal", func() bool {
			r = at(nodes[0]).start(t, people.pick(t, "ada-lindqvist"), "")
			return r.status == http.StatusTooManyRequests
		})
		after, err := strconv.Atoi(r.header.Get("Retry-After"))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(after) * time.Second)
		if r := at(nodes[0]).send(t, "GET", "/billing/usage", nil); r.status != http.StatusOK {
			t.Errorf("%d %s", r.status, r.body)
		}
	})
}

// expectLimited compares a 429 with the older contract's.
func expectLimited(t *testing.T, r reply) {
	t.Helper()
	var body struct {
		StatusCode, RetryAfter, Limit, Remaining int
		Message, Error                           string
		Reset                                    int64
		Success                                  *bool
	}
	r.decode(t, &body)
	if body.StatusCode != 429 || body.Message != "Rate limit exceeded" || body.Error != "Too Many Requests" || body.RetryAfter < 1 ||
		strconv.Itoa(body.RetryAfter) != r.header.Get("Retry-After") || body.Limit != 60 || body.Remaining != 0 ||
		body.Reset < time.Now().Unix()-5 || body.Success == nil || *body.Success {
		t.Errorf("%v %s", r.header, r.body)
	}
}

// TestKeysOfLiveConnections takes keys out of use while they hold sockets on two servers.
func TestKeysOfLiveConnections(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	nodes := []*node{w.serve(t), w.serve(t)}
	tenants := map[string]*tenant{}
	for _, how := range []string{"revoke", "suspend", "unannounced"} {
		tenants[how] = w.tenant(t, nodes[0], 1)
	}
	open := func(t *testing.T, me *tenant) (sockets []socket) {
		t.Helper()
		for _, n := range nodes {
			for range 2 {
				sockets = append(sockets, caller{n.url, me.key}.socket(t))
			}
		}
		return sockets
	}
	gone := func(t *testing.T, me *tenant, sockets []socket, code string) {
		t.Helper()
		for _, s := range sockets {
			s.expectClose(t, 4403)
		}
		for _, n := range nodes {
			if r := (caller{n.url, me.key}).send(t, "GET", "/billing/usage", nil); r.status != 401 || r.refusal(t).Error.Code != code {
				t.Errorf("%d %s", r.status, r.body)
			}
		}
	}

	for how, code := range map[string]string{"revoke": "INVALID_API_KEY", "suspend": "API_KEY_SUSPENDED"} {
		t.Run(how, func(t *testing.T) {
			me := tenants[how]
			sockets := open(t, me)
			if s := w.cli(t, "keys", how, me.keyID, "--json"); s.status != 0 {
				t.Fatalf("%+v", s)
			}
			began := time.Now() // the command has committed before it ended
			gone(t, me, sockets, code)
			t.Logf("all sockets closed, and refused on both, %s after the command", time.Since(began))
		})
	}
	t.Run("a suspended key says why, and is as before once resumed", func(t *testing.T) {
		me := tenants["suspend"]
		if s := w.cli(t, "keys", "suspend", me.keyID, "--reason", "invoice 17 is open"); s.status != 0 {
			t.Fatalf("%+v", s)
		}
		var f struct {
			Error struct {
				Details struct {
					Reason      string
					SuspendedAt time.Time
				}
			}
		}
		eventually(t, patience, "the reason", func() bool {
			me.send(t, "GET", "/billing/usage", nil).decode(t, &f)
			return f.Error.Details.Reason == "invoice 17 is open" && !f.Error.Details.SuspendedAt.IsZero()
		})
		if s := w.cli(t, "keys", "resume", me.keyID); s.status != 0 {
			t.Fatalf("%+v", s)
		}
		for _, n := range nodes {
			eventually(t, patience, "it is let in again", func() bool {
				return caller{n.url, me.key}.send(t, "GET", "/billing/usage", nil).status == 200
			})
			caller{n.url, me.key}.socket(t)
		}
		var audit []struct{ Action, Actor, Detail string }
		must(t, w.env, &audit, "keys", "audit", me.keyID)
		said := ""
		for _, a := range audit {
			said += a.Action + " "
		}
		if said != "created suspended suspended resumed " {
			t.Errorf("%v", audit)
		}
	})
	t.Run("a revocation that nobody heard of is found once the listener is back", func(t *testing.T) {
		me := tenants["unannounced"]
		sockets := open(t, me)
		if _, err := w.db.Bun.ExecContext(t.Context(), "UPDATE api_keys SET revoked_at = now() WHERE id = ?", me.keyID); err != nil {
			t.Fatal(err)
		}
		if n := w.count(t, "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND query = 'LISTEN enrichd_wake'"); n != len(nodes) {
			t.Errorf("%d listeners cut off", n)
		}
		began := time.Now()
		gone(t, me, sockets, "INVALID_API_KEY")
		t.Logf("found %s after the listeners were cut off", time.Since(began))
	})
}

// TestManagingKey acts for several companies with one key.
func TestManagingKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.serve(t)
	one, two, foreign := w.tenant(t, n, 5), w.tenant(t, n, 5), w.tenant(t, n, 5)
	vendor := w.tenant(t, n, 0)
	_, ats := newKey(t, w.env, n, vendor.company, "--manages", one.company+","+two.company)
	people := importFile(t, w.env, two.company, "people.csv", w.web.Profiles())

	t.Run("over REST it names the company in the query", func(t *testing.T) {
		body := marshal(t, map[string]any{"profileIds": people.pick(t, "ada-lindqvist")})
		if r := ats.send(t, "POST", "/sourcing/enrich", body); r.status != 400 || r.refusal(t).Error.Code != "VALIDATION_ERROR" {
			t.Errorf("without: %d %s", r.status, r.body)
		}
		if r := ats.send(t, "POST", "/sourcing/enrich?companyId="+foreign.company, body); r.status != 403 || r.refusal(t).Error.Code != "RESOURCE_ACCESS_DENIED" {
			t.Errorf("foreign: %d %s", r.status, r.body)
		}
		r := ats.send(t, "POST", "/sourcing/enrich?companyId="+two.company, body)
		var out struct{ RequestID string }
		if r.decode(t, &out); r.status != 202 {
			t.Fatalf("%d %s", r.status, r.body)
		}
		two.follow(t, out.RequestID, nil).all(t)
		two.expectBalance(t, 4, 0)
		if r := ats.send(t, "GET", "/sourcing/enrich/"+out.RequestID+"/results?companyId="+one.company, nil); r.status != 404 {
			t.Errorf("the other company's run: %d %s", r.status, r.body)
		}
		if r := two.send(t, "GET", "/sourcing/enrich/"+out.RequestID+"/results?companyId="+foreign.company, nil); r.status != 200 {
			t.Errorf("a standard key minds companyId: %d %s", r.status, r.body)
		}
	})
	t.Run("over GraphQL it names it in a header, and on a socket in connection_init", func(t *testing.T) {
		const who = "{ viewer { company { id } } }"
		var out struct {
			Data struct {
				Viewer struct{ Company struct{ ID string } }
			}
		}
		if r := ats.graphql(t, who, nil, "Enrichd-Company", two.company); r.status != 200 {
			t.Errorf("%d %s", r.status, r.body)
		} else if r.decode(t, &out); out.Data.Viewer.Company.ID != two.company {
			t.Errorf("%s", r.body)
		}
		for _, company := range []string{"", foreign.company, vendor.company} {
			r := ats.graphql(t, who, nil, "Enrichd-Company", company)
			var e envelope
			if r.decode(t, &e); r.status != 403 || len(e.Errors) != 1 || e.Errors[0].Extensions.Code != "FORBIDDEN" {
				t.Errorf("%q: %d %s", company, r.status, r.body)
			}
		}
		s := ats.dial(t)
		s.send(t, frame{Type: "connection_init", Payload: marshal(t, map[string]string{"Authorization": "Bearer " + ats.key, "Enrichd-Company": one.company})})
		if f, err := s.read(); err != nil || f.Type != "connection_ack" {
			t.Fatal(f, err)
		}
		s.subscribe(t, "1", who, nil)
		f, err := s.read()
		if err != nil {
			t.Fatal(err)
		}
		var next struct {
			Data struct {
				Viewer struct{ Company struct{ ID string } }
			}
		}
		if err := json.Unmarshal(f.Payload, &next); err != nil || next.Data.Viewer.Company.ID != one.company {
			t.Errorf("%v %s", err, f.Payload)
		}
		stranger := ats.dial(t)
		stranger.send(t, frame{Type: "connection_init", Payload: marshal(t, map[string]string{"Authorization": "Bearer " + ats.key, "Enrichd-Company": foreign.company})})
		stranger.expectClose(t, 4403)
	})
}

// TestOneKeyOverBothSurfaces sends one start fifty times at once, over REST and
// GraphQL and two servers: it is one run with one hold, and everybody is told of that one.
func TestOneKeyOverBothSurfaces(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	nodes := []*node{w.serve(t, "ENRICHD_SOURCES=site"), w.serve(t, "ENRICHD_SOURCES=site")}
	me := w.tenant(t, nodes[0], 10)
	ids := w.importAll(t, me.company).pick(t, "ada-lindqvist", "freja-dahl")
	const calls = 50
	type answer struct {
		run      string
		replayed bool
	}
	answers := make(chan answer, calls)
	var gate, wg sync.WaitGroup
	gate.Add(1)
	for i := range calls {
		c := caller{nodes[i%2].url, me.key}
		overREST := i/2%2 == 0
		wg.Go(func() {
			gate.Wait()
			// One who finds the first still in flight for long is told to come again.
			for {
				if overREST {
					r := c.start(t, ids, "", "Idempotency-Key", "the-one")
					if r.status == http.StatusConflict {
						continue
					}
					var out struct{ RequestID string }
					if r.decode(t, &out); r.status != http.StatusAccepted {
						t.Errorf("%d %s", r.status, r.body)
					}
					answers <- answer{out.RequestID, r.header.Get("Idempotent-Replayed") == "true"}
					return
				}
				var e envelope
				r := c.graphql(t, startMutation, map[string]any{"in": map[string]any{"idempotencyKey": "the-one", "profileIds": ids}})
				r.decode(t, &e)
				var out startAnswer
				if err := json.Unmarshal(e.Data, &out); err != nil || len(e.Errors) > 0 {
					t.Errorf("%v %s", err, r.body)
					answers <- answer{}
					return
				}
				a := out.StartEnrichment
				if len(a.UserErrors) == 1 && a.UserErrors[0].Code == "CONFLICT" {
					continue
				}
				if a.Run == nil {
					t.Errorf("%s", r.body)
					answers <- answer{}
					return
				}
				answers <- answer{a.Run.RequestID, a.Replayed}
				return
			}
		})
	}
	gate.Done()
	wg.Wait()
	close(answers)
	runs, first := map[string]int{}, 0
	for a := range answers {
		runs[a.run]++
		if !a.replayed {
			first++
		}
	}
	if len(runs) != 1 || first != 1 {
		t.Fatalf("%d runs, %d of %d callers were first: %v", len(runs), first, calls, runs)
	}
	for id := range runs {
		me.follow(t, id, nil).all(t)
	}
	if n := w.count(t, "SELECT count(*) FROM runs"); n != 1 {
		t.Errorf("%d runs are stored", n)
	}
	if n := w.count(t, "SELECT count(*) FROM billing_entries WHERE kind = 'RESERVE'"); n != 1 {
		t.Errorf("%d holds were taken", n)
	}
	me.expectBalance(t, 8, 0)
	// Other input under the same key is refused on both.
	other := ids[:1]
	if r := me.start(t, other, "", "Idempotency-Key", "the-one"); r.status != 422 || r.refusal(t).Error.Code != "IDEMPOTENCY_KEY_REUSED" {
		t.Errorf("%d %s", r.status, r.body)
	}
	var out startAnswer
	me.ask(t, startMutation, map[string]any{"in": map[string]any{"idempotencyKey": "the-one", "profileIds": other}}, &out)
	if e := out.StartEnrichment.UserErrors; len(e) != 1 || e[0].Type != "IdempotencyKeyReused" {
		t.Errorf("%+v", e)
	}
}

// TestFailuresByAddress tries keys that do not hold, from one address.
func TestFailuresByAddress(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.serve(t, "ENRICHD_AUTH_FAILURES=20", "ENRICHD_TRUSTED_PROXIES=127.0.0.0/8")
	me := w.tenant(t, n, 1)
	from := func(addr string) []string { return []string{"X-Forwarded-For", "6.6.6.6, " + addr} }
	for i := range 20 {
		c := caller{n.url, fmt.Sprintf("sk_guess_%d", i)}
		if r := c.send(t, "GET", "/billing/usage", nil, from("203.0.113.5")...); r.status != 401 {
			t.Fatalf("guess %d: %d %s", i, r.status, r.body)
		}
	}
	guess := caller{n.url, "sk_guess_more"}
	r := guess.send(t, "GET", "/billing/usage", nil, from("203.0.113.5")...)
	if r.status != 429 || r.header.Get("Retry-After") == "" || r.header.Get("X-RateLimit-Limit-Minute") != "" {
		t.Errorf("%d %v %s", r.status, r.header, r.body)
	}
	if r := guess.graphql(t, "{ viewer { company { id } } }", nil, from("203.0.113.5")...); r.status != 429 {
		t.Errorf("GraphQL: %d %s", r.status, r.body)
	}
	if r := guess.send(t, "GET", "/billing/usage", nil, from("203.0.113.6")...); r.status != 401 {
		t.Errorf("another address: %d %s", r.status, r.body)
	}
	if r := me.send(t, "GET", "/billing/usage", nil, from("203.0.113.5")...); r.status != 200 {
		t.Errorf("a key that holds, from that address: %d %s", r.status, r.body)
	}
	bound, key := newKey(t, w.env, n, me.company, "--allow-ip", "203.0.113.0/24")
	if r := key.send(t, "GET", "/billing/usage", nil, from("203.0.113.77")...); r.status != 200 {
		t.Errorf("%s from its network: %d %s", bound, r.status, r.body)
	}
	if r := key.send(t, "GET", "/billing/usage", nil, from("198.51.100.1")...); r.status != 403 {
		t.Errorf("from elsewhere: %d %s", r.status, r.body)
	}
}

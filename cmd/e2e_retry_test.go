package cmd_test

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
)

// TestRetriesAtOnce sends the same start a hundred times at the same moment, to
// two servers in turn: one run, one hold, and everybody is told of that run.
func TestRetriesAtOnce(t *testing.T) {
	t.Parallel()
	const times, credits = 100, 40
	w := newWorld(t)
	env := append(w.env, "ENRICHD_RATE_LIMITS=false")
	a, b := serve(t, env, "--roles", "api"), serve(t, env, "--roles", "api")

	surfaces := map[string]func(t *testing.T, c caller, profiles []string) (run string, replayed bool){
		"over REST": func(t *testing.T, c caller, profiles []string) (string, bool) {
			r := c.start(t, profiles, "", "Idempotency-Key", "once")
			if r.status != http.StatusAccepted {
				t.Errorf("%d %s", r.status, r.body)
				return "", false
			}
			var out struct{ RequestID string }
			r.decode(t, &out)
			return out.RequestID, r.header.Get("Idempotent-Replayed") == "true"
		},
		"over GraphQL": func(t *testing.T, c caller, profiles []string) (string, bool) {
			var out startAnswer
			c.ask(t, startMutation, map[string]any{"in": map[string]any{"idempotencyKey": "once", "profileIds": profiles}}, &out)
			if s := out.StartEnrichment; s.Run != nil && len(s.UserErrors) == 0 {
				return s.Run.RequestID, s.Replayed
			}
			t.Errorf("%+v", out)
			return "", false
		},
	}
	for name, start := range surfaces {
		t.Run(name, func(t *testing.T) {
			me := w.tenant(t, a, credits)
			people := w.importAll(t, me.company)
			profiles := people.pick(t, inFlight...)
			var mu sync.Mutex
			told, first := map[string]int{}, 0
			gate := make(chan struct{})
			var group sync.WaitGroup
			for i := range times {
				c := caller{[]string{a.url, b.url}[i%2], me.key}
				group.Go(func() {
					<-gate
					run, replayed := start(t, c, profiles)
					mu.Lock()
					defer mu.Unlock()
					if told[run]++; !replayed {
						first++
					}
				})
			}
			close(gate)
			group.Wait()
			if len(told) != 1 {
				t.Errorf("%d runs are told of: %v", len(told), told)
			}
			if first != 1 && name == "over GraphQL" {
				t.Errorf("%d were told that theirs began it", first)
			}
			for what, query := range map[string]string{
				"runs": "SELECT count(*) FROM runs WHERE company_id = ?", "jobs": "SELECT count(*) / 10 FROM river_job WHERE args ->> 'run' IN (SELECT id FROM runs WHERE company_id = ?)",
				"holds": "SELECT count(*) FROM billing_entries WHERE kind = 'RESERVE' AND run_id IN (SELECT id FROM runs WHERE company_id = ?)",
			} {
				if n := w.count(t, query, me.company); n != 1 {
					t.Errorf("%d %s", n, what)
				}
			}
			me.expectBalance(t, credits-len(profiles), len(profiles))
		})
	}
	if n := w.count(t, "SELECT count(*) FROM run_profiles"); n != 2*len(inFlight) {
		t.Error(fmt.Sprint(n) + " profiles are worked on")
	}
}

package cmd_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/enrichd/enrichd/internal/pgtest"
	"github.com/enrichd/enrichd/internal/sandbox"
)

// TestTwoServers has two servers come up at once on a database without a
// schema. A run is then started on one, watched on the other, and worked by both.
func TestTwoServers(t *testing.T) {
	t.Parallel()
	w := worldOn(t, pgtest.Empty(t))
	env := append(w.env, "ENRICHD_ENRICH_WORKERS=3")
	a := &node{process: spawn(t, env, "serve")}
	b := &node{process: spawn(t, env, "serve")}
	a.ready(t)
	b.ready(t)
	me := w.tenant(t, a, 10)
	there := caller{b.url, me.key}
	people := w.importAll(t, me.company)

	// Whoever takes the three that hang has its hands full, and the other must do the rest.
	hanging := []string{"grace-okafor", "tomasz-zielinski", "oskar-wiklund"}
	behave(w.web, sandbox.Hanging, hanging...)
	id := me.started(t, people.pick(t, append(hanging, "ada-lindqvist", "mateo-ibarra", "noor-haddad", "jonas-keller",
		"henrik-solberg", "yuki-tanaka", "freja-dahl")...), "")
	elsewhere := there.follow(t, id, new(int))
	here := me.follow(t, id, new(int))
	events := elsewhere.all(t)
	expectWhole(t, events, 10)
	if !reflect.DeepEqual(events, here.all(t)) {
		t.Error("the two servers tell different stories")
	}
	r := there.results(t, id)
	if r.Credits.Held != 0 || r.Credits.Captured != r.Progress["enriched"]+r.Progress["partial"] {
		t.Errorf("credits %+v for %v", r.Credits, r.Progress)
	}
	var workers []string
	if err := w.db.Bun.NewRaw("SELECT DISTINCT attempted_by[array_upper(attempted_by, 1)] FROM river_job WHERE kind = 'enrich_profile'").Scan(t.Context(), &workers); err != nil {
		t.Fatal(err)
	}
	for _, n := range []*node{a, b} {
		if !strings.Contains(strings.Join(workers, " "), fmt.Sprintf("-%d-", n.cmd.Process.Pid)) {
			t.Errorf("process %d did not work; %v did", n.cmd.Process.Pid, workers)
		}
	}

	t.Run("a revoked key loses its sockets on both", func(t *testing.T) {
		sockets := []socket{me.socket(t), there.socket(t)}
		if s := w.cli(t, "keys", "revoke", me.keyID, "--json"); s.status != 0 {
			t.Fatalf("%+v", s)
		}
		for _, s := range sockets {
			s.expectClose(t, 4403)
		}
		for _, c := range []caller{me.caller, there} {
			if r := c.start(t, []string{"x"}, ""); r.status != 401 || r.refusal(t).Error.Code != "INVALID_API_KEY" {
				t.Errorf("%d %s", r.status, r.body)
			}
		}
	})
	a.stop(t)
	b.stop(t)
}

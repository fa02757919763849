package cmd_test

import (
	"reflect"
	"testing"

	"github.com/enrichd/enrichd/internal/sandbox"
)

// inFlight are ten candidates, the last five of whom hold a run open for as long as their sites hang.
var (
	quick    = []string{"ada-lindqvist", "mateo-ibarra", "grace-okafor", "tomasz-zielinski", "freja-dahl"}
	held     = []string{"noor-haddad", "jonas-keller", "henrik-solberg", "yuki-tanaka", "leila-moradi"}
	inFlight = append(append([]string{}, quick...), held...)
)

// TestKilledServer kills the server twice while a run of ten is in flight: once
// when half of it has settled, and once more when the rest has begun again.
func TestKilledServer(t *testing.T) {
	t.Parallel()
	hook := newReceiver(t)
	w := newWorld(t, hook)
	behave(w.web, sandbox.Normal, quick...)
	behave(w.web, sandbox.Hanging, held...)
	n := w.serve(t, "ENRICHD_SOURCES=site")
	me := w.tenant(t, n, 12)
	people := w.importAll(t, me.company)
	webhook, secret := me.webhook(t, hook.url, "ENRICH_COMPLETED")
	id := me.started(t, people.pick(t, inFlight...), webhook)

	client := []string{"ENRICHD_URL=" + n.url, "ENRICHD_API_KEY=" + me.key}
	watcher := spawn(t, client, "watch", id, "--after", "0", "--json")
	live := me.follow(t, id, new(int))
	half := func(events []event) bool { return finals(events) == len(quick) }
	live.until(t, "half of the run", half)
	n.kill(t)
	seen, err := live.end(t)
	if err == nil {
		t.Fatal("the stream completed though the server was killed")
	}
	if open := w.count(t, "SELECT count(*) FROM run_profiles WHERE run_id = ? AND outcome = 'ACTIVE'", id); open != len(held) {
		t.Fatalf("%d profiles were in flight", open)
	}

	// The second server finds the sites as silent as before, and dies as soon as it has asked them.
	asked := visits(w.web, held)
	n = w.serve(t, "ENRICHD_SOURCES=site", n.addr())
	eventually(t, patience, "the open profiles begin again", func() bool { return visits(w.web, held) >= asked+len(held) })
	n.kill(t)

	behave(w.web, sandbox.Normal, held...)
	w.serve(t, "ENRICHD_SOURCES=site", n.addr())
	last := seen[len(seen)-1].Sequence
	rest := me.follow(t, id, &last).all(t)
	expectWhole(t, append(append([]event{}, seen...), rest...), len(inFlight))

	polled, _ := me.poll(t, id)
	r := me.results(t, id)
	r.expectOutcomes(t, "ENRICHED", "ENRICHED", "ENRICHED", "ENRICHED", "ENRICHED", "ENRICHED", "ENRICHED", "ENRICHED", "ENRICHED", "ENRICHED")
	if want := (credits{10, 10, 0, 0}); r.Credits != want {
		t.Errorf("credits %+v", r.Credits)
	}
	if captures := w.count(t, "SELECT count(DISTINCT profile_id) FROM billing_entries WHERE run_id = ? AND kind = 'CAPTURE'", id); captures != 10 {
		t.Errorf("%d profiles were captured", captures)
	}
	me.expectBalance(t, 2, 0)

	t.Run("a watcher on the command line comes back by itself", func(t *testing.T) {
		if status := watcher.wait(t, patience); status != 0 {
			t.Fatalf("status %d: %s", status, watcher.log.String())
		}
		stored := me.stored(t, id)
		watched := lines[event](t, said{stdout: watcher.out.String()})
		for i := range min(len(watched), len(stored)) {
			if !reflect.DeepEqual(watched[i], stored[i]) {
				t.Fatalf("event %d is %+v, and it saw %+v", i+1, stored[i], watched[i])
			}
		}
		if len(watched) != len(stored) {
			t.Errorf("it saw %d events of %d", len(watched), len(stored))
		}
	})
	t.Run("the end is announced as polling answers it", func(t *testing.T) {
		hook.one(t).expect(t, secret, "enrich.completed", polled.body)
	})
}

// visits counts the requests to the sites of the named.
func visits(web *sandbox.Sandbox, names []string) (n int) {
	for _, r := range web.Requests() {
		for _, name := range names {
			if r.Host == name+".test" {
				n++
			}
		}
	}
	return n
}

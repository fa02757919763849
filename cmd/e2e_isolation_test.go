package cmd_test

import (
	"testing"

	"github.com/enrichd/enrichd/internal/sandbox"
)

// TestHangingProfile has one profile among ten whose only source never answers.
func TestHangingProfile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	behave(w.web, sandbox.Hanging, "tomasz-zielinski")
	n := w.serve(t, "ENRICHD_SOURCES=site")
	me := w.tenant(t, n, 10)
	people := w.importAll(t, me.company)
	id := me.started(t, people.pick(t, "ada-lindqvist", "mateo-ibarra", "noor-haddad", "jonas-keller", "tomasz-zielinski",
		"grace-okafor", "henrik-solberg", "yuki-tanaka", "leila-moradi", "freja-dahl"), "")
	live := me.follow(t, id, new(int))
	polled, _ := me.poll(t, id)
	expectWhole(t, live.all(t), 10)
	r := me.results(t, id)
	r.expectOutcomes(t, "ENRICHED", "ENRICHED", "ENRICHED", "ENRICHED", "TIMED_OUT", "ENRICHED", "ENRICHED", "ENRICHED", "ENRICHED", "ENRICHED")
	hanging := r.Profiles.Nodes[4]
	if hanging.Credits != 0 || hanging.Failure == nil || hanging.Candidate != nil {
		t.Errorf("the hanging profile is %+v", hanging)
	}
	for i, p := range r.Profiles.Nodes {
		if i != 4 && (p.Credits != 1 || !p.FinishedAt.Before(hanging.FinishedAt)) {
			t.Errorf("profile %d cost %d and ended %s, the hanging one %s", i, p.Credits, p.FinishedAt, hanging.FinishedAt)
		}
	}
	if want := (credits{10, 9, 1, 0}); r.Credits != want {
		t.Errorf("credits %+v", r.Credits)
	}
	me.expectBalance(t, 1, 0)
	expectREST(t, polled, r)
}

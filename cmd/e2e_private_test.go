package cmd_test

import (
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/enrichd/enrichd/internal/sandbox"
)

// TestPrivatePostgres lives without DATABASE_URL: commands start the private
// PostgreSQL for as long as they run, attach to it beside a server, and the
// server finds its data again after it was killed.
func TestPrivatePostgres(t *testing.T) {
	t.Parallel()
	web := newWeb(t)
	behave(web, sandbox.Normal, quick...)
	behave(web, sandbox.Hanging, held...)
	env := append(settings(web), "ENRICHD_STATE_DIR="+t.TempDir(), "ENRICHD_SOURCES=site")

	// Two at once, where there is nothing yet.
	both := []*process{
		spawn(t, env, "company", "create", "--name", "One", "--credits", "12", "--json"),
		spawn(t, env, "company", "create", "--name", "Two", "--json"),
	}
	var companies [2]struct{ ID string }
	for i, p := range both {
		if status := p.wait(t, patience); status != 0 {
			t.Fatalf("%v: status %d: %s", p.cmd.Args[1:], status, p.log.String())
		}
		said{stdout: p.out.String()}.decode(t, &companies[i])
	}

	n := serve(t, env)
	t.Run("commands attach to the server that runs", func(t *testing.T) {
		var all []struct{ ID string }
		must(t, env, &all, "company", "list")
		if len(all) != 2 || all[0].ID == all[1].ID {
			t.Errorf("%+v of %+v", all, companies)
		}
	})
	t.Run("a second server is refused with a word on what to do", func(t *testing.T) {
		s := command(t, env, "serve")
		if s.status != 1 || !strings.Contains(s.stderr, "ENRICHD_STATE_DIR") || !strings.Contains(s.stderr, "DATABASE_URL") {
			t.Errorf("%+v", s)
		}
	})
	_, me := newKey(t, env, n, companies[0].ID)
	people := importFile(t, env, companies[0].ID, "people.csv", web.Profiles())
	id := me.started(t, people.pick(t, inFlight...), "")
	live := me.follow(t, id, new(int))
	live.until(t, "half of the run", func(events []event) bool { return finals(events) == len(quick) })
	n.kill(t)
	seen, _ := live.end(t)

	behave(web, sandbox.Normal, held...)
	n = serve(t, append(slices.Clone(env), n.addr()))
	last := seen[len(seen)-1].Sequence
	expectWhole(t, append(slices.Clone(seen), me.follow(t, id, &last).all(t)...), len(inFlight))
	me.poll(t, id)
	if r := me.results(t, id); r.Credits != (credits{10, 10, 0, 0}) || r.Progress["enriched"] != 10 {
		t.Errorf("%+v, %v", r.Credits, r.Progress)
	}
	me.expectBalance(t, 2, 0)

	n.signal(t, syscall.SIGTERM)
	if status := n.wait(t, patience); status != 0 {
		t.Errorf("status %d", status)
	}
	t.Run("commands start it again when nobody else does", func(t *testing.T) {
		var all []struct {
			ID        string
			Available int
		}
		must(t, env, &all, "company", "list")
		if len(all) != 2 || all[0].Available+all[1].Available != 2 {
			t.Errorf("%+v", all)
		}
	})
}

// TestNoPostgres says what to install.
func TestNoPostgres(t *testing.T) {
	t.Parallel()
	env := []string{"ENRICHD_STATE_DIR=" + t.TempDir(), "ENRICHD_POSTGRES_BIN=" + t.TempDir()}
	if s := command(t, env, "company", "list"); s.status != 1 || !strings.Contains(s.stderr, "install") {
		t.Errorf("%+v", s)
	}
}

// TestDemo runs what a newcomer types.
func TestDemo(t *testing.T) {
	t.Parallel()
	s := command(t, nil, "demo", "--exit", "--json")
	var summary struct {
		OK       bool
		Problems []string
		Seconds  float64
		Runs     []struct{ Status string }
		Webhooks []struct{ Verified, OlderVerified bool }
	}
	s.decode(t, &summary)
	if s.status != 0 || !summary.OK || len(summary.Runs) != 2 || len(summary.Webhooks) != 2 {
		t.Errorf("status %d, %v", s.status, summary.Problems)
	}
	t.Logf("%.1f s", summary.Seconds)
}

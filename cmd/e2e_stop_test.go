package cmd_test

import (
	"errors"
	"os"
	"syscall"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/enrichd/enrichd/internal/sandbox"
)

var interrupt os.Signal = syscall.SIGINT

// TestStop asks a server to end while a run is in flight and sockets are open:
// it wants no more requests at once, the profile that runs finishes and who
// follows the run hears of it, and only then are the sockets closed.
func TestStop(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	behave(w.web, sandbox.Hanging, held...)
	n := w.serve(t, "ENRICHD_SOURCES=site")
	me := w.tenant(t, n, 10)
	people := w.importAll(t, me.company)
	id := me.started(t, people.pick(t, "ada-lindqvist", "freja-dahl", "noor-haddad"), "")
	idle := me.socket(t)
	live := me.follow(t, id, new(int))
	live.until(t, "all but the hanging profile", func(events []event) bool { return finals(events) == 2 })

	n.signal(t, syscall.SIGTERM)
	eventually(t, patience, "it is not ready", func() bool { return me.send(t, "GET", "/readyz", nil).status == 503 })
	if r := me.send(t, "GET", "/livez", nil); r.status != 200 {
		t.Errorf("it does not live: %d", r.status)
	}
	seen, err := live.end(t)
	if err != nil {
		t.Errorf("the stream ended with %v instead of the run's end", err)
	}
	expectWhole(t, seen, 3)
	idle.expectClose(t, websocket.CloseGoingAway)
	if status := n.wait(t, patience); status != 0 {
		t.Errorf("status %d", status)
	}

	w.serve(t, "ENRICHD_SOURCES=site", n.addr())
	r := me.results(t, id)
	r.expectOutcomes(t, "ENRICHED", "ENRICHED", "TIMED_OUT")
	if hanging := r.Profiles.Nodes[2]; hanging.Attempt != 1 {
		t.Errorf("the profile that was running was begun %d times", hanging.Attempt)
	}
	me.expectBalance(t, 8, 0)
}

// TestStopUnderSubscriptions stops a server whose run goes on elsewhere: its
// sockets are told to come back, and whoever resumes misses nothing.
func TestStopUnderSubscriptions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	behave(w.web, sandbox.Hanging, held...)
	front := w.serve(t, "ENRICHD_SOURCES=site")
	me := w.tenant(t, front, 10)
	people := w.importAll(t, me.company)
	// The work is done by a process that goes on; the one that stops only serves.
	apiOnly := serve(t, append(w.env, "ENRICHD_SOURCES=site"), "--roles", "api")
	there := caller{url: apiOnly.url, key: me.key}
	id := me.started(t, people.pick(t, "ada-lindqvist", "noor-haddad"), "")
	live := there.follow(t, id, new(int))
	live.until(t, "all but the hanging profile", func(events []event) bool { return finals(events) == 1 })
	apiOnly.signal(t, syscall.SIGTERM)
	seen, err := live.end(t)
	if !websocket.IsCloseError(err, websocket.CloseGoingAway) {
		t.Errorf("the stream ended with %v instead of 1001", err)
	}
	if status := apiOnly.wait(t, patience); status != 0 {
		t.Errorf("status %d", status)
	}
	last := seen[len(seen)-1].Sequence
	expectWhole(t, append(seen, me.follow(t, id, &last).all(t)...), 2)
}

// TestStopIdle stops servers that have nothing to do.
func TestStopIdle(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, sig := range []os.Signal{syscall.SIGTERM, interrupt} {
		n := w.serve(t)
		n.signal(t, sig)
		if status := n.wait(t, patience); status != 0 {
			t.Errorf("%s: status %d: %s", sig, status, n.log.String())
		}
		if _, err := httpClient.Get(n.url + "/livez"); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: somebody still listens: %v", sig, err)
		}
	}
}

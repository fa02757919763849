package cmd_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/enrichd/enrichd/internal/sandbox"
)

// crowd are clients that follow runs, come back whenever they are cut off, and
// accept no event but the next one.
type crowd struct {
	t *testing.T
	// gate is where clients wait, signed in, until there is something to follow.
	gate    chan struct{}
	ready   atomic.Int64
	cancel  context.CancelFunc
	clients []*follower
	wg      sync.WaitGroup
}

// follower is one client of a crowd.
type follower struct {
	caller
	crowd *crowd
	// run is what it follows, known when the gate opens.
	run string
	// urls are where it connects, in turn; one is enough when it always comes up again.
	urls []string
	// last is the sequence that it saw last; ends counts its connections that ended, codes how.
	last, ends atomic.Int64
	over       atomic.Bool
	completed  bool // with err, to be read once over
	err        error
	mu         sync.Mutex
	codes      map[int]int
}

func newCrowd(t *testing.T) *crowd {
	c := &crowd{t: t, gate: make(chan struct{})}
	t.Cleanup(func() { // also when the test gives up half way
		if c.cancel != nil {
			c.cancel()
			c.open()
		}
		c.wg.Wait()
	})
	return c
}

func (c *crowd) add(f *follower) {
	f.crowd, f.codes = c, map[int]int{}
	c.clients = append(c.clients, f)
}

// open lets the clients subscribe; more than once does no harm.
func (c *crowd) open() {
	select {
	case <-c.gate:
	default:
		close(c.gate)
	}
}

// start sets them off, and returns when all of them are signed in.
func (c *crowd) start() {
	c.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	c.cancel = cancel
	for _, f := range c.clients {
		c.wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				done, err := f.connect(ctx, f.urls[i%len(f.urls)])
				if done || err != nil {
					f.completed, f.err = done, err
					f.over.Store(true)
					return
				}
				f.ends.Add(1)
				select {
				case <-time.After(20 * time.Millisecond): // what a client waits before it comes back
				case <-ctx.Done():
				}
			}
		})
	}
	eventually(c.t, patience, "everybody is connected", func() bool { return c.ready.Load() >= int64(len(c.clients)) })
}

// connect follows until the socket ends. done when the stream completed; an error is one that no client should see.
func (f *follower) connect(ctx context.Context, url string) (done bool, err error) {
	d := websocket.Dialer{Subprotocols: []string{"graphql-transport-ws"}, HandshakeTimeout: patience, ReadBufferSize: 1 << 10, WriteBufferSize: 1 << 10}
	conn, _, err := d.DialContext(ctx, "ws"+strings.TrimPrefix(url, "http")+"/graphql", nil)
	if err != nil {
		return false, nil // down, or draining
	}
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	defer conn.Close()
	if conn.WriteJSON(frame{Type: "connection_init", Payload: json.RawMessage(`{"Authorization":"Bearer ` + f.key + `"}`)}) != nil {
		return false, nil
	}
	for acked := false; ; {
		var m frame
		if err := conn.ReadJSON(&m); err != nil {
			var closed *websocket.CloseError
			if errors.As(err, &closed) {
				f.mu.Lock()
				f.codes[closed.Code]++
				f.mu.Unlock()
				if closed.Code >= 4400 && acked {
					return false, err
				}
			}
			return false, nil
		}
		switch m.Type {
		case "connection_ack":
			acked = true
			f.crowd.ready.Add(1)
			<-f.crowd.gate
			payload, _ := json.Marshal(map[string]any{"query": followQuery, "variables": map[string]any{"run": f.run, "after": f.last.Load()}})
			if conn.WriteJSON(frame{ID: "1", Type: "subscribe", Payload: payload}) != nil {
				return false, nil
			}
		case "complete":
			return true, nil
		case "next":
			var next struct {
				Data   struct{ EnrichmentProgress *event }
				Errors []graphError
			}
			if err := json.Unmarshal(m.Payload, &next); err != nil || len(next.Errors) > 0 || next.Data.EnrichmentProgress == nil {
				return false, fmt.Errorf("%v in %s", err, m.Payload)
			}
			if got, due := int64(next.Data.EnrichmentProgress.Sequence), f.last.Load()+1; got != due {
				return false, fmt.Errorf("event %d came where %d was due", got, due)
			}
			f.last.Add(1)
		case "error":
			if !strings.Contains(string(m.Payload), "UNAVAILABLE") {
				return false, fmt.Errorf("error %s", m.Payload)
			}
			return false, nil
		}
	}
}

// until waits until all of them are where ok says.
func (c *crowd) until(what string, ok func(f *follower) bool) {
	c.t.Helper()
	eventually(c.t, patience, what, func() bool {
		for _, f := range c.clients {
			if !ok(f) {
				return false
			}
		}
		return true
	})
}

// finish waits for the end of all, which must be the whole sequence of each one's run.
func (c *crowd) finish(lengths map[string]int) {
	c.t.Helper()
	done := make(chan struct{})
	go func() { c.wg.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(patience):
		c.cancel()
		<-done
	}
	wrong := 0
	for i, f := range c.clients {
		if f.err != nil || !f.completed || int(f.last.Load()) != lengths[f.run] {
			if wrong++; wrong <= 5 {
				c.t.Errorf("client %d: %d of %d events, completed %t, %v", i, f.last.Load(), lengths[f.run], f.completed, f.err)
			}
		}
	}
	if wrong > 0 {
		c.t.Errorf("%d of %d clients did not get the whole", wrong, len(c.clients))
	}
}

// TestKilledUnderSubscriptions kills the server, twice, under a thousand live
// subscriptions to runs in flight. Every client must end with every event, once.
func TestKilledUnderSubscriptions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	behave(w.web, sandbox.Normal, quick...)
	behave(w.web, sandbox.Hanging, held...)
	n := w.serve(t, "ENRICHD_SOURCES=site", "ENRICHD_RATE_LIMITS=false")
	companies := []*tenant{w.tenant(t, n, 100), w.tenant(t, n, 100)} // one may have a thousand sockets, and the test wants a few itself
	all := newCrowd(t)
	for i := range 1000 {
		all.add(&follower{caller: companies[i%2].caller, urls: []string{n.url}})
	}
	all.start()
	runs := map[*tenant][]string{}
	for _, me := range companies {
		people := w.importAll(t, me.company)
		for range 3 {
			runs[me] = append(runs[me], me.started(t, people.pick(t, inFlight...), ""))
		}
	}
	for i, f := range all.clients {
		f.run = runs[companies[i%2]][i/2%3]
	}
	all.open()
	all.until("everybody hears", func(f *follower) bool { return f.last.Load() > 0 })
	n.kill(t)
	// On a machine that is too busy a run may have met its ten seconds before.
	all.until("everybody is cut off", func(f *follower) bool { return f.ends.Load() > 0 || f.over.Load() })
	cut := 0
	for _, f := range all.clients {
		cut += int(min(1, f.ends.Load()))
	}
	t.Logf("%d live subscriptions were cut off", cut)

	asked := visits(w.web, held)
	n = w.serve(t, "ENRICHD_SOURCES=site", "ENRICHD_RATE_LIMITS=false", n.addr())
	eventually(t, patience, "the open profiles begin again", func() bool { return visits(w.web, held) >= asked+len(held) })
	n.kill(t)

	behave(w.web, sandbox.Normal, held...)
	w.serve(t, "ENRICHD_SOURCES=site", "ENRICHD_RATE_LIMITS=false", n.addr())
	lengths := map[string]int{}
	for _, me := range companies {
		captured := 0
		for _, id := range runs[me] {
			me.poll(t, id)
			r := me.results(t, id)
			r.expectPaid(t)
			lengths[id] = r.LastSequence
			captured += r.Credits.Captured
		}
		me.expectBalance(t, 100-captured, 0)
	}
	all.finish(lengths)
}

// expectPaid looks that what succeeded was paid, once each, and nothing is held any more.
func (r *run) expectPaid(t *testing.T) {
	t.Helper()
	if r.Credits.Held != 0 || r.Credits.Captured != r.Progress["enriched"]+r.Progress["partial"] {
		t.Errorf("credits %+v for %v", r.Credits, r.Progress)
	}
}

// TestRollingRestart replaces two servers one after the other while runs are in
// flight, clients follow them and others ask: nothing that a client sends
// fails, nobody misses or hears twice, and every run is paid and announced once.
func TestRollingRestart(t *testing.T) {
	t.Parallel()
	hook := newReceiver(t)
	w := newWorld(t, hook)
	settings := []string{"ENRICHD_SOURCES=site", "ENRICHD_RATE_LIMITS=false", "ENRICHD_DRAIN_DELAY=300ms", "ENRICHD_DRAIN_WINDOW=500ms"}
	nodes := []*node{w.serve(t, settings...), w.serve(t, settings...)}
	me := w.tenant(t, nodes[0], 100)
	people := w.importAll(t, me.company)
	webhook, secret := me.webhook(t, hook.url, "ENRICH_COMPLETED")
	behave(w.web, sandbox.Hanging, held[:2]...) // so that the run is open while its servers change
	urls := []string{nodes[0].url, nodes[1].url}
	all := newCrowd(t)
	for i := range 200 {
		all.add(&follower{caller: me.caller, urls: []string{urls[i%2], urls[(i+1)%2]}})
	}
	all.start()
	run := me.started(t, people.pick(t, inFlight...), webhook)
	for _, f := range all.clients {
		f.run = run
	}
	all.open()
	all.until("everybody hears", func(f *follower) bool { return f.last.Load() > 5 })
	asking := newAsking(me.caller, urls)

	for i, old := range nodes {
		before := asking.asked.Load()
		eventually(t, patience, "requests go on", func() bool { return asking.asked.Load() > before+20 })
		old.signal(t, syscall.SIGTERM)
		if status := old.wait(t, patience); status != 0 {
			t.Errorf("server %d ended with status %d", i, status)
		}
		nodes[i] = w.serve(t, append(settings, old.addr())...)
	}
	final, _ := me.poll(t, run)
	r := me.results(t, run)
	r.expectPaid(t)
	all.finish(map[string]int{run: r.LastSequence})
	if asked, failed := asking.stop(); len(failed) > 0 || asked < 50 {
		t.Errorf("%d requests, of which %d failed: %v", asked, len(failed), failed[:min(len(failed), 3)])
	}
	for i, f := range all.clients {
		for code := range f.codes {
			if code != websocket.CloseGoingAway {
				t.Errorf("client %d was closed with %d", i, code)
			}
		}
	}
	hook.one(t).expect(t, secret, "enrich.completed", final.body)
	me.expectBalance(t, 100-r.Credits.Captured, 0)
}

// asking is a load balancer with a client behind it: it asks whichever server says that it is ready.
type asking struct {
	asked  atomic.Int64
	cancel context.CancelFunc
	done   chan struct{}
	failed []string
}

func newAsking(c caller, urls []string) *asking {
	ctx, cancel := context.WithCancel(context.Background())
	a := &asking{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(a.done)
		for i := 0; ctx.Err() == nil; i++ {
			url := urls[i%len(urls)]
			if res, err := httpClient.Get(url + "/readyz"); err != nil {
				continue
			} else if res.Body.Close(); res.StatusCode != http.StatusOK {
				continue
			}
			if err := askOnce(ctx, c, url); err != nil && ctx.Err() == nil {
				a.failed = append(a.failed, err.Error())
			}
			a.asked.Add(1)
		}
	}()
	return a
}

func askOnce(ctx context.Context, c caller, url string) error {
	req, err := http.NewRequestWithContext(ctx, "POST", url+"/graphql", strings.NewReader(`{"query":"{enrichmentRuns(first:5){nodes{requestId status}}}"}`))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+c.key)
	req.Header.Set("Content-Type", "application/json")
	res, err := httpClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	var answer struct {
		Data   json.RawMessage
		Errors []graphError
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil || res.StatusCode != 200 || len(answer.Errors) > 0 {
		return fmt.Errorf("%d %v %v", res.StatusCode, err, answer.Errors)
	}
	return nil
}

func (a *asking) stop() (asked int64, failed []string) {
	a.cancel()
	<-a.done
	return a.asked.Load(), a.failed
}

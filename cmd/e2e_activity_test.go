package cmd_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/enrichd/enrichd/internal/page"
)

// listener follows what happens in a company, on one server and then the other, and goes on behind what it heard last.
type listener struct {
	caller
	urls   []string
	cursor string
	heard  []string // the cursors, in order
	count  atomic.Int64
	ends   atomic.Int64
	err    error
}

// listen follows until ctx ends.
func (l *listener) listen(ctx context.Context) {
	for i := 0; ctx.Err() == nil && l.err == nil; i++ {
		if err := l.connect(ctx, l.urls[i%len(l.urls)]); err != nil && ctx.Err() == nil {
			l.err = err
		}
		l.ends.Add(1)
		select {
		case <-time.After(20 * time.Millisecond): // what a client waits before it comes back
		case <-ctx.Done():
		}
	}
}

// connect follows until the socket ends; an error is one that no client should see.
func (l *listener) connect(ctx context.Context, url string) error {
	d := websocket.Dialer{Subprotocols: []string{"graphql-transport-ws"}, HandshakeTimeout: patience}
	conn, _, err := d.DialContext(ctx, "ws"+strings.TrimPrefix(url, "http")+"/graphql", nil)
	if err != nil {
		return nil // down, or draining
	}
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	defer conn.Close()
	_ = conn.WriteJSON(frame{Type: "connection_init", Payload: json.RawMessage(`{"Authorization":"Bearer ` + l.key + `"}`)})
	for {
		var m frame
		if err := conn.ReadJSON(&m); err != nil {
			var closed *websocket.CloseError
			if errors.As(err, &closed) && closed.Code >= 4400 {
				return err
			}
			return nil
		}
		switch m.Type {
		case "connection_ack":
			payload, _ := json.Marshal(map[string]any{"query": `subscription($after: Cursor) { companyActivity(after: $after) { cursor kind } }`, "variables": map[string]any{"after": l.cursor}})
			_ = conn.WriteJSON(frame{ID: "1", Type: "subscribe", Payload: payload})
		case "next":
			var next struct {
				Data struct{ CompanyActivity *struct{ Cursor string } }
			}
			if err := json.Unmarshal(m.Payload, &next); err != nil || next.Data.CompanyActivity == nil {
				return fmt.Errorf("%v in %s", err, m.Payload)
			}
			l.cursor = next.Data.CompanyActivity.Cursor
			l.heard = append(l.heard, l.cursor)
			l.count.Add(1)
		default:
			if !strings.Contains(string(m.Payload), "UNAVAILABLE") {
				return fmt.Errorf("%s %s", m.Type, m.Payload)
			}
			return nil
		}
	}
}

// cursorOf is the place behind the nth thing that happened; the company's things are numbered without gaps.
func cursorOf(n int) string { return page.Encode("activity." + strconv.Itoa(n)) }

// TestActivityOverRollingRestart replaces two servers one after the other while
// things happen in a company and clients on both follow them: everybody hears of everything, once and in order.
func TestActivityOverRollingRestart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	settings := []string{"ENRICHD_RATE_LIMITS=false", "ENRICHD_DRAIN_DELAY=100ms", "ENRICHD_DRAIN_WINDOW=300ms"}
	nodes := []*node{w.serve(t, settings...), w.serve(t, settings...)}
	me := w.tenant(t, nodes[0], 0, "--mode", "test")
	happen := func() {
		t.Helper()
		me.started(t, []string{"profile_test_success"}, "")
	}
	happen()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var all []*listener
	var wg sync.WaitGroup
	for i := range 40 {
		l := &listener{caller: me.caller, urls: []string{nodes[i%2].url, nodes[(i+1)%2].url}, cursor: cursorOf(0)}
		all = append(all, l)
		wg.Go(func() { l.listen(ctx) })
	}
	everybody := func(what string, ok func(l *listener) bool) {
		t.Helper()
		eventually(t, patience, what, func() bool {
			for _, l := range all {
				if !ok(l) {
					return false
				}
			}
			return true
		})
	}
	everybody("everybody hears", func(l *listener) bool { return l.count.Load() > 0 })
	for i, old := range nodes {
		me.url = nodes[1-i].url
		happen()
		old.signal(t, syscall.SIGTERM)
		happen()
		if status := old.wait(t, patience); status != 0 {
			t.Errorf("server %d ended with status %d", i, status)
		}
		happen()
		nodes[i] = w.serve(t, append(settings, old.addr())...)
	}
	happen()
	eventually(t, patience, "all runs have ended", func() bool {
		return w.count(t, "SELECT count(*) FROM runs WHERE finished_at IS NULL") == 0
	})
	last := w.count(t, "SELECT count(*) FROM company_activity WHERE test")
	everybody("everybody has heard of everything", func(l *listener) bool { return l.count.Load() >= int64(last) })
	cancel()
	wg.Wait()
	moved := 0
	for i, l := range all {
		if l.err != nil || len(l.heard) != last {
			t.Errorf("client %d heard %d of %d, %v", i, len(l.heard), last, l.err)
			continue
		}
		for n, cursor := range l.heard {
			if cursor != cursorOf(n+1) {
				t.Errorf("client %d heard %s as number %d", i, cursor, n+1)
				break
			}
		}
		moved += int(min(1, l.ends.Load()-1))
	}
	if moved == 0 {
		t.Error("nobody had to move")
	}
	t.Logf("%d things happened; %d of %d clients had to come back", last, moved, len(all))
}

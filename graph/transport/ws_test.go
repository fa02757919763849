package transport_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/enrichd/enrichd/graph"
	"github.com/enrichd/enrichd/graph/internal/testschema"
)

func containsFold(s, part string) bool {
	return strings.Contains(strings.ToLower(s), strings.ToLower(part))
}

func sequence(t *testing.T, payload json.RawMessage) int {
	t.Helper()
	var p struct {
		Data map[string]struct{ Sequence int }
	}
	if err := json.Unmarshal(payload, &p); err != nil {
		t.Fatal(err)
	}
	for _, v := range p.Data {
		return v.Sequence
	}
	t.Fatalf("no data in %s", payload)
	return 0
}

func TestSubscriptions(t *testing.T) {
	t.Parallel()
	_, url := serve(t)

	t.Run("stream in order, then complete", func(t *testing.T) {
		t.Parallel()
		c := ready(t, url)
		c.subscribe("s", "subscription{count(to:500, afterSequence:3){sequence}}")
		for n := 4; n <= 500; n++ {
			if got := sequence(t, c.expect("next", "s").Payload); got != n {
				t.Fatalf("event %d, not %d", got, n)
			}
		}
		c.expect("complete", "s")
		c.alive()
	})
	t.Run("run side by side on one socket, each under its id", func(t *testing.T) {
		t.Parallel()
		c := ready(t, url)
		const each = 50
		for i := range 20 {
			c.subscribe(fmt.Sprint("s", i), fmt.Sprintf("subscription{count(to:%d){sequence}}", each))
		}
		last, done := map[string]int{}, 0
		for done < 20 {
			switch m := c.hear(); m.Type {
			case "next":
				if n := sequence(t, m.Payload); n != last[m.ID]+1 {
					t.Fatalf("%s: %d after %d", m.ID, n, last[m.ID])
				}
				last[m.ID]++
			case "complete":
				if done++; last[m.ID] != each {
					t.Fatalf("%s completed at %d", m.ID, last[m.ID])
				}
			default:
				t.Fatalf("heard %+v", m)
			}
		}
	})
	t.Run("end with one error when they cannot start", func(t *testing.T) {
		t.Parallel()
		c := ready(t, url)
		for _, q := range []string{"broken", "panics"} {
			c.subscribe(q, "subscription{"+q+"{sequence}}")
			m := c.expect("error", q)
			if s := string(m.Payload); !strings.Contains(s, `"INTERNAL"`) || strings.Contains(s, "password") || !strings.Contains(s, `"requestId":"req_`) {
				t.Errorf("payload %s", s)
			}
			c.alive()
		}
	})
	t.Run("carry a field's error beside its data", func(t *testing.T) {
		t.Parallel()
		c := ready(t, url)
		c.subscribe("h", "subscription{half{sequence fails}}")
		if s := string(c.expect("next", "h").Payload); !strings.Contains(s, `"data":{"half":{"sequence":1,"fails":null}}`) || !strings.Contains(s, `"INTERNAL"`) || strings.Contains(s, "password") {
			t.Errorf("payload %s", s)
		}
		c.expect("complete", "h")
	})
	t.Run("fall silent in the middle of a torrent", func(t *testing.T) {
		t.Parallel()
		c := ready(t, url)
		c.subscribe("e", "subscription{endless(bytes:2000){sequence payload}}")
		for range 50 {
			c.expect("next", "e")
		}
		c.say(`{"type":"complete","id":"e"}`)
		c.say(`{"type":"ping"}`)
		for silent := false; !silent; { // what was on its way may still come, before the pong
			m := c.hear()
			silent = m.Type == "pong"
		}
		c.alive()
	})
	t.Run("are capped at 100 a socket", func(t *testing.T) {
		t.Parallel()
		c := ready(t, url)
		for i := range 101 {
			c.subscribe(fmt.Sprint(i), "subscription{silent{sequence}}")
		}
		if m := c.expect("error", "100"); !strings.Contains(string(m.Payload), "RATE_LIMITED") {
			t.Errorf("payload %s", m.Payload)
		}
		c.say(`{"type":"complete","id":"7"}`)
		c.subscribe("again", "{hello}")
		c.expect("next", "again")
	})
	t.Run("wait their turn to start, and no longer than their client wants", func(t *testing.T) {
		t.Parallel()
		c := ready(t, url)
		for i := range 8 {
			c.subscribe(fmt.Sprint(i), "subscription{stuck{sequence}}")
		}
		c.subscribe("q", "{hello}")
		c.alive() // reading goes on meanwhile
		c.say(`{"type":"complete","id":"3"}`)
		c.expect("next", "q")
		c.expect("complete", "q")
	})
}

func TestSocketFrames(t *testing.T) {
	t.Parallel()
	_, url := serve(t)
	t.Run("answers a WebSocket ping", func(t *testing.T) {
		t.Parallel()
		c := ready(t, url)
		got := make(chan string, 1)
		c.SetPongHandler(func(data string) error { got <- data; return nil })
		if err := c.WriteControl(websocket.PingMessage, []byte("you there"), time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		c.alive()
		if data := <-got; data != "you there" {
			t.Errorf("pong %q", data)
		}
	})
	t.Run("answers a close with a close", func(t *testing.T) {
		t.Parallel()
		c := ready(t, url)
		_ = c.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1000, "bye"), time.Now().Add(patience))
		c.closed(1000)
	})
	t.Run("closes 1009 above 64 KiB a message, fragments counted together", func(t *testing.T) {
		t.Parallel()
		c := ready(t, url)
		c.say(`{"type":"ping","payload":{"x":"` + strings.Repeat("x", 60<<10) + `"}}`)
		c.expect("pong", "")
		c.say(strings.Repeat("x", 65<<10))
		c.closed(1009)
		c = ready(t, url)
		w, _ := c.NextWriter(websocket.TextMessage)
		for range 100 {
			_, _ = w.Write([]byte(strings.Repeat("x", 1000)))
		}
		w.Close()
		c.closed(1009)
	})
	t.Run("closes 4400 on a binary message and 1007 on invalid UTF-8", func(t *testing.T) {
		t.Parallel()
		c := ready(t, url)
		_ = c.WriteMessage(websocket.BinaryMessage, []byte(`{"type":"ping"}`))
		c.closed(4400)
		c = ready(t, url)
		c.say("{\"type\":\"ping\",\"payload\":{\"x\":\"\xff\"}}")
		c.closed(1007)
	})
	t.Run("closes 1002 on a frame without a mask", func(t *testing.T) {
		t.Parallel()
		c := ready(t, url)
		_, _ = c.NetConn().Write([]byte{0x81, 0x02, '{', '}'})
		c.closed(1002)
	})
	t.Run("frames messages of every size class", func(t *testing.T) {
		t.Parallel()
		c := ready(t, url)
		for _, n := range []int{1, 50, 125, 126, 127, 1000, 65535, 65536, 200_000} {
			c.subscribe("b", fmt.Sprintf("subscription{endless(bytes:%d){payload}}", n))
			if got := len(c.expect("next", "b").Payload); got < n {
				t.Fatalf("%d bytes of %d", got, n)
			}
			c.say(`{"type":"complete","id":"b"}`)
			c.say(`{"type":"ping"}`)
			for c.hear().Type != "pong" {
			}
		}
	})
	t.Run("quotes ids that need it", func(t *testing.T) {
		t.Parallel()
		c := ready(t, url)
		for _, id := range []string{`"`, `\`, "ключ", "\n", strings.Repeat("x", 300)} {
			c.subscribe(id, "{hello}")
			c.expect("next", id)
			c.expect("complete", id)
		}
		long := strings.Repeat("ключ", 50)
		c.subscribe(long, "subscription{silent{sequence}}")
		c.subscribe(long, "{hello}")
		if reason := c.closed(4409); len(reason) > 123 {
			t.Errorf("reason of %d bytes", len(reason))
		}
	})
}

func TestLiveness(t *testing.T) {
	t.Parallel()
	t.Run("a peer that answers no ping is gone after two", func(t *testing.T) {
		t.Parallel()
		s, url := serve(t, func(o *graph.Options) { o.Sockets.PingInterval = 20 * time.Millisecond })
		c := ready(t, url)
		pings := 0
		c.SetPingHandler(func(string) error { pings++; return nil })
		_, err := c.next(patience)
		var closed *websocket.CloseError
		if err == nil || errors.As(err, &closed) && closed.Code != websocket.CloseAbnormalClosure || pings != 2 {
			t.Fatalf("%v after %d pings", err, pings)
		}
		eventually(t, "the socket is let go", func() bool { return s.Streams() == 0 })
	})
	t.Run("a peer that answers stays", func(t *testing.T) {
		t.Parallel()
		_, url := serve(t, func(o *graph.Options) { o.Sockets.PingInterval = 100 * time.Millisecond })
		c := ready(t, url)
		pings := 0
		c.SetPingHandler(func(data string) error {
			if pings++; pings == 5 {
				c.say(`{"type":"ping"}`)
			}
			return c.WriteControl(websocket.PongMessage, []byte(data), time.Now().Add(patience))
		})
		c.expect("pong", "")
	})
	t.Run("nobody waits for a peer that takes no byte", func(t *testing.T) {
		t.Parallel()
		_, url := serve(t, func(o *graph.Options) { o.Sockets.WriteTimeout = 2 * patience }) // nothing frees the others but that they are free
		slow, quick := ready(t, url), ready(t, url)
		slow.subscribe("s", "subscription{endless(bytes:50000){sequence payload}}")
		quick.subscribe("q", "subscription{count(to:5000){sequence payload}}")
		for n := 1; n <= 5000; n++ {
			if got := sequence(t, quick.expect("next", "q").Payload); got != n {
				t.Fatalf("%d, not %d", got, n)
			}
		}
	})
	t.Run("a peer that takes no byte in time is let go", func(t *testing.T) {
		t.Parallel()
		s, url := serve(t, func(o *graph.Options) { o.Sockets.WriteTimeout = 300 * time.Millisecond })
		slow, quick := ready(t, url), ready(t, url)
		slow.subscribe("s", "subscription{endless(bytes:50000){sequence payload}}")
		quick.subscribe("q", "subscription{endless(bytes:1000){sequence payload}}")
		for s.Streams() > 1 {
			quick.expect("next", "q")
		}
	})
	t.Run("a slow peer that wakes up reads whole frames and then 1013", func(t *testing.T) {
		t.Parallel()
		resolvers := &testschema.Resolvers{}
		_, url := serve(t, func(o *graph.Options) {
			o.Schema, o.Sockets.WriteTimeout = resolvers.Schema(), 200*time.Millisecond
		})
		c := ready(t, url)
		c.subscribe("s", "subscription{endless(bytes:50000){sequence payload}}")
		c.expect("next", "s")
		eventually(t, "the server gives up on it", func() bool { return resolvers.Producing.Load() == 0 })
		c.closed(1013)
	})
	t.Run("a slow peer gets every event in order", func(t *testing.T) {
		t.Parallel()
		_, url := serve(t)
		c, other := ready(t, url), ready(t, url)
		c.subscribe("s", "subscription{count(to:3000){sequence payload}}")
		other.subscribe("o", "subscription{count(to:3000){sequence payload}}")
		for range 3000 { // meanwhile it does not read
			other.expect("next", "o")
		}
		for n := 1; n <= 3000; n++ {
			if got := sequence(t, c.expect("next", "s").Payload); got != n {
				t.Fatalf("%d, not %d", got, n)
			}
		}
		c.expect("complete", "s")
	})
}

func TestRevocation(t *testing.T) {
	t.Parallel()
	t.Run("closes the sockets of the key and no others with 4403", func(t *testing.T) {
		t.Parallel()
		s, url := serve(t)
		revoked := []*client{ready(t, url, "key-2"), ready(t, url, "key-2")}
		kept := ready(t, url)
		revoked[0].subscribe("s", "subscription{silent{sequence}}")
		revoked[1].subscribe("e", "subscription{endless{sequence}}")
		if n := s.CloseKey("key-2"); n != 2 {
			t.Errorf("closed %d", n)
		}
		for _, c := range revoked {
			c.closed(4403)
		}
		kept.alive()
	})
	t.Run("comes by itself when the key expires", func(t *testing.T) {
		t.Parallel()
		_, url := serve(t)
		ready(t, url, "expiring").closed(4403)
	})
	t.Run("tells a client to come back when keys cannot be looked up", func(t *testing.T) {
		t.Parallel()
		_, url := serve(t)
		c := open(t, url)
		c.say(`{"type":"connection_init","payload":{"Authorization":"Bearer database-down"}}`)
		c.closed(1013)
	})
	t.Run("limits the sockets of one company", func(t *testing.T) {
		t.Parallel()
		s, url := serve(t, func(o *graph.Options) { o.Sockets.MaxPerCompany = 2 })
		a, _ := ready(t, url), ready(t, url)
		c := open(t, url)
		c.say(`{"type":"connection_init","payload":{"Authorization":"Bearer key-9"}}`)
		c.closed(4429)
		other := open(t, url)
		other.say(`{"type":"connection_init","payload":{"Authorization":"Bearer key-1","Enrichd-Company":"other"}}`)
		other.expect("connection_ack", "")
		a.Close()
		eventually(t, "a place is free", func() bool { return s.Streams() == 2 })
		ready(t, url)
	})
}

func TestShutdown(t *testing.T) {
	t.Parallel()
	t.Run("closes every socket with 1001 and leaves nothing behind", func(t *testing.T) {
		t.Parallel()
		s, url := serve(t, func(o *graph.Options) { o.DrainWindow = 50 * time.Millisecond })
		var all []*client
		for i := range 20 {
			c := ready(t, url)
			c.subscribe("s", [...]string{"subscription{silent{sequence}}", "subscription{stuck{sequence}}"}[i%2])
			all = append(all, c)
		}
		all = append(all, open(t, url)) // one that has not signed in
		done := make(chan error, 1)
		go func() { done <- s.Shutdown(context.Background()) }()
		for _, c := range all {
			c.closed(1001)
		}
		if err := <-done; err != nil || s.Streams() != 0 {
			t.Errorf("%v, %d left", err, s.Streams())
		}
		if r := do(t, "POST", url, query("{hello}")); r.status != 503 || r.header.Get("Retry-After") == "" {
			t.Errorf("status %d", r.status)
		}
		if _, res, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(url, "http"), nil); err == nil || res == nil || res.StatusCode != 503 {
			t.Errorf("upgraded: %v", err)
		}
	})
	t.Run("lets a query in flight have its answer", func(t *testing.T) {
		t.Parallel()
		s, url := serve(t, func(o *graph.Options) { o.OperationTimeout = 300 * time.Millisecond })
		c := ready(t, url)
		c.subscribe("q", "{slow}")
		c.alive()
		done := make(chan error, 1)
		go func() { done <- s.Shutdown(context.Background()) }()
		m := c.hear()
		if m.ID != "q" {
			t.Fatalf("heard %+v", m)
		}
		c.closed(1001)
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Run("cuts off what does not end in time", func(t *testing.T) {
		t.Parallel()
		s, url := serve(t, func(o *graph.Options) { o.Sockets.WriteTimeout = time.Minute })
		c := ready(t, url)
		c.subscribe("e", "subscription{endless(bytes:50000){payload}}")
		c.expect("next", "e")
		ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
		defer cancel()
		if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		eventually(t, "it is gone", func() bool { return s.Streams() == 0 })
	})
}

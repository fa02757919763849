package transport_test

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/enrichd/enrichd/graph"
)

// TestProbes are the fifteen things that a graphql-transport-ws server must do
// (PROTOCOL.md of npm graphql-ws), as raw frames.
func TestProbes(t *testing.T) {
	t.Parallel()
	_, url := serve(t)
	_, hasty := serve(t, func(o *graph.Options) { o.Sockets.InitTimeout = 30 * time.Millisecond })

	t.Run("1 closes 4408 when connection_init does not come", func(t *testing.T) {
		t.Parallel()
		open(t, hasty).closed(4408)
	})
	t.Run("2 closes 4401 on subscribe before the acknowledgement", func(t *testing.T) {
		t.Parallel()
		c := open(t, url)
		c.subscribe("1", "{hello}")
		c.closed(4401)
	})
	t.Run("3 closes 4400 on invalid JSON, quoting nothing", func(t *testing.T) {
		t.Parallel()
		for _, text := range []string{"{ s3cret", "", "null", "[]", `"s3cret"`, "{}", `{"type":1}`} {
			c := ready(t, url)
			c.say(text)
			if reason := c.closed(4400); len(reason) > 0 && containsFold(reason, "s3cret") {
				t.Errorf("quoted: %q", reason)
			}
		}
	})
	t.Run("4 closes 4400 on an unknown message type", func(t *testing.T) {
		t.Parallel()
		for _, text := range []string{`{"type":"start","id":"1"}`, `{"type":"next","id":"1","payload":{}}`, `{"type":"connection_ack"}`} {
			c := ready(t, url)
			c.say(text)
			c.closed(4400)
		}
	})
	t.Run("5 closes 4429 on a second connection_init", func(t *testing.T) {
		t.Parallel()
		c := ready(t, url)
		c.say(`{"type":"connection_init"}`)
		c.closed(4429)
	})
	t.Run("6 closes 4409 on an id in use", func(t *testing.T) {
		t.Parallel()
		c := ready(t, url)
		c.subscribe("1", "subscription{silent{sequence}}")
		c.subscribe("1", "{hello}")
		if reason := c.closed(4409); reason != "Subscriber for 1 already exists" {
			t.Errorf("reason %q", reason)
		}
	})
	t.Run("7 closes 4403 when signing in is refused, or the origin is strange", func(t *testing.T) {
		t.Parallel()
		for _, payload := range []string{"", `,"payload":{}`, `,"payload":{"Authorization":"Bearer nope"}`, `,"payload":{"Authorization":"Bearer nil"}`, `,"payload":{"Authorization":"Bearer strange-address"}`} {
			c := open(t, url)
			c.say(`{"type":"connection_init"` + payload + `}`)
			c.closed(4403)
		}
		dial(t, url, http.Header{"Origin": {"https://evil.example"}}, "graphql-transport-ws").closed(4403)
	})
	t.Run("8 upgrades without a subprotocol, then closes 4406", func(t *testing.T) {
		t.Parallel()
		dial(t, url, nil).closed(4406)
	})
	t.Run("9 upgrades with unknown subprotocols only, then closes 4406", func(t *testing.T) {
		t.Parallel()
		dial(t, url, nil, "graphql-ws", "chat").closed(4406)
	})
	t.Run("10 closes 4400 on subscribe without an id", func(t *testing.T) {
		t.Parallel()
		for _, text := range []string{
			`{"type":"subscribe","payload":{"query":"{hello}"}}`, `{"type":"subscribe","id":"","payload":{"query":"{hello}"}}`, `{"type":"subscribe","id":1,"payload":{"query":"{hello}"}}`,
			`{"type":"subscribe","id":"1"}`, `{"type":"subscribe","id":"1","payload":{}}`, `{"type":"subscribe","id":"1","payload":{"query":1}}`,
			`{"type":"subscribe","id":"1","payload":{"query":"{hello}","variables":1}}`, `{"type":"subscribe","id":"1","payload":[]}`, `{"type":"complete"}`,
		} {
			c := ready(t, url)
			c.say(text)
			c.closed(4400)
		}
	})
	t.Run("11 answers a refused document with one error and no complete, and frees the id", func(t *testing.T) {
		t.Parallel()
		c := ready(t, url)
		for _, q := range []string{"{nope}", "{", "subscription{count(to:1){nope}}", "{items(first:100){children(first:100){children(first:100){id}}}}"} {
			c.subscribe("1", q)
			var errs []struct{ Extensions map[string]any }
			if m := c.expect("error", "1"); json.Unmarshal(m.Payload, &errs) != nil || len(errs) != 1 || errs[0].Extensions["code"] == nil {
				t.Errorf("payload %s", m.Payload)
			}
			c.alive()
		}
	})
	t.Run("12 falls silent on an id that the client completes", func(t *testing.T) {
		t.Parallel()
		c := ready(t, url)
		c.subscribe("1", "subscription{silent{sequence}}")
		c.say(`{"type":"complete","id":"1"}`)
		c.say(`{"type":"complete","id":"unknown"}`)
		c.alive()
		c.subscribe("1", "{hello}") // the id is free at once
		c.expect("next", "1")
		c.expect("complete", "1")
		c.alive()
	})
	t.Run("13 answers a ping before connection_init", func(t *testing.T) {
		t.Parallel()
		c := open(t, url)
		c.say(`{"type":"ping"}`)
		if m := c.expect("pong", ""); m.Payload != nil {
			t.Errorf("payload %s", m.Payload)
		}
		c.say(`{"type":"pong"}`)
		c.alive()
	})
	t.Run("14 answers a ping with its payload", func(t *testing.T) {
		t.Parallel()
		c := ready(t, url)
		c.say(`{"type":"ping","payload":{"a":[1,"two"]}}`)
		if m := c.expect("pong", ""); string(m.Payload) != `{"a":[1,"two"]}` {
			t.Errorf("payload %s", m.Payload)
		}
		c.say(`{"type":"ping","payload":"text"}`)
		c.closed(4400)
	})
	t.Run("15 runs queries and mutations", func(t *testing.T) {
		t.Parallel()
		c := ready(t, url)
		for q, data := range map[string]string{"{hello}": `{"data":{"hello":"hello"}`, `mutation{touch(name:"x")}`: `{"data":{"touch":"x"}`} {
			c.subscribe("q", q)
			if m := c.expect("next", "q"); len(m.Payload) < len(data) || string(m.Payload[:len(data)]) != data {
				t.Errorf("payload %s", m.Payload)
			}
			c.expect("complete", "q")
		}
	})
}

package transport

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"testing"
	"unicode/utf8"

	"github.com/gorilla/websocket"
)

// FuzzMessage holds that no text makes the parser panic or accept what the protocol does not name.
func FuzzMessage(f *testing.F) {
	for _, s := range []string{
		`{"type":"connection_init","payload":{"Authorization":"Bearer x"}}`, `{"type":"subscribe","id":"1","payload":{"query":"{a}","variables":{"x":1e9},"extensions":null}}`,
		`{"type":"complete","id":"1"}`, `{"type":"ping","payload":{}}`, `{"type":"pong","payload":null}`, `{"id":"1"`, `[]`, `{"type":"subscribe","id":"","payload":{}}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseMessage(b)
		if err != nil {
			return
		}
		switch m.kind {
		case typeInit, typePing, typePong:
		case typeComplete:
			if m.id == "" {
				t.Error("complete without an id")
			}
		case typeSubscribe:
			if m.id == "" || m.params == nil || m.params.Query == "" && m.params.Extensions["persistedQuery"] == nil {
				t.Errorf("subscribe %+v", m)
			}
		default:
			t.Errorf("accepted %q", m.kind)
		}
		if m.payload != nil && m.payload[0] != '{' {
			t.Errorf("payload %s", m.payload)
		}
	})
}

// FuzzFrame holds that a client reads back, by its own rules, exactly the
// messages that we framed, however many share a write.
func FuzzFrame(f *testing.F) {
	f.Add("id", []byte(`{"data":{}}`), uint16(0))
	f.Add("\"\\\n", []byte(`[1]`), uint16(70))
	f.Fuzz(func(t *testing.T, id string, payload []byte, pad uint16) {
		if id == "" || !utf8.ValidString(id) || !json.Valid(payload) || len(payload) == 0 || !utf8.Valid(payload) {
			return
		}
		payload = append(bytes.Repeat([]byte(" "), int(pad)), payload...)
		wire := (&frame{opcode: websocket.PingMessage}).appendTo(nil)
		for range 2 {
			wire = (&frame{opcode: websocket.TextMessage, kind: typeNext, op: &operation{id: id}, payload: payload}).appendTo(wire)
		}
		wire = (&frame{opcode: websocket.CloseMessage, payload: closePayload(4409, id)}).appendTo(wire)

		for i, opcode := range []int{websocket.PingMessage, websocket.TextMessage, websocket.TextMessage, websocket.CloseMessage} {
			got, body, rest := unframe(t, wire)
			if wire = rest; got != opcode {
				t.Fatalf("frame %d has opcode %d", i, got)
			}
			if opcode == websocket.CloseMessage && (len(body) > maxControlPayload || binary.BigEndian.Uint16(body) != 4409 || !utf8.Valid(body[2:])) {
				t.Fatalf("close %q", body)
			}
			if opcode != websocket.TextMessage {
				continue
			}
			var m struct {
				ID, Type string
				Payload  json.RawMessage
			}
			if err := json.Unmarshal(body, &m); err != nil || m.ID != id || m.Type != typeNext || !bytes.Equal(bytes.TrimSpace(m.Payload), bytes.TrimSpace(payload)) {
				t.Fatalf("%s: %v", body, err)
			}
		}
		if len(wire) > 0 {
			t.Fatalf("%d bytes too many", len(wire))
		}
	})
}

// unframe takes one unmasked frame apart, as RFC 6455 §5.2 draws it.
func unframe(t *testing.T, b []byte) (opcode int, body, rest []byte) {
	t.Helper()
	if len(b) < 2 || b[0]&0xf0 != 0x80 || b[1]&0x80 != 0 {
		t.Fatalf("header % x", b[:min(2, len(b))])
	}
	opcode, n, b := int(b[0]&0xf), int(b[1]), b[2:]
	switch n {
	case 126:
		n, b = int(binary.BigEndian.Uint16(b)), b[2:]
	case 127:
		n, b = int(binary.BigEndian.Uint64(b)), b[8:]
	}
	return opcode, b[:n], b[n:]
}

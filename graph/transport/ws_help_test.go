package transport_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// patience is how long a test waits for something that should come.
const patience = 5 * time.Second

// client is a socket that a test drives frame by frame.
type client struct {
	*websocket.Conn
	t *testing.T
}

// said is one message of the server.
type said struct {
	ID, Type string
	Payload  json.RawMessage
}

// dial opens a socket without saying anything on it.
func dial(t *testing.T, url string, header http.Header, protocols ...string) *client {
	t.Helper()
	d := websocket.Dialer{Subprotocols: protocols, HandshakeTimeout: patience}
	conn, res, err := d.DialContext(t.Context(), "ws"+strings.TrimPrefix(url, "http"), header)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	t.Cleanup(func() { conn.Close() })
	return &client{conn, t}
}

// open dials with the right subprotocol.
func open(t *testing.T, url string) *client {
	t.Helper()
	return dial(t, url, nil, "graphql-transport-ws")
}

// ready signs in with the good key, or another.
func ready(t *testing.T, url string, key ...string) *client {
	t.Helper()
	c := open(t, url)
	token := goodKey
	if len(key) > 0 {
		token = key[0]
	}
	c.say(`{"type":"connection_init","payload":{"Authorization":"Bearer ` + token + `"}}`)
	if m := c.hear(); m.Type != "connection_ack" {
		t.Fatalf("heard %+v, not the acknowledgement", m)
	}
	return c
}

func (c *client) say(text string) {
	c.t.Helper()
	if err := c.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) subscribe(id, query string) {
	c.t.Helper()
	b, _ := json.Marshal(map[string]any{"id": id, "type": "subscribe", "payload": map[string]any{"query": query}})
	c.say(string(b))
}

// hear returns the server's next message.
func (c *client) hear() said {
	c.t.Helper()
	m, err := c.next(patience)
	if err != nil {
		c.t.Fatal(err)
	}
	return m
}

func (c *client) next(wait time.Duration) (m said, err error) {
	_ = c.SetReadDeadline(time.Now().Add(wait))
	_, b, err := c.ReadMessage()
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	return m, err
}

// expect hears one message and compares type and id.
func (c *client) expect(kind, id string) said {
	c.t.Helper()
	m := c.hear()
	if m.Type != kind || m.ID != id {
		c.t.Fatalf("heard %s %q %s, not %s %q", m.Type, m.ID, m.Payload, kind, id)
	}
	return m
}

// closed reads on until the server's close frame and compares its code.
func (c *client) closed(code int) string {
	c.t.Helper()
	for {
		_, err := c.next(patience)
		var e *websocket.CloseError
		switch {
		case err == nil:
		case errors.As(err, &e):
			if e.Code != code {
				c.t.Fatalf("closed with %d %q, not %d", e.Code, e.Text, code)
			}
			return e.Text
		default:
			c.t.Fatalf("ended by %v, not by close code %d", err, code)
		}
	}
}

// alive shows that the server has handled all that was said before, and heard
// nothing else meanwhile: its next message is the answer to a ping.
func (c *client) alive() {
	c.t.Helper()
	c.say(`{"type":"ping","payload":{"n":1}}`)
	c.expect("pong", "")
}

// eventually waits for something that others bring about.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

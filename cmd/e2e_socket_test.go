package cmd_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// frame is one message of graphql-transport-ws.
type frame struct {
	ID      string          `json:"id,omitempty"`
	Type    string          `json:"type"`
	Payload json.RawMessage `json:"payload,omitempty"`
}

// socket is one connection of a customer.
type socket struct{ *websocket.Conn }

// dial opens a socket without signing in.
func (c caller) dial(t *testing.T) socket {
	t.Helper()
	d := websocket.Dialer{Subprotocols: []string{"graphql-transport-ws"}, HandshakeTimeout: patience}
	conn, _, err := d.DialContext(t.Context(), "ws"+strings.TrimPrefix(c.url, "http")+"/graphql", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetReadDeadline(time.Now().Add(patience))
	return socket{conn}
}

// socket opens a socket and signs in.
func (c caller) socket(t *testing.T) socket {
	t.Helper()
	s := c.dial(t)
	s.send(t, frame{Type: "connection_init", Payload: marshal(t, map[string]string{"Authorization": "Bearer " + c.key})})
	if f, err := s.read(); err != nil || f.Type != "connection_ack" {
		t.Fatalf("no ack: %v, %v", f, err)
	}
	return s
}

func (s socket) send(t *testing.T, f frame) {
	t.Helper()
	if err := s.WriteJSON(f); err != nil {
		t.Fatal(err)
	}
}

// subscribe sends any operation under an id.
func (s socket) subscribe(t *testing.T, id, query string, variables any) {
	t.Helper()
	s.send(t, frame{ID: id, Type: "subscribe", Payload: marshal(t, map[string]any{"query": query, "variables": variables})})
}

// read returns the next message of the protocol; pings are answered.
func (s socket) read() (f frame, err error) {
	for {
		if err := s.ReadJSON(&f); err != nil {
			return f, err
		}
		if f.Type != "ping" {
			return f, nil
		}
		if err := s.WriteJSON(frame{Type: "pong"}); err != nil {
			return f, err
		}
	}
}

// expectClose reads until the server closes the socket, with this code.
func (s socket) expectClose(t *testing.T, code int) {
	t.Helper()
	for {
		_, err := s.read()
		if err == nil {
			continue
		}
		var closed *websocket.CloseError
		if !errors.As(err, &closed) || closed.Code != code {
			t.Errorf("the socket ended with %v instead of %d", err, code)
		}
		return
	}
}

// event is one message of a run's stream.
type event struct {
	Typename  string `json:"__typename"`
	Sequence  int
	ProfileID string
	Outcome   string
	Status    string
	Progress  map[string]int
	Credits   *credits
	Source    string
	State     string
	Run       *struct{ Status string }
}

// final says that the event is a profile's last one.
func (e event) final() bool {
	return e.Typename == "ProfileAdvanced" && e.Outcome != "QUEUED" && e.Outcome != "ACTIVE"
}

const eventFields = `__typename sequence
	progress { total queued active enriched partial noMatch notFound suppressed timedOut failed cancelled }
	... on RunStatusChanged { status }
	... on ProfileAdvanced { profileId outcome }
	... on SourceChanged { profileId source state }
	... on CreditsMoved { credits { reserved captured released held } }`

const followQuery = `subscription($run: ID!, $after: Int) { enrichmentProgress(requestId: $run, afterSequence: $after) { ` + eventFields + ` ... on RunSnapshot { run { status } } } }`

// stream is a subscription to a run, collected as it comes.
type stream struct {
	socket
	mu     sync.Mutex
	events []event
	more   chan struct{}
	over   bool
	err    error // nil when it completed
}

// follow subscribes to a run; after nil is the snapshot and what follows.
func (c caller) follow(t *testing.T, run string, after *int) *stream {
	t.Helper()
	s := &stream{socket: c.socket(t), more: make(chan struct{})}
	s.subscribe(t, "run", followQuery, map[string]any{"run": run, "after": after})
	go func() {
		err := s.collect()
		s.change(func() { s.over, s.err = true, err })
	}()
	return s
}

func (s *stream) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
	close(s.more)
	s.more = make(chan struct{})
}

func (s *stream) collect() error {
	for {
		f, err := s.read()
		switch {
		case err != nil:
			return err
		case f.Type == "complete":
			return nil
		case f.Type != "next":
			return fmt.Errorf("%s %s", f.Type, f.Payload)
		}
		var next struct {
			Data   struct{ EnrichmentProgress event }
			Errors []graphError
		}
		if err := json.Unmarshal(f.Payload, &next); err != nil || len(next.Errors) > 0 {
			return fmt.Errorf("%v %s", err, f.Payload)
		}
		s.change(func() { s.events = append(s.events, next.Data.EnrichmentProgress) })
	}
}

// until waits until enough of the events that came, and returns them. A stream that is over has no more to come.
func (s *stream) until(t *testing.T, what string, enough func([]event) bool) []event {
	t.Helper()
	for limit := time.After(patience); ; {
		s.mu.Lock()
		events, more, over, err := append([]event{}, s.events...), s.more, s.over, s.err
		s.mu.Unlock()
		switch {
		case enough(events):
			return events
		case over:
			t.Fatalf("%s: the stream ended with %v after %d events", what, err, len(events))
		}
		select {
		case <-more:
		case <-limit:
			t.Fatalf("%s: not among %d events", what, len(events))
		}
	}
}

// all waits for the end, which must be a completed stream, and returns every event.
func (s *stream) all(t *testing.T) []event {
	t.Helper()
	events, err := s.end(t)
	if err != nil {
		t.Fatalf("the stream ended with %v after %d events", err, len(events))
	}
	return events
}

// end waits for the end, whatever it is.
func (s *stream) end(t *testing.T) ([]event, error) {
	t.Helper()
	for limit := time.After(patience); ; {
		s.mu.Lock()
		events, more, over, err := s.events, s.more, s.over, s.err
		s.mu.Unlock()
		if over {
			return events, err
		}
		select {
		case <-more:
		case <-limit:
			t.Fatalf("the stream does not end; %d events came", len(events))
		}
	}
}

// finals counts the profiles that have ended.
func finals(events []event) (n int) {
	for _, e := range events {
		if e.final() {
			n++
		}
	}
	return n
}

// expectWhole looks that events are a run's whole life: numbered 1, 2, 3, …
// without gap or repeat, sums that hold in every message, each profile ended
// once, and the end at the end.
func expectWhole(t *testing.T, events []event, profiles int) {
	t.Helper()
	ended := map[string]int{}
	for i, e := range events {
		if e.Sequence != i+1 {
			t.Errorf("event %d has sequence %d", i+1, e.Sequence)
			break
		}
		sum := -e.Progress["total"]
		for _, n := range e.Progress {
			sum += n
		}
		if sum != e.Progress["total"] || e.Progress["total"] != profiles {
			t.Errorf("event %d: counts %v", e.Sequence, e.Progress)
		}
		if c := e.Credits; c != nil && c.Reserved != c.Captured+c.Released+c.Held {
			t.Errorf("event %d: credits %+v", e.Sequence, *c)
		}
		if e.final() {
			ended[e.ProfileID]++
		}
	}
	for id, n := range ended {
		if n != 1 {
			t.Errorf("%s ended %d times", id, n)
		}
	}
	if len(ended) != profiles {
		t.Errorf("%d of %d profiles ended", len(ended), profiles)
	}
	if last := events[len(events)-1]; last.Typename != "RunStatusChanged" || last.Status != "COMPLETED" {
		t.Errorf("the last event is %+v", last)
	}
}

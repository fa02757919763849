// Package sse writes server-sent events (HTML section 9.2), one response each.
package sse

import (
	"bytes"
	"errors"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Media is the media type of an event stream.
const Media = "text/event-stream"

// heartbeat keeps proxies from closing a stream that has nothing to say.
const heartbeat = 15 * time.Second

var errClosed = errors.New("the event stream is closed")

// Stream writes server-sent events to one response. Each event is written and
// flushed whole. It is safe for concurrent use.
type Stream struct {
	w       http.ResponseWriter
	rc      *http.ResponseController
	timeout time.Duration

	mu     sync.Mutex
	buf    bytes.Buffer
	timer  *time.Timer
	closed bool
	err    error
}

// NewStream starts the response: status 200, and a heartbeat until Close.
// A write that takes longer than timeout fails, and so does every later one.
func NewStream(w http.ResponseWriter, timeout time.Duration) *Stream {
	h := w.Header()
	h.Set("Content-Type", Media+"; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusOK)
	s := &Stream{w: w, rc: http.NewResponseController(w), timeout: timeout}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timer = time.AfterFunc(heartbeat, s.beat)
	s.buf.WriteString(":\n\n")
	s.flush()
	return s
}

// Event writes one event. id is left out when it is "". data may hold line breaks.
func (s *Stream) Event(event, id string, data []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buf.WriteString("event: " + event + "\n")
	if id != "" {
		s.buf.WriteString("id: " + id + "\n")
	}
	// The empty data line of an event without data matters: browsers drop an event that has none.
	for line := range bytes.SplitSeq(data, []byte("\n")) {
		s.buf.WriteString("data: ")
		s.buf.Write(line)
		s.buf.WriteByte('\n')
	}
	s.buf.WriteByte('\n')
	return s.flush()
}

// Retry tells the client how long to wait before it comes back.
func (s *Stream) Retry(after time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buf.WriteString("retry: " + strconv.FormatInt(after.Milliseconds(), 10) + "\n\n")
	return s.flush()
}

// Close ends the heartbeat. The response ends with its handler.
func (s *Stream) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.timer.Stop()
}

func (s *Stream) beat() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buf.WriteString(":\n\n")
	_ = s.flush() // an error stays, and the next event reports it
}

// flush writes what is buffered in one call. mu is held.
func (s *Stream) flush() error {
	if s.err == nil && s.closed {
		s.err = errClosed
	}
	if s.err == nil {
		_ = s.rc.SetWriteDeadline(time.Now().Add(s.timeout)) // a test recorder has none
		_, s.err = s.w.Write(s.buf.Bytes())
	}
	if s.err == nil {
		s.err = s.rc.Flush()
	}
	s.buf.Reset()
	if s.err == nil {
		s.timer.Reset(heartbeat)
	}
	return s.err
}

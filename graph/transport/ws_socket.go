package transport

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/99designs/gqlgen/graphql"
	"github.com/gorilla/websocket"
	"golang.org/x/sync/semaphore"
)

// phase is where a socket is in its life; it only rises.
type phase uint8

const (
	phaseOpen    phase = iota // upgraded, waiting for connection_init
	phaseAcked                // signed in
	phaseClosing              // a close frame is queued, and is the last thing that ever will be
	phaseClosed               // the connection is gone
)

// closeWait is how long the peer has to answer our close frame.
const closeWait = 2 * time.Second

// socket is one connection. mu guards what follows it and is never held over
// I/O, so a peer that does not read cannot hold up whoever wants to close it.
type socket struct {
	t    *WebSocket
	exec graphql.GraphExecutor
	// ctx ends when the socket does; operations run under what Init made of it.
	ctx    context.Context
	cancel context.CancelFunc
	// request serves Init and is dropped with it.
	request *http.Request
	// conn reads, and only the reading goroutine uses it; raw writes.
	conn *websocket.Conn
	raw  net.Conn

	// starting bounds the operations that are being prepared.
	starting *semaphore.Weighted
	// unanswered counts pings without an answer.
	unanswered atomic.Int32

	mu      sync.Mutex
	phase   phase
	timer   *time.Timer
	base    context.Context // what Init returned
	expires time.Time
	ops     map[string]*operation
	// calls are the operations not known to be subscriptions: they end by themselves, and a drained socket waits for them.
	calls    int
	draining bool
	outbox
	// readDone and closeSent meet: the later of the two closes the connection.
	readDone, closeSent bool
}

func newSocket(t *WebSocket, exec graphql.GraphExecutor, r *http.Request) *socket {
	// The values of the request stay (a trace, a logger); its end is not the socket's.
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.Context()))
	return &socket{
		t: t, exec: exec, ctx: ctx, cancel: cancel, request: slim(r),
		starting: semaphore.NewWeighted(int64(t.MaxStarting)),
	}
}

var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// serve reads until the connection ends. It is the socket's one lasting goroutine.
func (s *socket) serve(conn *websocket.Conn, allowed bool) {
	conn.SetReadLimit(s.t.ReadLimit)
	conn.SetPongHandler(func(string) error { s.unanswered.Store(0); return nil })
	conn.SetPingHandler(func(data string) error {
		s.send(s.ctx, frame{opcode: websocket.PongMessage, payload: []byte(data)})
		return nil
	})
	conn.SetCloseHandler(func(code int, _ string) error { s.close(code, ""); return nil })

	s.mu.Lock()
	s.conn, s.raw = conn, conn.NetConn()
	ended := s.phase >= phaseClosing // drained or revoked between admission and here
	s.timer = time.AfterFunc(s.t.InitTimeout, s.tick)
	s.mu.Unlock()
	defer s.end()
	switch {
	case ended:
		s.raw.Close()
		return
	case conn.Subprotocol() != subprotocol:
		s.close(closeSubprotocol, "Subprotocol not acceptable")
	case !allowed:
		s.close(closeForbidden, "Forbidden")
	}
	for {
		kind, r, err := conn.NextReader()
		if err != nil {
			s.linger(err)
			return
		}
		s.unanswered.Store(0)
		if !s.read(kind, r) {
			return
		}
	}
}

// read takes in one message and acts on it; false when the connection broke meanwhile.
func (s *socket) read(kind int, r io.Reader) bool {
	buf := buffers.Get().(*bytes.Buffer)
	defer func() {
		// A buffer that one large message grew is not kept for the many small ones.
		if buf.Cap() <= 8<<10 {
			buf.Reset()
			buffers.Put(buf)
		}
	}()
	if _, err := buf.ReadFrom(r); err != nil {
		s.linger(err)
		return false
	}
	switch {
	case kind != websocket.TextMessage:
		s.close(closeBadRequest, "Only text messages are understood")
		return true
	case !utf8.Valid(buf.Bytes()):
		s.close(websocket.CloseInvalidFramePayloadData, "Not UTF-8") // RFC 6455 §8.1
		return true
	}
	m, err := parseMessage(buf.Bytes())
	if err != nil {
		s.close(closeBadRequest, "Invalid message received: "+err.Error())
		return true
	}
	s.handle(m)
	return true
}

// handle acts on a message. It runs on the reading goroutine, so messages take
// effect in the order in which they came.
func (s *socket) handle(m message) {
	s.mu.Lock()
	now := s.phase
	s.mu.Unlock()
	if now >= phaseClosing {
		return // what the peer sent before it read our close frame
	}
	switch m.kind {
	case typeInit:
		if now != phaseOpen {
			s.close(closeTooManyInits, "Too many initialisation requests")
			return
		}
		s.init(m.payload)
	case typePing:
		s.send(s.ctx, frame{opcode: websocket.TextMessage, kind: typePong, payload: bytes.Clone(m.payload)})
	case typePong:
	case typeSubscribe:
		if now != phaseAcked {
			s.close(closeUnauthorized, "Unauthorized")
			return
		}
		s.start(m.id, m.params)
	case typeComplete:
		s.stop(m.id)
	}
}

// init signs the caller in and acknowledges.
func (s *socket) init(raw json.RawMessage) {
	payload, err := objectOf(raw, "payload")
	if err != nil {
		s.close(closeBadRequest, err.Error())
		return
	}
	// Signing in that takes too long meets the same timer as a sign-in that never comes.
	base, id, err := s.t.Init(s.ctx, s.request, payload)
	s.request = nil
	if err == nil {
		err = s.t.Streams.identify(s, id)
	}
	if err != nil {
		code, reason := closeOf(err)
		s.close(code, reason)
		return
	}
	s.mu.Lock()
	if s.phase != phaseOpen {
		s.mu.Unlock()
		return
	}
	s.phase, s.expires = phaseAcked, id.Expires
	if s.base = base; base == nil {
		s.base = s.ctx
	}
	s.timer.Reset(s.untilTick(time.Now()))
	s.mu.Unlock()
	s.send(s.ctx, frame{opcode: websocket.TextMessage, kind: typeAck})
}

// closeOf maps a refused init to a close code and reason.
func closeOf(err error) (int, string) {
	refusal := asRefusal(err)
	switch refusal.Status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return closeForbidden, "Forbidden: " + refusal.Message
	case http.StatusTooManyRequests:
		return closeTooManyInits, refusal.Message
	case http.StatusServiceUnavailable:
		return websocket.CloseTryAgainLater, refusal.Message
	default:
		return websocket.CloseInternalServerErr, refusal.Message
	}
}

// untilTick is when to look at the socket again: for the next ping, or when the key expires if that is sooner.
func (s *socket) untilTick(now time.Time) time.Duration {
	wait := s.t.PingInterval
	if !s.expires.IsZero() {
		wait = max(0, min(wait, s.expires.Sub(now)))
	}
	return wait
}

// tick does what time demands: refuse a socket that never signed in, end one
// whose key expired or whose peer is gone, cut one that will not close, or else ping.
func (s *socket) tick() {
	now := time.Now()
	s.mu.Lock()
	switch {
	case s.phase == phaseOpen:
		s.mu.Unlock()
		s.close(closeInitTimeout, "Connection initialisation timeout")
	case s.phase >= phaseClosing:
		s.mu.Unlock()
		s.raw.Close()
	case !s.expires.IsZero() && !now.Before(s.expires):
		s.mu.Unlock()
		s.close(closeForbidden, "Forbidden: the API key has expired")
	case s.unanswered.Load() >= 2:
		s.mu.Unlock()
		s.t.Streams.stats.drop(droppedGone)
		s.raw.Close() // ends the reader, which ends the rest
	default:
		s.unanswered.Add(1)
		s.push(frame{opcode: websocket.PingMessage})
		s.timer.Reset(s.untilTick(now))
		s.mu.Unlock()
	}
}

// close ends the socket in an orderly way: nothing new is accepted, what is
// queued and a close frame go out, and the peer has a moment to answer. Only the first call counts.
func (s *socket) close(code int, reason string) {
	s.mu.Lock()
	if s.phase >= phaseClosing {
		s.mu.Unlock()
		return
	}
	s.phase = phaseClosing
	s.t.Streams.stats.closed(code)
	if s.raw != nil {
		s.push(frame{opcode: websocket.CloseMessage, payload: closePayload(code, reason)})
		s.timer.Reset(s.t.WriteTimeout + closeWait)
	}
	s.drop()
	s.mu.Unlock()
	s.cancel()
}

// linger ends reading. After an orderly close the writer may still owe the
// peer our close frame; after a broken rule of the frame protocol (which the
// library has answered with a close frame of its own) the rest is read away
// for a moment, since closing over unread bytes would destroy that answer.
func (s *socket) linger(err error) {
	var closed *websocket.CloseError
	var netErr net.Error
	switch {
	case errors.As(err, &closed) && closed.Code != websocket.CloseAbnormalClosure:
		s.mu.Lock()
		s.readDone = true
		sent := s.closeSent
		s.mu.Unlock()
		if sent {
			s.raw.Close()
		}
		return
	case errors.As(err, &netErr), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed), closed != nil:
	default:
		_ = s.raw.SetReadDeadline(time.Now().Add(closeWait))
		_, _ = io.CopyN(io.Discard, s.raw, 1<<20)
	}
	s.raw.Close()
}

// end releases everything once reading is over.
func (s *socket) end() {
	s.mu.Lock()
	if !s.readDone || s.closeSent { // else the writer still owes the peer a close frame
		s.phase = phaseClosed
		s.timer.Stop()
	}
	s.drop()
	s.mu.Unlock()
	s.cancel()
	s.t.Streams.remove(s)
}

// drain lets queries and mutations end, then closes with 1001, after which clients come back.
func (s *socket) drain() {
	s.mu.Lock()
	s.draining = true
	wait := s.calls > 0
	s.mu.Unlock()
	if !wait {
		s.close(websocket.CloseGoingAway, "The server is shutting down")
	}
}

func (s *socket) revoke() { s.close(closeForbidden, "Forbidden: the API key no longer holds") }

func (s *socket) abort() {
	s.mu.Lock()
	raw := s.raw
	s.mu.Unlock()
	s.cancel()
	if raw != nil {
		raw.Close()
	}
}

package transport

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// frame is one message that waits to be written. The payload may be shared.
type frame struct {
	opcode int
	// kind is the protocol's message type, for text.
	kind string
	// op is whose message it is, nil for the connection's own.
	op      *operation
	payload []byte
}

func (f *frame) id() string {
	if f.op == nil {
		return ""
	}
	return f.op.id
}

// overhead is what a queued frame counts beyond its payload.
const overhead = 64

// outbox is what a socket has still to write; the socket's mu guards it. There
// is at most one writer, and only while there is something to write.
type outbox struct {
	queue   []frame
	bytes   int
	writing bool
	// ready are operations that follow a shared log and are behind it. Their results
	// are not queued: the writer takes as many as one write holds, and then the next operation's.
	ready []*operation
	// room is made by those who wait for space and closed by the writer.
	room chan struct{}
}

// send queues f and reports whether it was taken. It waits while the queue is
// full, so that whoever produces for a slow reader slows down and nobody else
// does; it gives up when ctx or the socket ends, or when the client has completed the operation.
func (s *socket) send(ctx context.Context, f frame) bool {
	for {
		s.mu.Lock()
		if s.phase >= phaseClosing || f.op != nil && f.op.silent {
			s.mu.Unlock()
			return false
		}
		if s.bytes == 0 || s.bytes+len(f.payload)+overhead <= s.t.QueueBytes {
			if f.op != nil && f.kind != typeNext && s.ops[f.op.id] == f.op {
				delete(s.ops, f.op.id) // with the last word the id is free again
			}
			s.push(f)
			s.mu.Unlock()
			return true
		}
		if s.room == nil {
			s.room = make(chan struct{})
		}
		room := s.room
		s.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			return false
		}
	}
}

// push queues f, full or not, and wakes the writer. mu is held.
func (s *socket) push(f frame) {
	s.queue = append(s.queue, f)
	s.bytes += len(f.payload) + overhead
	s.awake()
}

// awake starts the writer. mu is held.
func (s *socket) awake() {
	if !s.writing {
		s.writing = true
		s.t.Streams.spawn(s.flush)
	}
}

// chunk is how many bytes one write carries at most, unless a single frame is larger.
const chunk = 32 << 10

var chunks = sync.Pool{New: func() any { b := make([]byte, 0, 4<<10); return &b }}

// flush writes until the queue is empty. Frames that queued up meanwhile leave together.
func (s *socket) flush() {
	p := chunks.Get().(*[]byte)
	defer func() {
		if cap(*p) <= 2*chunk {
			chunks.Put(p)
		}
	}()
	for {
		s.mu.Lock()
		batch, ready := s.queue, s.ready
		s.queue, s.bytes, s.ready = nil, 0, nil
		if s.room != nil {
			close(s.room)
			s.room = nil
		}
		if len(batch) == 0 && len(ready) == 0 || s.phase == phaseClosed {
			s.writing = false
			s.mu.Unlock()
			return
		}
		// The client's complete may have come after the frame was queued.
		said := batch[:0]
		for _, f := range batch {
			if f.op == nil || !f.op.silent {
				said = append(said, f)
			}
		}
		following := ready[:0]
		for _, op := range ready {
			op.ready = false
			if !op.silent && s.phase < phaseClosing {
				following = append(following, op)
			}
		}
		s.mu.Unlock()
		if !s.say(p, said) || !s.follow(p, following) {
			return
		}
	}
}

// say writes frames; false when they were the last that will ever be written.
func (s *socket) say(p *[]byte, frames []frame) bool {
	for len(frames) > 0 {
		b, n := (*p)[:0], 0
		for n < len(frames) && (n == 0 || len(b)+len(frames[n].payload) < chunk) {
			b = frames[n].appendTo(b)
			n++
		}
		*p = b
		if rest, err := s.write(b); err != nil {
			s.stalled(b, len(b)-len(rest), err)
			return false
		}
		s.t.Streams.stats.sent.Add(int64(n))
		if frames[n-1].opcode == websocket.CloseMessage {
			s.saidGoodbye()
			return false
		}
		frames = frames[n:]
	}
	return true
}

// write sends b. It gives up when the peer takes not a single byte within the
// write deadline; a peer that is merely slow is waited for. rest is what was not sent.
func (s *socket) write(b []byte) (rest []byte, err error) {
	for len(b) > 0 {
		if err := s.raw.SetWriteDeadline(time.Now().Add(s.t.WriteTimeout)); err != nil {
			return b, err
		}
		n, err := s.raw.Write(b)
		b = b[n:]
		if err != nil && (n == 0 || !errors.Is(err, os.ErrDeadlineExceeded)) {
			return b, err
		}
	}
	return nil, nil
}

// saidGoodbye is called once the close frame is out: the connection ends when the peer has answered too.
func (s *socket) saidGoodbye() {
	s.mu.Lock()
	s.closeSent, s.writing = true, false
	done := s.readDone
	if done {
		s.timer.Stop()
	} else {
		s.timer.Reset(closeWait)
	}
	s.mu.Unlock()
	if done {
		s.raw.Close()
	}
}

// stalled ends a socket that could not be written to. A peer that took no byte
// in time is told 1013 if it wakes up within a moment: the frame that was cut
// off has to be finished for that, or the close frame would be read as a part of it.
func (s *socket) stalled(b []byte, sent int, err error) {
	s.mu.Lock()
	closing := s.phase >= phaseClosing
	s.phase = max(s.phase, phaseClosing)
	s.queue, s.bytes, s.ready = nil, 0, nil
	s.drop()
	s.timer.Reset(closeWait)
	s.mu.Unlock()
	s.cancel()
	if !closing && errors.Is(err, os.ErrDeadlineExceeded) {
		s.t.Streams.stats.drop(droppedSlow)
		s.t.Streams.stats.closed(websocket.CloseTryAgainLater)
		end := frame{opcode: websocket.CloseMessage, payload: closePayload(websocket.CloseTryAgainLater, "Too slow")}
		_ = s.raw.SetWriteDeadline(time.Now().Add(closeWait))
		if _, err := s.raw.Write(end.appendTo(restOfFrame(b, sent))); err == nil {
			s.saidGoodbye()
			return
		}
	}
	s.mu.Lock()
	s.writing = false
	s.mu.Unlock()
	s.raw.Close()
}

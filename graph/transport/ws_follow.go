package transport

import (
	"sync"

	"github.com/gorilla/websocket"
)

// attach hands an operation over from the goroutine that started it to the
// log that it follows, unless it has ended meanwhile.
func (s *socket) attach(op *operation, f Follower) {
	s.mu.Lock()
	if s.ops[op.id] != op {
		s.mu.Unlock()
		f.Close()
		return
	}
	op.follower, op.socket = f, s
	op.cancel = func() {} // the starting goroutine cancels its context itself
	s.mu.Unlock()
	f.Start(op)
}

// Wake lets the socket's writer look at what the operation follows.
func (op *operation) Wake() {
	s := op.socket
	s.mu.Lock()
	defer s.mu.Unlock()
	if op.ready || op.silent || s.phase >= phaseClosing {
		return
	}
	op.ready = true
	s.ready = append(s.ready, op)
	s.awake()
}

// taken are results on their way from a log into a write.
var taken = sync.Pool{New: func() any { return new([]Result) }}

// follow writes what operations have to catch up with, one write's worth of
// each, so that none waits for another that is far behind. It reports whether the socket still lives.
func (s *socket) follow(p *[]byte, ops []*operation) bool {
	if len(ops) == 0 {
		return true
	}
	results := taken.Get().(*[]Result)
	defer func() {
		clear((*results)[:cap(*results)])
		taken.Put(results)
	}()
	b := (*p)[:0]
	for i, op := range ops {
		var done bool
		*results, done = op.follower.Take((*results)[:0], chunk)
		size := 0
		for _, r := range *results {
			next := frame{opcode: websocket.TextMessage, kind: typeNext, op: op, payload: r.Payload}
			b = next.appendTo(b)
			size += len(r.Payload)
		}
		s.t.Streams.stats.sent.Add(int64(len(*results)))
		switch {
		case done:
			last := frame{opcode: websocket.TextMessage, kind: typeComplete, op: op}
			b = last.appendTo(b)
			s.forget(op)
		case size >= chunk:
			op.Wake() // there may be more
		}
		*p = b
		if len(b) < chunk && i < len(ops)-1 {
			continue
		}
		if rest, err := s.write(b); err != nil {
			s.stalled(b, len(b)-len(rest), err)
			return false
		}
		b = b[:0]
	}
	return true
}

// forget frees the id of an operation whose last word is on its way.
func (s *socket) forget(op *operation) {
	s.mu.Lock()
	if s.ops[op.id] == op {
		delete(s.ops, op.id)
	}
	s.mu.Unlock()
	op.follower.Close()
}

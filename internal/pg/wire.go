package pg

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
)

// wire is the socket under pgdriver. It can send a command together with the
// request that comes next: BEGIN before a transaction's first statement, COMMIT
// behind its last. Each saves a round trip, two of four when a run is accepted.
//
// The messages are those of PostgreSQL's protocol 3.0 (documentation, chapter
// "Frontend/Backend Protocol"): a type byte, a length that counts itself, a body.
type wire struct {
	net.Conn
	ahead    []byte // goes out before the next request; its reply is dropped
	behind   []byte // goes out behind the next request
	sent     bool   // it did: the request that asks for it is not sent again
	awaiting bool   // the reply to what went ahead has not been read
	out      []byte // reused
	read     []byte // read from the socket, not yet handed on
}

// errOutOfStep closes a connection whose answers can no longer be told apart.
var errOutOfStep = errors.New("the server answered what was not asked")

const (
	msgQuery    = 'Q'
	msgReady    = 'Z'
	msgError    = 'E'
	headerSize  = 5       // type and length
	largestSkip = 1 << 16 // a notice beside BEGIN is far smaller
)

// query is the message for a command without arguments.
func query(b []byte, command string) []byte {
	b = append(b[:0], msgQuery)
	b = binary.BigEndian.AppendUint32(b, uint32(4+len(command)+1))
	return append(append(b, command...), 0)
}

// sendAhead queues a command without rows before the next request.
func (w *wire) sendAhead(command string) { w.ahead = query(w.ahead, command) }

// sendBehind queues a command behind the next request. Whoever asks for a command
// after that, with any text, gets its reply.
func (w *wire) sendBehind(command string) { w.behind = query(w.behind, command) }

// idle reports whether what was queued ahead is still here: nothing was asked
// since. forget takes back what is queued.
func (w *wire) idle() bool { return len(w.ahead) > 0 }

func (w *wire) forget() { w.ahead, w.behind = w.ahead[:0], w.behind[:0] }

func (w *wire) Write(p []byte) (int, error) {
	if w.sent {
		w.sent = false
		return len(p), nil
	}
	if len(w.ahead)+len(w.behind) == 0 {
		return w.Conn.Write(p)
	}
	lead := len(w.ahead)
	w.awaiting = lead > 0
	w.sent = len(w.behind) > 0
	w.out = append(append(append(w.out[:0], w.ahead...), p...), w.behind...)
	w.forget()
	n, err := w.Conn.Write(w.out)
	return min(max(0, n-lead), len(p)), err
}

func (w *wire) Read(p []byte) (int, error) {
	for w.awaiting {
		if err := w.skip(); err != nil {
			return 0, err
		}
	}
	if len(w.read) > 0 {
		n := copy(p, w.read)
		w.read = w.read[n:]
		return n, nil
	}
	return w.Conn.Read(p)
}

// skip drops the messages of the command's reply that have arrived, reading more
// when none is whole. An error among them is handed on as it came, and what
// follows is not: the session cannot be used any more.
func (w *wire) skip() error {
	for w.awaiting && len(w.read) >= headerSize {
		size := 1 + int(binary.BigEndian.Uint32(w.read[1:headerSize]))
		if size < headerSize || size > largestSkip {
			return fmt.Errorf("%w: a message of %d bytes", errOutOfStep, size)
		}
		if len(w.read) < size {
			break
		}
		switch w.read[0] {
		case msgReady:
			w.awaiting = false
		case msgError:
			w.awaiting = false
			w.read = w.read[:size]
			_ = w.Close()
			return nil
		}
		w.read = w.read[size:]
	}
	if !w.awaiting {
		return nil
	}
	var more [1 << 10]byte
	n, err := w.Conn.Read(more[:])
	w.read = append(w.read, more[:n]...)
	if n > 0 {
		return nil
	}
	return err
}

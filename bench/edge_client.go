package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// wire is a client socket of graphql-transport-ws that costs its process next
// to nothing: both servers are asked by the same.
type wire struct {
	net.Conn
	in *bufio.Reader
}

const upgrade = "GET /graphql HTTP/1.1\r\nHost: bench\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
	"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n"

// connect opens a socket and signs in.
func connect(addr string, buffer int) (*wire, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	w := &wire{conn, bufio.NewReaderSize(conn, buffer)}
	if _, err := io.WriteString(conn, upgrade); err != nil {
		return nil, err
	}
	for first := true; ; first = false {
		line, err := w.in.ReadString('\n')
		if err != nil {
			return nil, err
		}
		if first && !strings.Contains(line, "101") {
			return nil, fmt.Errorf("not upgraded: %s", line)
		}
		if line == "\r\n" {
			break
		}
	}
	if err := w.say(`{"type":"connection_init","payload":{"Authorization":"Bearer bench"}}`); err != nil {
		return nil, err
	}
	_, err = w.until(`"connection_ack"`)
	return w, err
}

// say sends one text frame, masked with zeros.
func (w *wire) say(text string) error {
	frame := binary.BigEndian.AppendUint16([]byte{0x81, 0x80 | 126}, uint16(len(text)))
	frame = append(frame, 0, 0, 0, 0)
	_, err := w.Write(append(frame, text...))
	return err
}

// hear returns the next frame's body, which holds until the next call. buf is reused.
func (w *wire) hear(buf []byte) ([]byte, error) {
	var head [8]byte
	if _, err := io.ReadFull(w.in, head[:2]); err != nil {
		return nil, err
	}
	opcode, n := head[0]&0x0f, int(head[1])
	switch n {
	case 126:
		if _, err := io.ReadFull(w.in, head[:2]); err != nil {
			return nil, err
		}
		n = int(binary.BigEndian.Uint16(head[:2]))
	case 127:
		if _, err := io.ReadFull(w.in, head[:8]); err != nil {
			return nil, err
		}
		n = int(binary.BigEndian.Uint64(head[:8]))
	}
	if cap(buf) < n {
		buf = make([]byte, n)
	}
	if _, err := io.ReadFull(w.in, buf[:n]); err != nil {
		return nil, err
	}
	if opcode == 8 {
		return nil, fmt.Errorf("closed: %s", buf[:n])
	}
	return buf[:n], nil
}

// until reads to the first frame that holds text.
func (w *wire) until(text string) ([]byte, error) {
	_ = w.SetReadDeadline(time.Now().Add(time.Minute))
	defer w.SetReadDeadline(time.Time{})
	for {
		b, err := w.hear(nil)
		if err != nil || bytes.Contains(b, []byte(text)) {
			return b, err
		}
		if bytes.Contains(b, []byte(`"errors"`)) || bytes.Contains(b, []byte(`"type":"error"`)) {
			return nil, fmt.Errorf("refused: %s", b)
		}
	}
}

// progressQuery selects what a dashboard's progress bar needs, about 350 bytes an event.
const progressQuery = `subscription Follow($run: ID!, $after: Int) { enrichmentProgress(requestId: $run, afterSequence: $after) {
	__typename sequence occurredAt progress { total queued active enriched partial noMatch notFound suppressed timedOut failed cancelled }
	... on ProfileAdvanced { profileId stage outcome fieldsChanged waitingOn } } }`

// follow subscribes under an id. Without a position the answer begins with a snapshot, which is waited for.
func (w *wire) follow(id, run string) error {
	b, err := json.Marshal(map[string]any{"id": id, "type": "subscribe", "payload": map[string]any{"query": progressQuery, "variables": map[string]any{"run": run}}})
	if err != nil {
		return err
	}
	if err := w.say(string(b)); err != nil {
		return err
	}
	_, err = w.until(`"RunSnapshot"`)
	return err
}

var sequenceField = []byte(`"sequence":`)

// sequenceIn finds the event's number in a frame, 0 when there is none.
func sequenceIn(frame []byte) int {
	_, rest, found := bytes.Cut(frame, sequenceField)
	if !found {
		return 0
	}
	end := bytes.IndexByte(rest, ',')
	n, _ := strconv.Atoi(string(rest[:max(end, 0)]))
	return n
}

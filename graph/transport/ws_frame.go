package transport

import (
	"bytes"
	"encoding/binary"

	"github.com/gorilla/websocket"
)

// Close codes beyond RFC 6455, as graphql-transport-ws assigns them.
const (
	closeBadRequest        = 4400
	closeUnauthorized      = 4401
	closeForbidden         = 4403
	closeSubprotocol       = 4406
	closeInitTimeout       = 4408
	closeDuplicateID       = 4409
	closeTooManyInits      = 4429
	maxControlPayload      = 125 // RFC 6455 §5.5
	finalBit          byte = 0x80
)

// appendHeader adds the header of one whole, unmasked frame (RFC 6455 §5.2) with n payload bytes.
// We frame messages ourselves so that all that is queued for a socket leaves in one write.
func appendHeader(b []byte, opcode int, n int) []byte {
	b = append(b, finalBit|byte(opcode))
	switch {
	case n <= 125:
		return append(b, byte(n))
	case n <= 0xffff:
		return binary.BigEndian.AppendUint16(append(b, 126), uint16(n))
	default:
		return binary.BigEndian.AppendUint64(append(b, 127), uint64(n))
	}
}

// appendTo adds the frame to b, header included.
func (f *frame) appendTo(b []byte) []byte {
	if f.opcode != websocket.TextMessage {
		return append(appendHeader(b, f.opcode, len(f.payload)), f.payload...)
	}
	// The length stands before the envelope, so that is made aside: the payload is copied once.
	var room [128]byte
	head := appendEnvelope(room[:0], f.kind, f.id(), len(f.payload) > 0)
	b = appendHeader(b, f.opcode, len(head)+len(f.payload)+1)
	b = append(append(b, head...), f.payload...)
	return append(b, '}')
}

// restOfFrame returns what is left of the frame in b, a row of whole frames of
// ours, that was cut off after sent bytes; a copy, empty when the cut lies between two.
func restOfFrame(b []byte, sent int) []byte {
	for end := 0; end < len(b); {
		begin := end
		switch n := b[begin+1]; n {
		case 126:
			end += 4 + int(binary.BigEndian.Uint16(b[begin+2:]))
		case 127:
			end += 10 + int(binary.BigEndian.Uint64(b[begin+2:]))
		default:
			end += 2 + int(n)
		}
		if sent < end {
			if sent <= begin {
				return nil
			}
			return bytes.Clone(b[sent:end])
		}
	}
	return nil
}

// closePayload is the body of a close frame: a code and a reason, cut to what fits.
func closePayload(code int, reason string) []byte {
	if code == websocket.CloseNoStatusReceived {
		return nil
	}
	b := binary.BigEndian.AppendUint16(nil, uint16(code))
	for len(reason) > maxControlPayload-2 {
		reason = reason[:maxControlPayload-2]
		for len(reason) > 0 && reason[len(reason)-1]&0xc0 == 0x80 {
			reason = reason[:len(reason)-1]
		}
		if n := len(reason); n > 0 && reason[n-1] >= 0xc0 {
			reason = reason[:n-1]
		}
	}
	return append(b, reason...)
}

package transport

import (
	"encoding/json"

	"github.com/99designs/gqlgen/graphql"
)

// The message types of graphql-transport-ws.
const (
	typeInit      = "connection_init"
	typeAck       = "connection_ack"
	typePing      = "ping"
	typePong      = "pong"
	typeSubscribe = "subscribe"
	typeNext      = "next"
	typeError     = "error"
	typeComplete  = "complete"
)

// message is one parsed message of a client. A malformed one never becomes a message.
type message struct {
	kind string
	// id is set for subscribe and complete.
	id string
	// payload is the object that came along, nil when none did.
	payload json.RawMessage
	// params is set for subscribe.
	params *graphql.RawParams
}

// parseMessage reads one text message. Whatever the protocol does not name is
// an error, which the socket answers with close code 4400.
func parseMessage(b []byte) (message, error) {
	fields, err := decodeObject(b, "the message")
	if err != nil {
		return message{}, err
	}
	var m message
	if m.kind, err = stringOf(fields["type"], "type"); err != nil {
		return message{}, err
	}
	if m.id, err = stringOf(fields["id"], "id"); err != nil {
		return message{}, err
	}
	if raw := fields["payload"]; !absent(raw) {
		if raw[0] != '{' {
			return message{}, malformed("payload must be an object")
		}
		m.payload = raw
	}
	switch m.kind {
	case typeInit, typePing, typePong:
		return m, nil
	case typeComplete:
		if m.id == "" {
			return message{}, malformed("complete needs an id")
		}
		return m, nil
	case typeSubscribe:
		if m.id == "" {
			return message{}, malformed("subscribe needs an id")
		}
		inner, err := decodeObject(m.payload, "the payload")
		if err != nil {
			return message{}, err
		}
		m.payload = nil
		m.params, err = paramsOf(inner)
		return m, err
	default:
		return message{}, malformed("unknown message type")
	}
}

// appendEnvelope adds what stands before the payload of a server's message; the
// payload, which may be shared with other sockets, and one closing brace follow it. id may be empty.
func appendEnvelope(b []byte, kind, id string, payload bool) []byte {
	b = append(b, '{')
	if id != "" {
		b = append(appendQuoted(append(b, `"id":`...), id), ',')
	}
	b = append(append(append(b, `"type":"`...), kind...), '"')
	if payload {
		b = append(b, `,"payload":`...)
	}
	return b
}

// appendQuoted adds a string as JSON. Ids are nearly always plain, and every message carries one.
func appendQuoted(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			quoted, _ := json.Marshal(s) // a string always marshals
			return append(b, quoted...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}

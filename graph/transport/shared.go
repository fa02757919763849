package transport

import (
	"bytes"
	"encoding/json"
	"fmt"
	"unicode/utf8"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"
)

// maxDepth bounds how deep the JSON of variables and extensions may nest,
// maxValues how many values it may hold: decoding a small object costs a hundred times its bytes.
const (
	maxDepth  = 20
	maxValues = 20_000
)

// timedOut is what a caller reads when an operation met its deadline.
const timedOut = "the operation took too long"

// decodeParams reads the parameters of a request (GraphQL over HTTP §5.1) from
// a JSON object. null stands for absent. The error is a Refusal that quotes
// nothing of what was sent.
func decodeParams(body []byte) (*graphql.RawParams, error) {
	fields, err := decodeObject(body, "the request body")
	if err != nil {
		return nil, err
	}
	return paramsOf(fields)
}

// decodeObject splits a JSON object into its members, after checking encoding and depth.
func decodeObject(b []byte, what string) (map[string]json.RawMessage, error) {
	b = bytes.TrimSpace(b)
	switch {
	case len(b) == 0:
		return nil, malformed(what + " is missing")
	case !utf8.Valid(b):
		return nil, malformed(what + " is not valid UTF-8")
	case b[0] == '[':
		return nil, badRequest(what + " must be one JSON object; batches are not supported")
	case tooDeep(b, maxDepth+2):
		return nil, badRequest(fmt.Sprintf("%s nests deeper than %d levels, or holds more than %d values", what, maxDepth, maxValues))
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(b, &fields); err != nil || fields == nil {
		if json.Valid(b) {
			return nil, badRequest(what + " must be a JSON object")
		}
		return nil, malformed(what + " is not valid JSON")
	}
	return fields, nil
}

func paramsOf(fields map[string]json.RawMessage) (*graphql.RawParams, error) {
	p := &graphql.RawParams{}
	var err error
	if p.Extensions, err = objectOf(fields["extensions"], "extensions"); err != nil {
		return nil, err
	}
	if p.Variables, err = objectOf(fields["variables"], "variables"); err != nil {
		return nil, err
	}
	if p.OperationName, err = stringOf(fields["operationName"], "operationName"); err != nil {
		return nil, err
	}
	if p.Query, err = stringOf(fields["query"], "query"); err != nil {
		return nil, err
	}
	// A persisted query may come as its hash alone.
	if _, hashed := p.Extensions["persistedQuery"]; p.Query == "" && !hashed {
		return nil, badRequest("query is missing")
	}
	return p, nil
}

func absent(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }

func stringOf(raw json.RawMessage, name string) (s string, err error) {
	if absent(raw) {
		return "", nil
	}
	if raw[0] != '"' || json.Unmarshal(raw, &s) != nil {
		return "", badRequest(name + " must be a string")
	}
	return s, nil
}

// objectOf decodes a map; numbers stay json.Number so that 64-bit values survive.
func objectOf(raw json.RawMessage, name string) (m map[string]any, err error) {
	if absent(raw) {
		return nil, nil
	}
	if raw[0] != '{' {
		return nil, badRequest(name + " must be a JSON object")
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if dec.Decode(&m) != nil {
		return nil, badRequest(name + " must be a JSON object")
	}
	return m, nil
}

// tooDeep reports whether arrays and objects in b nest deeper than max, or
// hold more than maxValues. It needs no valid JSON, reads b once and does not recurse, so it may come before the decoder.
func tooDeep(b []byte, max int) bool {
	depth, values, quoted := 0, 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			if depth++; depth > max {
				return true
			}
			values++
		case c == '}' || c == ']':
			depth--
		case c == ',':
			values++
		}
		if values > maxValues {
			return true
		}
	}
	return false
}

// answer is an execution result on the wire. Errors come first, as the
// specification advises; data is left out when the request was refused.
type answer struct {
	Errors     gqlerror.List   `json:"errors,omitempty"`
	Data       json.RawMessage `json:"data,omitempty"`
	Extensions map[string]any  `json:"extensions,omitempty"`
}

// encode renders a result once; every transport frames these same bytes.
func encode(resp *graphql.Response) []byte {
	b, err := json.Marshal(answer{Errors: resp.Errors, Data: resp.Data, Extensions: resp.Extensions})
	if err != nil {
		// Only an extension value of our own, or data a scalar wrote badly, can get here.
		return []byte(`{"errors":[{"message":"internal error","extensions":{"code":"INTERNAL"}}]}`)
	}
	return b
}

// encodeErrors renders a list of errors alone, never as null.
func encodeErrors(errs gqlerror.List) []byte {
	b, err := json.Marshal(errs)
	if err != nil || len(errs) == 0 {
		return []byte(`[{"message":"internal error","extensions":{"code":"INTERNAL"}}]`)
	}
	return b
}

func isSubscription(op *graphql.OperationContext) bool {
	return op.Operation != nil && op.Operation.Operation == ast.Subscription
}

package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/enrichd/enrichd/internal/ident"
)

// Bounds of what the contract's routes read.
const (
	maxBody = 256 << 10
	// maxDepth is how deep arrays and objects may lie in each other; the deepest documented body has two levels.
	maxDepth = 32
)

// badBody says why a request's body was not read.
type badBody struct {
	message  string
	tooLarge bool
}

func (b badBody) Error() string { return b.message }

// badFields are all problems of the fields of one request.
type badFields []fieldError

func (b badFields) Error() string { return b[0].Field + ": " + b[0].Message }

// object is a JSON object of a request. Its readers take one field each, and
// keep the problems that they meet, so that a refusal names all of them.
type object struct {
	fields   map[string]json.RawMessage
	problems badFields
}

// readBody reads one JSON object: nothing before or behind it, no name twice,
// valid UTF-8, at most maxBody bytes. Unknown fields are ignored, as the
// contract has it. The body is never echoed.
func readBody(w http.ResponseWriter, req *http.Request) (*object, error) {
	if err := checkMedia(req.Header.Get("Content-Type")); err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxBody))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, badBody{message: fmt.Sprintf("The body is larger than %d bytes", maxBody), tooLarge: true}
	case err != nil:
		return nil, badBody{message: "The body could not be read"}
	case !utf8.Valid(raw):
		return nil, badBody{message: "The body is not valid UTF-8"}
	}
	if err := checkJSON(raw); err != nil {
		return nil, err
	}
	o := new(object)
	if err := json.Unmarshal(raw, &o.fields); err != nil || o.fields == nil {
		return nil, badBody{message: "The body must be a JSON object"}
	}
	return o, nil
}

// checkMedia refuses a stated type that is not JSON in UTF-8. Clients that state none are taken at their body.
func checkMedia(header string) error {
	if header == "" {
		return nil
	}
	media, params, err := mime.ParseMediaType(header)
	if err != nil || (media != "application/json" && !strings.HasSuffix(media, "+json")) {
		return badBody{message: "Content-Type must be application/json"}
	}
	if charset := params["charset"]; charset != "" && !strings.EqualFold(charset, "utf-8") {
		return badBody{message: "The charset must be UTF-8"}
	}
	return nil
}

// checkJSON walks raw once. What it refuses beside broken JSON is what two
// readers could read in two ways: a name twice in one object, bytes behind the value.
func checkJSON(raw []byte) error {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber() // a number may be larger than any Go type
	type level struct {
		names map[string]bool // nil in an array
		value bool            // the next token is the value of a name
	}
	var stack []level
	for first := true; first || len(stack) > 0; first = false {
		token, err := dec.Token()
		if err != nil {
			return badBody{message: "The body is not valid JSON"}
		}
		top := len(stack) - 1
		switch t := token.(type) {
		case json.Delim:
			switch t {
			case '{':
				stack = append(stack, level{names: map[string]bool{}})
			case '[':
				stack = append(stack, level{})
			default:
				stack = stack[:top]
				if top--; top >= 0 {
					stack[top].value = false
				}
			}
			if len(stack) > maxDepth {
				return badBody{message: fmt.Sprintf("The body is nested deeper than %d levels", maxDepth)}
			}
			continue
		case string:
			if top >= 0 && stack[top].names != nil && !stack[top].value {
				if stack[top].names[t] {
					return badBody{message: "The body names a field twice"}
				}
				stack[top].names[t], stack[top].value = true, true
				continue
			}
		}
		if top >= 0 {
			stack[top].value = false
		}
	}
	if _, err := dec.Token(); err != io.EOF {
		return badBody{message: "The body must be one JSON object and nothing after it"}
	}
	return nil
}

func (o *object) problem(field, format string, args ...any) {
	o.problems = append(o.problems, fieldError{field, fmt.Sprintf(format, args...)})
}

// err is nil, or all problems met so far.
func (o *object) err() error {
	if len(o.problems) == 0 {
		return nil
	}
	return o.problems
}

// has reports whether the field is there and not null.
func (o *object) has(name string) bool {
	raw, ok := o.fields[name]
	return ok && string(raw) != "null"
}

// null reports whether the field is there and null.
func (o *object) null(name string) bool { return string(o.fields[name]) == "null" }

// text reads a string; nil when it is absent or null.
func (o *object) text(name string) *string {
	if !o.has(name) {
		return nil
	}
	var s string
	if json.Unmarshal(o.fields[name], &s) != nil {
		o.problem(name, "must be a string")
		return nil
	}
	return &s
}

// uuid reads a UUID, in lower case; nil when it is absent or null.
func (o *object) uuid(name string) *string {
	s := o.text(name)
	if s == nil {
		return nil
	}
	if !ident.IsUUID(*s) {
		o.problem(name, "must be a UUID")
		return s
	}
	id := canonical(*s)
	return &id
}

// canonical is a UUID in lower case, as ours are kept: the case of what comes in
// means nothing (RFC 9562, 4). What is no UUID stays as it is.
func canonical(id string) string {
	if !ident.IsUUID(id) {
		return id
	}
	return strings.ToLower(id)
}

// flag reads a boolean; nil when it is absent or null.
func (o *object) flag(name string) *bool {
	if !o.has(name) {
		return nil
	}
	var b bool
	if json.Unmarshal(o.fields[name], &b) != nil {
		o.problem(name, "must be true or false")
		return nil
	}
	return &b
}

// texts reads a list of strings; nil when it is absent or null. A null among them reads as "".
func (o *object) texts(name string) []string {
	if !o.has(name) {
		return nil
	}
	list := []string{}
	if json.Unmarshal(o.fields[name], &list) != nil {
		o.problem(name, "must be a list of strings")
		return nil
	}
	return list
}

// list reads a list of any values; nil when it is absent or null.
func (o *object) list(name string) []json.RawMessage {
	if !o.has(name) {
		return nil
	}
	list := []json.RawMessage{}
	if json.Unmarshal(o.fields[name], &list) != nil {
		o.problem(name, "must be a list")
		return nil
	}
	return list
}

// objects reads a list of objects, each with the path that its problems begin with.
func (o *object) objects(name string) []*object {
	var out []*object
	for i, raw := range o.list(name) {
		item := new(object)
		if json.Unmarshal(raw, &item.fields) != nil || item.fields == nil {
			o.problem(name+"."+strconv.Itoa(i), "must be an object")
			continue
		}
		out = append(out, item)
	}
	return out
}

// adopt takes over the problems of an object inside o, which lies at path.
func (o *object) adopt(path string, inner *object) {
	for _, p := range inner.problems {
		o.problem(path+"."+p.Field, "%s", p.Message)
	}
}

// blamed reports whether there is a problem of the field, or inside it, already.
func (o *object) blamed(name string) bool {
	for _, p := range o.problems {
		if p.Field == name || strings.HasPrefix(p.Field, name+".") {
			return true
		}
	}
	return false
}

// given reports whether the field is there, null or not.
func (o *object) given(name string) bool {
	_, ok := o.fields[name]
	return ok
}

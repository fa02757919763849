package transport

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/99designs/gqlgen/graphql"
)

// GET answers one query, sent in the URL (GraphQL over HTTP §5.3). Mutations
// are refused with 405.
type GET struct {
	// Timeout ends an operation that takes longer.
	Timeout time.Duration
}

// Supports reports whether r is a GET that asks neither for a WebSocket nor for an event stream.
func (GET) Supports(r *http.Request) bool {
	return r.Method == http.MethodGet && r.Header.Get("Upgrade") == "" && negotiate(r) != mediaEvents
}

// Do answers r.
func (t GET) Do(w http.ResponseWriter, r *http.Request, exec graphql.GraphExecutor) {
	params, err := urlParams(r.URL.RawQuery)
	if err != nil {
		Refuse(w, r, err)
		return
	}
	respond(w, r, exec, params, t.Timeout, false)
}

// urlParams reads the parameters from a URL's query: texts as they are,
// variables and extensions as JSON.
func urlParams(raw string) (*graphql.RawParams, error) {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return nil, malformed("the URL's query is malformed")
	}
	fields := map[string]json.RawMessage{}
	for _, name := range []string{"query", "operationName", "variables", "extensions"} {
		if !values.Has(name) {
			continue
		}
		v := values.Get(name)
		if !utf8.ValidString(v) {
			return nil, malformed(name + " is not valid UTF-8")
		}
		switch name {
		case "query", "operationName":
			quoted, err := json.Marshal(v)
			if err != nil {
				return nil, malformed(name + " is malformed")
			}
			fields[name] = quoted
		default:
			if v = strings.TrimSpace(v); v == "" {
				continue
			}
			if tooDeep([]byte(v), maxDepth+1) {
				return nil, badRequest(name + " nests too deep")
			}
			if !json.Valid([]byte(v)) {
				return nil, malformed(name + " is not valid JSON")
			}
			fields[name] = json.RawMessage(v)
		}
	}
	return paramsOf(fields)
}

package transport

import (
	"net/http"
	"time"

	"github.com/99designs/gqlgen/graphql"
)

// POST answers one operation, sent as a JSON object in the body.
type POST struct {
	// BodyLimit is the largest body read, in bytes.
	BodyLimit int64
	// Timeout ends an operation that takes longer.
	Timeout time.Duration
}

// Supports reports whether r is a POST that does not ask for an event stream.
func (POST) Supports(r *http.Request) bool {
	return r.Method == http.MethodPost && negotiate(r) != mediaEvents
}

// Do answers r.
func (t POST) Do(w http.ResponseWriter, r *http.Request, exec graphql.GraphExecutor) {
	params, err := readParams(w, r, t.BodyLimit)
	if err != nil {
		Refuse(w, r, err)
		return
	}
	respond(w, r, exec, params, t.Timeout, true)
}

func readParams(w http.ResponseWriter, r *http.Request, limit int64) (*graphql.RawParams, error) {
	if enc := r.Header.Get("Content-Encoding"); !acceptsJSON(r) || enc != "" && enc != "identity" {
		w.Header().Set("Accept-Post", mediaJSON)
		return nil, Refusal{
			Status: http.StatusUnsupportedMediaType, Code: CodeValidationFailed,
			Message: "the request body must be " + mediaJSON + " in UTF-8, not compressed",
		}
	}
	body, err := readBody(w, r, limit)
	if err != nil {
		return nil, err
	}
	return decodeParams(body)
}

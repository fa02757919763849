// Package transport carries GraphQL over HTTP POST and GET, WebSocket and
// server-sent events, as their specifications say: GraphQL over HTTP
// (graphql.github.io/graphql-over-http), graphql-transport-ws (PROTOCOL.md of
// npm graphql-ws) and graphql-sse. It knows frames, media types, statuses and
// close codes; preparing and executing an operation is graphql.GraphExecutor's part.
package transport

import (
	"errors"
	"net/http"
	"time"

	"github.com/vektah/gqlparser/v2/gqlerror"
)

// The codes that may stand in extensions.code. Nothing else leaves the server.
const (
	CodeParseFailed            = "GRAPHQL_PARSE_FAILED"
	CodeValidationFailed       = "GRAPHQL_VALIDATION_FAILED"
	CodeUnauthenticated        = "UNAUTHENTICATED"
	CodeForbidden              = "FORBIDDEN"
	CodeCostExceeded           = "COST_EXCEEDED"
	CodeRateLimited            = "RATE_LIMITED"
	CodePersistedQueryNotFound = "PERSISTED_QUERY_NOT_FOUND"
	CodePersistedQueryOnly     = "PERSISTED_QUERY_ONLY"
	CodeUnavailable            = "UNAVAILABLE"
	CodeInternal               = "INTERNAL"
)

// Refusal is a request turned away before GraphQL saw it. Hooks return one to
// choose the answer; its text goes to the caller as it is.
type Refusal struct {
	// Status is the HTTP status. On a socket 401 and 403 become close code 4403, 429 becomes 4429, 503 becomes 1013.
	Status int
	// Code is one of the codes above.
	Code    string
	Message string
	// RetryAfter, when positive, is announced in whole seconds, at least 1.
	RetryAfter time.Duration
	// Extra is added to the error's extensions.
	Extra map[string]any
}

// Error returns the message.
func (r Refusal) Error() string { return r.Message }

// asRefusal digs a Refusal out of err; any other error is one of ours, and its
// text stays here.
func asRefusal(err error) Refusal {
	var r Refusal
	if errors.As(err, &r) {
		return r
	}
	return Refusal{Status: http.StatusInternalServerError, Code: CodeInternal, Message: "internal error"}
}

func badRequest(message string) Refusal {
	return Refusal{Status: http.StatusBadRequest, Code: CodeValidationFailed, Message: message}
}

func malformed(message string) Refusal {
	return Refusal{Status: http.StatusBadRequest, Code: CodeParseFailed, Message: message}
}

// Error makes a GraphQL error with a code.
func Error(code, message string) *gqlerror.Error {
	return &gqlerror.Error{Message: message, Extensions: map[string]any{"code": code}}
}

// CodeOf returns extensions.code of a GraphQL error, "" without one.
func CodeOf(err *gqlerror.Error) string {
	code, _ := err.Extensions["code"].(string)
	return code
}

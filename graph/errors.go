package graph

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"github.com/enrichd/enrichd/graph/transport"
	"github.com/enrichd/enrichd/internal/fault"
	"github.com/enrichd/enrichd/internal/ident"
	"github.com/enrichd/enrichd/internal/limit"
)

// Unauthenticated is what Options.Authenticate answers when the caller has no
// key, or one that does not hold: 401, or close code 4403.
func Unauthenticated(message string) error {
	return transport.Refusal{Status: 401, Code: transport.CodeUnauthenticated, Message: message}
}

// maxMessage is the longest error message that leaves, in bytes: the parser
// quotes what it could not read, and that may be long.
const maxMessage = 300

// passed are the codes that may leave, each with the further extensions documented for it.
var passed = map[string][]string{
	transport.CodeParseFailed:            nil,
	transport.CodeValidationFailed:       nil,
	transport.CodeUnauthenticated:        nil,
	transport.CodeForbidden:              {"requiredScope"},
	transport.CodeCostExceeded:           {"cost", "limit"},
	transport.CodeRateLimited:            {"retryAfterMs"},
	transport.CodePersistedQueryNotFound: nil,
	transport.CodePersistedQueryOnly:     nil,
	transport.CodeUnavailable:            nil,
	transport.CodeInternal:               {"requestId"},
}

// errInternal is what a panic turns into; it was logged where it was caught.
var errInternal = errors.New("panic in a resolver")

// presenter turns any error into what a caller may see: a message, where it
// happened, and a code of the allow-list. What is not known by type becomes
// INTERNAL with the request id, and its text goes to the log only.
func presenter(log *slog.Logger, suggest bool) graphql.ErrorPresenterFunc {
	return func(ctx context.Context, err error) *gqlerror.Error {
		var from *gqlerror.Error
		if !errors.As(err, &from) {
			from = gqlerror.WrapPath(graphql.GetPath(ctx), err)
		}
		out := &gqlerror.Error{Err: err, Path: from.Path, Locations: from.Locations, Extensions: map[string]any{}}
		code, message := classify(err, from, out.Extensions)
		if code == transport.CodeInternal {
			id := RequestID(ctx)
			out.Extensions["requestId"] = id
			if !errors.Is(err, errInternal) && from.Extensions["code"] != code {
				log.ErrorContext(ctx, "graphql: internal error", "request_id", id, "path", from.Path.String(), "error", err)
			}
		}
		if !suggest {
			message, _, _ = strings.Cut(message, " Did you mean")
		}
		if len(message) > maxMessage {
			message = strings.ToValidUTF8(message[:maxMessage], "") + "…"
		}
		out.Message, out.Extensions["code"] = message, code
		return out
	}
}

// classify finds code and message of an error and adds the extensions that go with the code.
func classify(err error, from *gqlerror.Error, ext map[string]any) (code, message string) {
	if code := transport.CodeOf(from); code != "" {
		if extras, known := passed[code]; known {
			for _, name := range extras {
				if v, set := from.Extensions[name]; set {
					ext[name] = v
				}
			}
			return code, from.Message
		}
	}
	var (
		forbidden fault.Forbidden
		refusal   transport.Refusal
		exceeded  limit.Exceeded
		number    *graphql.IntegerError
	)
	users, rest := fault.Users(err)
	if errors.As(err, &exceeded) {
		err = rateLimited(exceeded)
	}
	switch {
	case errors.As(err, &refusal):
		for k, v := range refusal.Extra {
			ext[k] = v
		}
		return refusal.Code, refusal.Message
	case errors.As(err, &forbidden):
		if forbidden.RequiredScope != "" {
			ext["requiredScope"] = forbidden.RequiredScope
		}
		return transport.CodeForbidden, forbidden.Message
	case len(users) > 0 && rest == nil:
		// A refusal outside a mutation's payload can only be about what the query asked for.
		said := make([]string, len(users))
		for i, u := range users {
			said[i] = u.Error()
			if where := u.Where(); len(where) > 0 {
				said[i] = strings.Join(where, ".") + " " + said[i]
			}
		}
		return transport.CodeValidationFailed, strings.Join(said, "; ")
	case errors.As(err, &number):
		return transport.CodeValidationFailed, number.Message
	case errors.Is(err, context.DeadlineExceeded):
		return transport.CodeUnavailable, "the operation took too long"
	case errors.Is(err, context.Canceled):
		return transport.CodeUnavailable, "the operation was cancelled"
	}
	return transport.CodeInternal, "internal error"
}

// recoverer logs a panic of a resolver with its stack.
func recoverer(log *slog.Logger) graphql.RecoverFunc {
	return func(ctx context.Context, cause any) error {
		log.ErrorContext(ctx, "graphql: panic", "request_id", RequestID(ctx), "cause", fmt.Sprint(cause), "stack", string(debug.Stack()))
		return errInternal
	}
}

type requestIDKey struct{}

// WithRequestID names the request; the id is what an INTERNAL error and its log line share.
func WithRequestID(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, requestIDKey{}, id)
}

// RequestID returns the id that WithRequestID gave, "" without one.
func RequestID(ctx context.Context) string {
	id, _ := ctx.Value(requestIDKey{}).(string)
	return id
}

// named makes sure that ctx carries a request id.
func named(ctx context.Context) context.Context {
	if RequestID(ctx) != "" {
		return ctx
	}
	return WithRequestID(ctx, ident.New("req"))
}

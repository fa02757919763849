package transport

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"
)

// Refuse answers a request with err before GraphQL: a Refusal as it says, any
// other error as 500 without its text.
func Refuse(w http.ResponseWriter, r *http.Request, err error) {
	refusal := asRefusal(err)
	h := w.Header()
	if refusal.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(max(1, int((refusal.RetryAfter+time.Second-1)/time.Second))))
	}
	if refusal.Status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="enrichd"`)
	}
	e := Error(refusal.Code, refusal.Message)
	for k, v := range refusal.Extra {
		e.Extensions[k] = v
	}
	media := negotiate(r)
	if media == "" || media == mediaEvents {
		media = mediaJSON
	}
	write(w, media, refusal.Status, encode(&graphql.Response{Errors: gqlerror.List{e}}))
}

func write(w http.ResponseWriter, media string, status int, body []byte) {
	h := w.Header()
	h.Set("Content-Type", media+"; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// readBody reads at most limit bytes; more is refused with 413 without reading on.
func readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if err == nil {
		return body, nil
	}
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return nil, TooLarge(limit)
	}
	return nil, malformed("the request body could not be read")
}

// TooLarge refuses a body above limit bytes.
func TooLarge(limit int64) Refusal {
	return Refusal{
		Status: http.StatusRequestEntityTooLarge, Code: CodeValidationFailed,
		Message: "the request body is larger than " + strconv.FormatInt(limit, 10) + " bytes",
	}
}

// respond prepares and runs one operation and writes its one answer.
// mutations says whether the method may change anything.
func respond(w http.ResponseWriter, r *http.Request, exec graphql.GraphExecutor, p *graphql.RawParams, timeout time.Duration, mutations bool) {
	ctx, cancel := context.WithTimeout(r.Context(), timeout)
	defer cancel()
	media := negotiate(r)
	if media == "" {
		Refuse(w, r, Refusal{
			Status: http.StatusNotAcceptable, Code: CodeValidationFailed,
			Message: "answers are " + mediaJSON + ", " + mediaGraphQL + " or " + mediaEvents,
		})
		return
	}
	p.Headers = r.Header
	op, errs := exec.CreateOperationContext(ctx, p)
	if len(errs) > 0 {
		resp := exec.DispatchError(graphql.WithOperationContext(ctx, op), errs)
		announceRetry(w, resp.Errors)
		write(w, media, statusOf(resp.Errors, media), encode(resp))
		return
	}
	switch {
	case isSubscription(op):
		Refuse(w, r, badRequest("subscriptions need a WebSocket (subprotocol graphql-transport-ws) or server-sent events (Accept: text/event-stream)"))
		return
	case op.Operation.Operation == ast.Mutation && !mutations:
		w.Header().Set("Allow", http.MethodPost)
		Refuse(w, r, Refusal{Status: http.StatusMethodNotAllowed, Code: CodeValidationFailed, Message: "mutations must be sent by POST"})
		return
	}
	resp := once(ctx, exec, op)
	status := http.StatusOK
	if len(resp.Data) == 0 {
		status = statusOf(resp.Errors, media)
	}
	write(w, media, status, encode(resp))
}

// announceRetry sets Retry-After when the bucket of an operation was empty.
func announceRetry(w http.ResponseWriter, errs gqlerror.List) {
	for _, err := range errs {
		if ms, ok := err.Extensions["retryAfterMs"].(int64); ok && CodeOf(err) == CodeRateLimited {
			w.Header().Set("Retry-After", strconv.FormatInt(max(1, (ms+999)/1000), 10))
		}
	}
}

// once runs a query or mutation to its answer, which is never nil.
func once(ctx context.Context, exec graphql.GraphExecutor, op *graphql.OperationContext) *graphql.Response {
	next, ctx := exec.DispatchOperation(ctx, op)
	if resp := next(ctx); resp != nil {
		return resp
	}
	return exec.DispatchError(ctx, gqlerror.List{Error(CodeUnavailable, timedOut)})
}

// statusOf is the HTTP status of a request that was refused as a whole
// (GraphQL over HTTP §6.4): what is wrong with the document is 200 as
// application/json, whose readers look into the body, and 400 otherwise.
func statusOf(errs gqlerror.List, media string) int {
	for _, err := range errs {
		switch CodeOf(err) {
		case CodeUnauthenticated:
			return http.StatusUnauthorized
		case CodeRateLimited:
			return http.StatusTooManyRequests
		case CodeUnavailable:
			return http.StatusServiceUnavailable
		case CodeParseFailed, CodeValidationFailed:
			if media == mediaGraphQL {
				return http.StatusBadRequest
			}
		}
	}
	return http.StatusOK
}

// Package rest speaks the older contract, unchanged, for integrations that
// already exist. It is the only package that knows that contract's shapes.
package rest

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/enrichd/enrichd/billing"
	"github.com/enrichd/enrichd/dispatch"
	"github.com/enrichd/enrichd/internal/access"
	"github.com/enrichd/enrichd/internal/fault"
	"github.com/enrichd/enrichd/internal/pg"
)

// failure is one error answer of the contract.
type failure struct {
	status  int
	code    string
	message string
	details any
	// statusCode repeats the status in the body: scope failures do (contract row 37).
	statusCode int
	retryAfter time.Duration
}

// errorBody is the general envelope of a failure, in the contract's field order.
type errorBody struct {
	Success    bool        `json:"success"`
	Data       *struct{}   `json:"data"`
	Error      errorDetail `json:"error"`
	StatusCode int         `json:"statusCode,omitempty"`
	Timestamp  string      `json:"timestamp"`
}

type errorDetail struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Details any    `json:"details,omitempty"`
}

type validationDetails struct {
	Errors []fieldError `json:"errors"`
}

type fieldError struct {
	Field   string `json:"field"`
	Message string `json:"message"`
}

// The two forms of time on this surface: the sourcing family shows
// milliseconds, the general envelope whole seconds.
const (
	millis  = "2006-01-02T15:04:05.000Z"
	seconds = "2006-01-02T15:04:05Z"
)

// lockTimeout is PostgreSQL's code for a lock that was not got in time: here
// the row of an idempotency key whose first request is still at work.
const lockTimeout = "55P03"

// write sends one body. Every body is JSON with a boolean success.
func write(w http.ResponseWriter, status int, body any) {
	b, err := marshal(body)
	if err != nil {
		panic(err) // shapes of our own
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(status)
	w.Write(b) // the client may be gone; there is nobody left to tell
}

// marshal writes JSON as the contract shows it: no escaping for HTML, no trailing newline.
func marshal(v any) ([]byte, error) {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return []byte(strings.TrimSuffix(b.String(), "\n")), nil
}

func (f failure) write(w http.ResponseWriter) {
	if f.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(f.retryAfter/time.Second)))
	}
	if f.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	write(w, f.status, errorBody{
		Error:      errorDetail{Code: f.code, Message: f.message, Details: f.details},
		StatusCode: f.statusCode, Timestamp: time.Now().UTC().Format(seconds),
	})
}

// failureOf is the one table from errors to the contract's answers. What is not
// a refusal is ours to fix: its text stays on the server, under the request id.
func failureOf(err error, requestID string, log *slog.Logger) failure {
	var (
		suspended access.Suspended
		forbidden fault.Forbidden
		credits   billing.InsufficientCredits
		notFound  fault.NotFound
		unsubbed  dispatch.NotSubscribed
		reused    fault.IdempotencyKeyReused
		body      badBody
	)
	switch {
	case errors.Is(err, access.ErrInvalidKey):
		return failure{status: http.StatusUnauthorized, code: "INVALID_API_KEY", message: access.ErrInvalidKey.Error()}
	case errors.As(err, &suspended):
		return failure{status: http.StatusUnauthorized, code: "API_KEY_SUSPENDED", message: suspended.Error(),
			details: map[string]string{"suspendedAt": suspended.At.UTC().Format(seconds)}}
	case errors.As(err, &forbidden) && forbidden.RequiredScope != "":
		return failure{status: http.StatusForbidden, code: "INSUFFICIENT_PERMISSIONS", statusCode: http.StatusForbidden,
			message: "This API key does not have the required scope: " + forbidden.RequiredScope,
			details: map[string]string{"requiredScope": forbidden.RequiredScope}}
	case errors.As(err, &forbidden):
		return failure{status: http.StatusForbidden, code: "RESOURCE_ACCESS_DENIED", message: forbidden.Message}
	case errors.As(err, &body) && body.tooLarge:
		return failure{status: http.StatusRequestEntityTooLarge, code: "PAYLOAD_TOO_LARGE", message: body.Error()}
	case errors.As(err, &body):
		return validation(fieldError{body.field, body.Error()})
	case errors.As(err, &credits):
		code := "INSUFFICIENT_CREDITS"
		if credits.Limit {
			code = "BILLING_LIMIT_REACHED"
		}
		return failure{status: http.StatusPaymentRequired, code: code, message: credits.Message,
			details: struct {
				Required  int64 `json:"required"`
				Available int64 `json:"available"`
			}{credits.Required, credits.Available}}
	case errors.As(err, &unsubbed):
		events := make([]string, len(unsubbed.Required))
		for i, e := range unsubbed.Required {
			events[i] = string(e)
		}
		return failure{status: http.StatusUnprocessableEntity, code: "WEBHOOK_NOT_SUBSCRIBED", message: unsubbed.Error(),
			details: struct {
				RequiredEvents []string `json:"requiredEvents"`
				WebhookID      string   `json:"webhookId"`
			}{events, unsubbed.WebhookID}}
	case errors.As(err, &reused):
		return failure{status: http.StatusUnprocessableEntity, code: "IDEMPOTENCY_KEY_REUSED", message: reused.Error(),
			details: map[string]string{"originalRequestId": reused.OriginalRequestID}}
	case errors.As(err, &notFound) && notFound.Type == "":
		return failure{status: http.StatusNotFound, code: "REQUEST_NOT_FOUND", message: notFound.Message}
	case errors.As(err, &notFound):
		return failure{status: http.StatusNotFound, code: "RESOURCE_NOT_FOUND", message: notFound.Message,
			details: struct {
				ResourceType string `json:"resourceType"`
				ResourceID   string `json:"resourceId"`
			}{notFound.Type, notFound.ID}}
	case pg.Code(err) == lockTimeout:
		return failure{status: http.StatusConflict, code: "IDEMPOTENCY_IN_PROGRESS", retryAfter: time.Second,
			message: "A request with the same Idempotency-Key is still being processed"}
	}
	if users, rest := fault.Users(err); rest == nil && len(users) > 0 {
		var fields []fieldError
		for _, u := range users {
			fields = append(fields, fieldError{strings.Join(u.Where(), "."), u.Error()})
		}
		return validation(fields...)
	}
	log.Error("rest", "request_id", requestID, "err", err)
	details := map[string]string{"requestId": requestID}
	if pg.IsUnavailable(err) {
		return failure{status: http.StatusServiceUnavailable, code: "SERVICE_UNAVAILABLE", retryAfter: time.Second,
			message: "The service is temporarily unavailable", details: details}
	}
	return failure{status: http.StatusInternalServerError, code: "INTERNAL_ERROR", message: "An internal error occurred", details: details}
}

func validation(errs ...fieldError) failure {
	return failure{status: http.StatusBadRequest, code: "VALIDATION_ERROR", message: "Request validation failed", details: validationDetails{errs}}
}

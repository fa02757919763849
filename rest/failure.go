package rest

import (
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
	"github.com/enrichd/enrichd/internal/limit"
	"github.com/enrichd/enrichd/internal/pg"
)

// failure is one error answer of the contract, before its route dresses it.
type failure struct {
	status  int
	code    string
	message string
	details any
	// statusCode repeats the status in the body: scope failures do (contract row 37).
	statusCode int
	retryAfter time.Duration
}

// The details that are more than one text, in their field order.
type (
	suspendedDetails struct {
		SuspendedAt string  `json:"suspendedAt"`
		Reason      *string `json:"reason"`
	}
	creditDetails struct {
		Required  int64 `json:"required"`
		Available int64 `json:"available"`
	}
	subscriptionDetails struct {
		RequiredEvents []string `json:"requiredEvents"`
		WebhookID      string   `json:"webhookId"`
	}
	resourceDetails struct {
		ResourceType string `json:"resourceType"`
		ResourceID   string `json:"resourceId"`
	}
)

// lockTimeout is PostgreSQL's code for a lock that was not got in time: here
// the row of an idempotency key whose first request is still at work.
const lockTimeout = "55P03"

func (f failure) write(w http.ResponseWriter, s style, o Open) {
	if f.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(f.retryAfter/time.Second)))
	}
	if f.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	write(w, f.status, s.media(true), s.failure(f, o, time.Now()))
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
		conflict  fault.Conflict
		exceeded  limit.Exceeded
		guessing  access.TooManyFailures
		body      badBody
		fields    badFields
		own       failure
	)
	if f, known := webhookRefusal(err, time.Now()); known {
		return f
	}
	switch {
	case errors.As(err, &own):
		if own.status == http.StatusServiceUnavailable {
			log.Info("rest", "request_id", requestID, "err", err)
			own.details = map[string]string{"requestId": requestID}
		}
		return own
	case errors.Is(err, access.ErrInvalidKey):
		return failure{status: http.StatusUnauthorized, code: "INVALID_API_KEY", message: access.ErrInvalidKey.Error()}
	case errors.As(err, &guessing):
		// No figures: limits are not disclosed to those who have no key.
		return failure{status: http.StatusTooManyRequests, code: "RATE_LIMIT_EXCEEDED", message: guessing.Error(), retryAfter: wholeSeconds(guessing.RetryAfter)}
	case errors.As(err, &suspended):
		details := suspendedDetails{SuspendedAt: suspended.At.UTC().Format(seconds)}
		if suspended.Reason != "" {
			details.Reason = &suspended.Reason
		}
		return failure{status: http.StatusUnauthorized, code: "API_KEY_SUSPENDED", message: suspended.Error(), details: details}
	case errors.As(err, &forbidden) && forbidden.RequiredScope != "":
		return failure{status: http.StatusForbidden, code: "INSUFFICIENT_PERMISSIONS", statusCode: http.StatusForbidden,
			message: "This API key does not have the required scope: " + forbidden.RequiredScope,
			details: map[string]string{"requiredScope": forbidden.RequiredScope}}
	case errors.As(err, &forbidden):
		return failure{status: http.StatusForbidden, code: "RESOURCE_ACCESS_DENIED", message: forbidden.Message}
	case errors.As(err, &exceeded):
		return limited(exceeded.Verdict)
	case errors.As(err, &body) && body.tooLarge:
		return failure{status: http.StatusRequestEntityTooLarge, code: "PAYLOAD_TOO_LARGE", message: body.Error()}
	case errors.As(err, &body):
		return validation(fieldError{"", body.Error()})
	case errors.As(err, &fields):
		return validation(fields...)
	case errors.As(err, &credits):
		code := "INSUFFICIENT_CREDITS"
		if credits.Limit {
			code = "BILLING_LIMIT_REACHED"
		}
		return failure{status: http.StatusPaymentRequired, code: code, message: credits.Message,
			details: creditDetails{credits.Required, credits.Available}}
	case errors.As(err, &unsubbed):
		events := make([]string, len(unsubbed.Required))
		for i, e := range unsubbed.Required {
			events[i] = string(e)
		}
		return failure{status: http.StatusUnprocessableEntity, code: "WEBHOOK_NOT_SUBSCRIBED", message: unsubbed.Error(),
			details: subscriptionDetails{events, unsubbed.WebhookID}}
	case errors.As(err, &reused):
		return failure{status: http.StatusUnprocessableEntity, code: "IDEMPOTENCY_KEY_REUSED", message: reused.Error(),
			details: map[string]string{"originalRequestId": reused.OriginalRequestID}}
	case errors.As(err, &conflict):
		return failure{status: http.StatusConflict, code: "CONFLICT", message: conflict.Error(),
			details: map[string]string{"state": conflict.State}}
	case errors.As(err, &notFound):
		return failure{status: http.StatusNotFound, code: "RESOURCE_NOT_FOUND", message: notFound.Message,
			details: resourceDetails{notFound.Type, notFound.ID}}
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

// Error returns the message, so that a handler can return an answer as it stands.
func (f failure) Error() string { return f.message }

func validation(errs ...fieldError) failure {
	return failure{status: http.StatusBadRequest, code: "VALIDATION_ERROR", message: "Request validation failed", details: validationDetails{errs}}
}

// limited is the 429; the header Retry-After and the body's figure are one.
func limited(v limit.Verdict) failure {
	window := v.Refusing()
	return failure{
		status: http.StatusTooManyRequests, code: "RATE_LIMIT_EXCEEDED", message: limit.Exceeded{}.Error(), retryAfter: v.RetryAfter,
		details: limitDetails{RetryAfter: int64(v.RetryAfter / time.Second), Limit: window.Limit, Reset: window.Reset.Unix()},
	}
}

// wholeSeconds rounds up to at least one second.
func wholeSeconds(d time.Duration) time.Duration {
	return max(time.Second, (d + time.Second - 1).Truncate(time.Second))
}

// noRun is the one answer about a run that is unknown, another company's, or no run at all.
func noRun() error {
	return failure{status: http.StatusNotFound, code: "REQUEST_NOT_FOUND", message: "Enrichment request not found"}
}

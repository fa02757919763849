package rest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/enrichd/enrichd/dispatch"
	"github.com/enrichd/enrichd/internal/access"
	"github.com/enrichd/enrichd/internal/ident"
)

func (a *API) createWebhook(w http.ResponseWriter, req *http.Request) error {
	body, err := readBody(w, req)
	if err != nil {
		return err
	}
	in := dispatch.OlderWebhookInput{
		Name: body.text("name"), Description: body.text("description"), CompanyID: body.uuid("companyId"),
		Headers: headersOf(body), Events: eventsOf(body),
	}
	if url := required(body, "url", body.text("url")); url != nil {
		in.URL = *url
	}
	if in.Events == nil && !body.blamed("events") {
		body.problem("events", "is required")
	}
	if err := body.err(); err != nil {
		return err
	}
	ctx := req.Context()
	if in.CompanyID != nil {
		if ctx, err = actFor(ctx, *in.CompanyID); err != nil {
			return err
		}
	}
	made, secret, err := a.Dispatch.CreateOlderWebhook(ctx, in)
	if err != nil {
		return err
	}
	bare.answer(w, http.StatusCreated, webhookCreated{
		ID: made.ID, SigningSecret: secret, URL: made.URL, Events: made.Events, IsActive: isActive(made),
	})
	return nil
}

const (
	defaultPageSize = 20
	maxPageSize     = 100
	maxPage         = 10_000
)

func (a *API) listWebhooks(w http.ResponseWriter, req *http.Request) error {
	q, bad := req.URL.Query(), &object{}
	number := func(name string, otherwise, most int) int {
		if !q.Has(name) {
			return otherwise
		}
		n, err := strconv.Atoi(q.Get(name))
		if err != nil || n < 1 || n > most {
			bad.problem(name, "must be between 1 and %d", most)
		}
		return n
	}
	page, size := number("page", 1, maxPage), number("limit", defaultPageSize, maxPageSize)
	var company *string
	if id := canonical(q.Get("companyId")); id != "" {
		company = &id
		if !ident.IsUUID(id) {
			bad.problem("companyId", "must be a UUID")
		}
	}
	if err := bad.err(); err != nil {
		return err
	}
	rows, total, err := a.Dispatch.WebhooksOfKey(req.Context(), company, page, size)
	if err != nil {
		return err
	}
	out := webhookList{Data: []webhookItem{}, Total: total}
	for _, row := range rows {
		out.Data = append(out.Data, webhookOf(row))
	}
	bare.answer(w, http.StatusOK, out)
	return nil
}

// webhook is the webhook that the path names; an unknown one is not found,
// another key's is denied. The context acts for the webhook's company.
func (a *API) webhook(req *http.Request) (context.Context, *dispatch.Webhook, error) {
	ctx := req.Context()
	hook, err := a.Dispatch.WebhookOfKey(ctx, canonical(req.PathValue("id")))
	if err != nil || hook.CompanyID == nil {
		return ctx, hook, err
	}
	ctx, err = actFor(ctx, *hook.CompanyID)
	return ctx, hook, err
}

// actFor lets the asking key act for a company that it reaches.
func actFor(ctx context.Context, companyID string) (context.Context, error) {
	p, err := access.From(ctx).For(companyID)
	if err != nil {
		return ctx, err
	}
	return access.With(ctx, p), nil
}

func (a *API) getWebhook(w http.ResponseWriter, req *http.Request) error {
	_, hook, err := a.webhook(req)
	if err != nil {
		return err
	}
	bare.answer(w, http.StatusOK, webhookOf(hook))
	return nil
}

func (a *API) updateWebhook(w http.ResponseWriter, req *http.Request) error {
	body, err := readBody(w, req)
	if err != nil {
		return err
	}
	for _, name := range []string{"url", "events", "headers", "isActive"} {
		if body.null(name) {
			body.problem(name, "must not be null")
		}
	}
	change := dispatch.WebhookChange{
		URL: body.text("url"), Headers: headersOf(body), EventTypes: eventsOf(body), Enabled: body.flag("isActive"),
		Name:        dispatch.OptionalText{Given: body.given("name"), Text: body.text("name")},
		Description: dispatch.OptionalText{Given: body.given("description"), Text: body.text("description")},
	}
	if err := body.err(); err != nil {
		return err
	}
	ctx, hook, err := a.webhook(req)
	if err != nil {
		return err
	}
	if hook, err = a.Dispatch.UpdateWebhook(ctx, hook.ID, change); err != nil {
		return err
	}
	bare.answer(w, http.StatusOK, webhookOf(hook))
	return nil
}

func (a *API) deleteWebhook(w http.ResponseWriter, req *http.Request) error {
	ctx, hook, err := a.webhook(req)
	if err != nil {
		return err
	}
	if err := a.Dispatch.DeleteWebhook(ctx, hook.ID); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (a *API) resetCircuit(w http.ResponseWriter, req *http.Request) error {
	ctx, hook, err := a.webhook(req)
	if err != nil {
		return err
	}
	if hook, err = a.Dispatch.ResetCircuit(ctx, hook.ID); err != nil {
		return err
	}
	bare.answer(w, http.StatusOK, webhookOf(hook))
	return nil
}

// The two shapes of the data of a test.
type (
	testPassed struct {
		Success    bool   `json:"success"`
		DeliveryID string `json:"deliveryId"`
		HTTPStatus int    `json:"httpStatus"`
		DurationMs int    `json:"durationMs"`
		Message    string `json:"message"`
	}
	testFailed struct {
		Success bool   `json:"success"`
		Message string `json:"message"`
	}
)

// What a test says when nothing was sent.
const (
	notSubscribedToPing = "Webhook is not subscribed to ping events. Add the ping event to the webhook configuration."
	notDelivering       = "No delivery was created. This may indicate the webhook is disabled or circuit breaker is open."
)

// testWebhook sends a ping at once; that the receiver failed is no failure of the call.
func (a *API) testWebhook(w http.ResponseWriter, req *http.Request) error {
	ctx, hook, err := a.webhook(req)
	if err != nil {
		return err
	}
	var data any
	switch {
	case !hook.Subscribed(dispatch.Ping):
		data = testFailed{Message: notSubscribedToPing}
	case !isActive(hook):
		data = testFailed{Message: notDelivering}
	default:
		result, err := a.Dispatch.TestWebhook(ctx, hook.ID, dispatch.Ping)
		if err != nil {
			return err
		}
		data = testOf(result)
	}
	bare.answer(w, http.StatusOK, data)
	return nil
}

func testOf(r *dispatch.TestResult) any {
	if r.Delivery.Status != dispatch.DeliveryDelivered || r.Attempt.StatusCode == nil {
		return testFailed{Message: "Webhook test failed: " + failedBy(r.Attempt)}
	}
	return testPassed{
		Success: true, DeliveryID: r.Delivery.ID, HTTPStatus: *r.Attempt.StatusCode, DurationMs: r.Attempt.DurationMillis,
		Message: "Webhook test successful!",
	}
}

// failures names the error classes of an attempt for people. Nothing that the receiver said is ever told.
var failures = map[string]string{
	"timeout": "Connection timeout", "refused": "Address refused", "dns_failed": "Host not found", "connect_failed": "Connection failed",
	"tls_failed": "TLS handshake failed", "too_large": "Response too large",
}

func failedBy(attempt *dispatch.DeliveryAttempt) string {
	switch {
	case attempt.Error != nil && failures[*attempt.Error] != "":
		return failures[*attempt.Error]
	case attempt.Error == nil && attempt.StatusCode != nil:
		return fmt.Sprintf("HTTP status %d", *attempt.StatusCode)
	}
	return "Connection broken"
}

// webhookRefusal turns what only the webhook family refuses into answers.
func webhookRefusal(err error, now time.Time) (failure, bool) {
	var early dispatch.CircuitResetTooSoon
	var often dispatch.TestsTooOften
	switch {
	case errors.As(err, &early):
		return failure{
			status: http.StatusConflict, code: "CIRCUIT_RESET_TOO_SOON", message: early.Error(), retryAfter: wholeSeconds(early.RetryAfter),
		}, true
	case errors.As(err, &often):
		wait := wholeSeconds(often.RetryAfter)
		return failure{
			status: http.StatusTooManyRequests, code: "RATE_LIMIT_EXCEEDED", message: "Rate limit exceeded", retryAfter: wait,
			details: limitDetails{RetryAfter: int64(wait / time.Second), Limit: int64(often.Limit), Reset: now.Add(wait).Unix()},
		}, true
	}
	return failure{}, false
}

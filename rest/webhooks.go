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

// webhookItem is a webhook, in the contract's field order; what is unknown is null.
type webhookItem struct {
	ID                  string               `json:"id"`
	APIKeyID            string               `json:"apiKeyId"`
	CompanyID           *string              `json:"companyId"`
	URL                 string               `json:"url"`
	Name                *string              `json:"name"`
	Description         *string              `json:"description"`
	Headers             []webhookHeader      `json:"headers"`
	Events              []dispatch.EventType `json:"events"`
	IsActive            bool                 `json:"isActive"`
	MaxRetries          int                  `json:"maxRetries"`
	TimeoutMs           int                  `json:"timeoutMs"`
	ConsecutiveFailures int                  `json:"consecutiveFailures"`
	CircuitOpenedAt     *string              `json:"circuitOpenedAt"`
	CreatedAt           string               `json:"createdAt"`
	UpdatedAt           string               `json:"updatedAt"`
}

type webhookHeader struct {
	Name     string `json:"name"`
	IsMasked bool   `json:"isMasked"`
}

// webhookCreated is the answer to a creation; the secret is shown this once.
type webhookCreated struct {
	ID            string               `json:"id"`
	SigningSecret string               `json:"signingSecret"`
	URL           string               `json:"url"`
	Events        []dispatch.EventType `json:"events"`
	IsActive      bool                 `json:"isActive"`
}

// webhookList lies in the envelope's data, so that the answer has data within data.
type webhookList struct {
	Data  []webhookItem `json:"data"`
	Total int           `json:"total"`
}

func webhookOf(w *dispatch.Webhook) webhookItem {
	item := webhookItem{
		ID: w.ID, APIKeyID: w.APIKeyID, CompanyID: w.CompanyID, URL: w.URL, Name: w.Name, Description: w.Description,
		Headers: []webhookHeader{}, Events: append([]dispatch.EventType{}, w.Events...), IsActive: isActive(w),
		MaxRetries: w.MaxRetries, TimeoutMs: w.TimeoutMillis, ConsecutiveFailures: w.ConsecutiveFailures,
		CreatedAt: w.CreatedAt.UTC().Format(seconds), UpdatedAt: w.UpdatedAt.UTC().Format(seconds),
	}
	for _, h := range w.Headers() {
		item.Headers = append(item.Headers, webhookHeader{h.Name, h.Masked})
	}
	if w.CircuitOpenedAt != nil {
		at := w.CircuitOpenedAt.UTC().Format(seconds)
		item.CircuitOpenedAt = &at
	}
	return item
}

// isActive is the owner's wish and a circuit that is not open.
func isActive(w *dispatch.Webhook) bool { return w.Enabled && w.CircuitState == dispatch.CircuitClosed }

func (a *API) createWebhook(w http.ResponseWriter, req *http.Request) error {
	body, err := readBody(w, req)
	if err != nil {
		return err
	}
	in := dispatch.OlderWebhookInput{
		Name: body.text("name"), Description: body.text("description"), CompanyID: body.text("companyId"),
		Headers: headersOf(body), Events: eventsOf(body),
	}
	if url := required(body, "url", body.text("url")); url != nil {
		in.URL = *url
	}
	if in.Events == nil && !body.blamed("events") {
		body.problem("events", "is required")
	}
	if in.CompanyID != nil && !ident.IsUUID(*in.CompanyID) {
		body.problem("companyId", "must be a UUID")
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

// required blames a field that is absent, null or empty.
func required(body *object, name string, value *string) *string {
	if (value == nil || *value == "") && !body.blamed(name) {
		body.problem(name, "is required")
	}
	return value
}

// headersOf reads the custom headers; nil when there are none in the body.
func headersOf(body *object) []dispatch.WebhookHeaderInput {
	if !body.has("headers") {
		return nil
	}
	headers := []dispatch.WebhookHeaderInput{}
	for i, h := range body.objects("headers") {
		path := "headers." + strconv.Itoa(i)
		name, value := required(h, "name", h.text("name")), required(h, "value", h.text("value"))
		body.adopt(path, h)
		if name != nil && value != nil {
			headers = append(headers, dispatch.WebhookHeaderInput{Name: *name, Value: *value})
		}
	}
	return headers
}

// eventsOf reads the event types in any of their spellings; nil when there are none in the body.
func eventsOf(body *object) []dispatch.EventType {
	if !body.has("events") {
		return nil
	}
	events := []dispatch.EventType{}
	for i, raw := range body.list("events") {
		t, known := parseEvent(raw)
		if !known {
			body.problem("events."+strconv.Itoa(i), "is no type of event")
			continue
		}
		events = append(events, t)
	}
	if len(events) == 0 && !body.blamed("events") {
		body.problem("events", "must name at least one type of event")
	}
	return events
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
	if id := q.Get("companyId"); id != "" {
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
	hook, err := a.Dispatch.WebhookOfKey(ctx, req.PathValue("id"))
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

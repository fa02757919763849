package rest

import (
	"strconv"

	"github.com/enrichd/enrichd/dispatch"
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

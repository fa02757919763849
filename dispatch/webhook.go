package dispatch

import (
	"slices"
	"time"

	"github.com/uptrace/bun"

	"github.com/enrichd/enrichd/internal/fault"
	"github.com/enrichd/enrichd/internal/page"
)

// Webhook is a subscription of a company: the row, the Go value and the GraphQL type.
type Webhook struct {
	bun.BaseModel `bun:"table:webhooks,alias:w"`

	ID string `bun:"id,pk"`
	// CompanyID is nil on a global webhook of the older contract, which hears of every company of its key.
	CompanyID *string `bun:"company_id"`
	APIKeyID  string  `bun:"api_key_id"`
	// Test says that a test key made it: it hears of test runs only, and only test keys see it.
	Test        bool    `bun:"test"`
	URL         string  `bun:"url"`
	Name        *string `bun:"name"`
	Description *string `bun:"description"`
	// HeaderNames are the custom headers' names in the order given; their values are sealed beside them.
	HeaderNames   []string `bun:"header_names,array"`
	SealedHeaders []byte   `bun:"sealed_headers"`
	// Events are the subscribed types as stored, older spellings included.
	Events        []EventType `bun:"event_types,array"`
	AllRuns       bool        `bun:"all_runs"`
	MaxRetries    int         `bun:"max_retries"`    // after the first attempt
	TimeoutMillis int         `bun:"timeout_millis"` // for a whole attempt
	Enabled       bool        `bun:"enabled"`
	// DisabledReason is set when the service disabled it on its owner's behalf ("GONE": the receiver answered 410).
	DisabledReason *string `bun:"disabled_reason"`
	// ConsecutiveFailures counts failed attempts of any delivery since the last success; FailingSince is the first of them.
	ConsecutiveFailures int          `bun:"consecutive_failures"`
	FailingSince        *time.Time   `bun:"failing_since"`
	CircuitState        CircuitState `bun:"circuit_state,nullzero,default:'CLOSED'"`
	CircuitOpenedAt     *time.Time   `bun:"circuit_opened_at"`
	CircuitRetryAt      *time.Time   `bun:"circuit_retry_at"`
	CreatedAt           time.Time    `bun:"created_at"`
	UpdatedAt           time.Time    `bun:"updated_at"`
	DeletedAt           *time.Time   `bun:"deleted_at"`

	// SecretHints are the first characters of each secret in force, newest first.
	SecretHints []string `bun:"secret_hints,scanonly,array"`
	// OwnerID is the company whose activity tells of it: its own, or that of its key.
	OwnerID string `bun:"owner_id,scanonly"`
}

// EventTypes returns the subscribed types that fire.
func (w *Webhook) EventTypes() []EventType {
	types := make([]EventType, 0, len(w.Events))
	for _, t := range w.Events {
		if t.Fires() {
			types = append(types, t)
		}
	}
	return types
}

// Subscribed reports whether the webhook asked for at least one of types.
func (w *Webhook) Subscribed(types ...EventType) bool {
	return slices.ContainsFunc(types, func(t EventType) bool { return slices.Contains(w.Events, t) })
}

// Headers returns the custom headers without their values, which are never shown.
func (w *Webhook) Headers() []WebhookHeader {
	headers := make([]WebhookHeader, len(w.HeaderNames))
	for i, name := range w.HeaderNames {
		headers[i] = WebhookHeader{Name: name, Masked: secretive(name)}
	}
	return headers
}

// WebhookHeader is a custom header as it may be shown.
type WebhookHeader struct {
	Name string
	// Masked says that the name promises a secret.
	Masked bool
}

// WebhookEdge is a webhook in a page.
type WebhookEdge struct{ page.Edge[*Webhook] }

// WebhookConnection is a page of webhooks, newest first.
type WebhookConnection struct {
	page.Connection[WebhookEdge, *Webhook]
}

// EndpointRejected says that deliveries to the URL are refused.
type EndpointRejected struct {
	fault.Head
	Reason string
}

// Code is ENDPOINT_REJECTED.
func (EndpointRejected) Code() fault.Code { return fault.CodeEndpointRejected }

// NotSubscribed says that a run names a webhook that would hear neither of its end nor of its failure.
type NotSubscribed struct {
	fault.Conflict
	WebhookID string
	// Required are the types of which one at least must be subscribed.
	Required []EventType
}

// General is the refusal by the type that the schema knows.
func (n NotSubscribed) General() fault.User { return n.Conflict }

// IsNode marks Webhook as a GraphQL Node.
func (*Webhook) IsNode() {}

package dispatch

import (
	"encoding/json"
	"time"

	"github.com/uptrace/bun"

	"github.com/enrichd/enrichd/internal/page"
)

// DeliveryStatus is where a delivery is in its life.
type DeliveryStatus string

// A delivery begins PENDING, is RETRYING after a failed attempt and HELD while
// the webhook's circuit is open; DELIVERED and EXHAUSTED are its two ends.
const (
	DeliveryPending   DeliveryStatus = "PENDING"
	DeliveryDelivered DeliveryStatus = "DELIVERED"
	DeliveryRetrying  DeliveryStatus = "RETRYING"
	DeliveryExhausted DeliveryStatus = "EXHAUSTED"
	DeliveryHeld      DeliveryStatus = "HELD"
)

// Delivery is one event on its way to one webhook.
type Delivery struct {
	bun.BaseModel `bun:"table:deliveries,alias:d"`

	ID        string `bun:"id,pk"`
	CompanyID string `bun:"company_id"`
	EventID   string `bun:"event_id"`
	WebhookID string `bun:"webhook_id"`
	// Body is exactly what was signed and sent; nil once a person in it was erased.
	Body   []byte         `bun:"body"`
	Status DeliveryStatus `bun:"status"`
	// AttemptCount counts admissions, so an attempt that died with its node is counted and has no log row.
	AttemptCount  int        `bun:"attempts"`
	NextAttemptAt *time.Time `bun:"next_attempt_at"`
	LeaseID       *string    `bun:"lease_id"`
	LeaseUntil    *time.Time `bun:"lease_until"`
	LeaseJobID    *int64     `bun:"lease_job_id"`
	JobID         *int64     `bun:"job_id"`
	Ping          bool       `bun:"ping"`   // sent once by a test: never retried, held or counted
	Manual        bool       `bun:"manual"` // queued again on request
	CreatedAt     time.Time  `bun:"created_at,nullzero,default:now()"`
	CompletedAt   *time.Time `bun:"completed_at"`

	// From the event.
	EventType EventType `bun:"event_type,scanonly"`
	RunID     *string   `bun:"run_id,scanonly"`
	EventAt   time.Time `bun:"event_at,scanonly"`
}

// Payload returns the exact body that was signed; once a person in it was
// erased, an envelope whose data says only that.
func (d *Delivery) Payload() json.RawMessage {
	if d.Body == nil {
		return envelope(d.EventType, d.EventAt, d.ID, []byte(`{"erased":true}`))
	}
	return d.Body
}

// maxShownBody is how much of a receiver's answer is shown, in bytes.
const maxShownBody = 4 << 10

// DeliveryAttempt is one HTTP try, as it was recorded.
type DeliveryAttempt struct {
	bun.BaseModel `bun:"table:delivery_attempts,alias:a"`

	DeliveryID string    `bun:"delivery_id,pk"`
	Number     int       `bun:"number,pk"`
	StartedAt  time.Time `bun:"started_at,pk"`

	// Milliseconds; nil where the attempt did not come so far.
	DNSMillis       *int `bun:"dns_millis"`
	ConnectMillis   *int `bun:"connect_millis"`
	TLSMillis       *int `bun:"tls_millis"`
	FirstByteMillis *int `bun:"first_byte_millis"`
	DurationMillis  int  `bun:"duration_millis"`

	RemoteIP   *string `bun:"remote_ip"` // never shown to callers
	StatusCode *int    `bun:"status_code"`
	// Error is the class of the transport failure when no response came, such as "timeout".
	Error           *string           `bun:"error_class"`
	ResponseHeaders map[string]string `bun:"response_headers,type:jsonb"` // a fixed few
	Response        []byte            `bun:"response_body"`               // at most 16 KiB
	ResponseSHA256  []byte            `bun:"response_sha256"`             // of what was kept
	Truncated       bool              `bun:"truncated"`
	Manual          bool              `bun:"manual"`
	SecretIDs       []string          `bun:"secret_ids,array"` // which secrets signed, newest first
}

// ResponseBody returns up to 4 KiB of the answer as valid UTF-8; nil when none came, or none was kept.
func (a *DeliveryAttempt) ResponseBody() *string {
	if a.StatusCode == nil || a.Response == nil {
		return nil
	}
	text := showable(a.Response, maxShownBody)
	return &text
}

// DeliveryEdge is a delivery in a page.
type DeliveryEdge struct{ page.Edge[*Delivery] }

// DeliveryConnection is a page of deliveries, newest first.
type DeliveryConnection struct {
	page.Connection[DeliveryEdge, *Delivery]
}

// DeliveryFilter narrows a list of deliveries; nil and empty fields do not.
type DeliveryFilter struct {
	WebhookID     *string
	RequestID     *string
	Status        []DeliveryStatus
	EventTypes    []EventType
	CreatedAfter  *time.Time // inclusive
	CreatedBefore *time.Time // exclusive
}

// IsNode marks Delivery as a GraphQL Node.
func (*Delivery) IsNode() {}

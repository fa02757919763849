package dispatch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"github.com/enrichd/enrichd/internal/ident"
)

// EventType names what happened, in the dotted spelling of the wire.
type EventType string

// The types that fire. A webhook may also store other spellings of the older
// contract, kept so that an existing configuration can be replayed; they never fire.
const (
	EnrichStarted          EventType = "enrich.started"
	EnrichCompleted        EventType = "enrich.completed"
	EnrichFailed           EventType = "enrich.failed"
	EnrichProfileCompleted EventType = "enrich.profile_completed"
	EnrichProfileFailed    EventType = "enrich.profile_failed"
	CreditsLow             EventType = "credits.low"
	Ping                   EventType = "ping"
)

// EventTypes are the types that fire, in the order of the GraphQL enum.
var EventTypes = []EventType{EnrichStarted, EnrichCompleted, EnrichFailed, EnrichProfileCompleted, EnrichProfileFailed, CreditsLow, Ping}

// olderTypes are accepted and stored, and never fire.
var olderTypes = []EventType{
	"analysis.completed", "analysis.failed",
	"interview.completed", "interview.failed", "interview.started",
	"sourcing.completed", "sourcing.failed",
}

// Fires reports whether events of type t exist.
func (t EventType) Fires() bool { return slices.Contains(EventTypes, t) }

// Known reports whether a webhook may store t.
func (t EventType) Known() bool { return t.Fires() || slices.Contains(olderTypes, t) }

// Event is one thing that happened and is to be announced.
type Event struct {
	Type      EventType
	CompanyID string
	RunID     string // "" when no run is concerned
	Sequence  int    // the run's last sequence, so that a receiver can order what arrives out of order
	// WebhookID is the webhook that the run names. It gets the event if it is
	// enabled and subscribed, whether or not it asks for all runs.
	WebhookID *string
	// Test says that the cause is a test key's: only webhooks made by test keys hear of it, and they of nothing else.
	Test bool
	// Data is the rendered JSON that every receiver gets byte for byte.
	Data []byte
	At   time.Time // when it happened; the body shows milliseconds, in UTC
}

// timestampLayout is the envelope's timestamp: milliseconds and a Z.
const timestampLayout = "2006-01-02T15:04:05.000Z"

// envelope renders the body of one delivery: event, timestamp, deliveryId and
// data in this order, data exactly as given. It is rendered once; what is
// stored is what is signed and sent, on every attempt.
func envelope(t EventType, at time.Time, deliveryID string, data []byte) []byte {
	b := make([]byte, 0, len(data)+128)
	b = append(b, `{"event":"`...)
	b = append(b, t...)
	b = append(b, `","timestamp":"`...)
	b = at.UTC().AppendFormat(b, timestampLayout)
	b = append(b, `","deliveryId":"`...)
	b = append(b, deliveryID...)
	b = append(b, `","data":`...)
	b = append(b, data...)
	return append(b, '}')
}

// Publish announces events: it writes them, one delivery for each webhook that
// is to hear of each, and the deliveries' jobs, all in the caller's transaction,
// so that an announcement exists exactly when its cause was committed. Two
// statements and one insertion of jobs whatever the number; one statement when
// nobody listens. An event without a receiver leaves no row. Data must be valid JSON.
func (s *Service) Publish(ctx context.Context, tx bun.Tx, events ...Event) error {
	if len(events) == 0 {
		return nil
	}
	rows := make([]eventRow, len(events))
	for i, e := range events {
		if !e.Type.Fires() || e.At.IsZero() {
			return fmt.Errorf("publish %q: not an event that fires, or without its time", e.Type)
		}
		rows[i] = eventRow{ID: ident.New("evt"), Event: e}
	}
	receivers, err := s.store.addEvents(ctx, tx, rows)
	if err != nil || len(receivers) == 0 {
		return err
	}
	deliveries := make([]*Delivery, 0, len(receivers))
	for _, r := range receivers {
		e := rows[r.Index]
		if !json.Valid(e.Data) {
			return errors.New("publish " + string(e.Type) + ": data is not JSON")
		}
		id := ident.NewRandomUUID()
		deliveries = append(deliveries, &Delivery{
			ID: id, CompanyID: e.CompanyID, EventID: e.ID, WebhookID: r.WebhookID,
			Body: envelope(e.Type, e.At, id, e.Data), Status: DeliveryPending,
		})
	}
	if err := s.enqueue(ctx, tx, deliveries, priorityFirst); err != nil {
		return err
	}
	return s.store.addDeliveries(ctx, tx, deliveries)
}

// WillDeliver reports for each event whether Publish would deliver it to anyone,
// in one statement, so that a caller need not render Data that nobody reads. Data may be nil here.
func (s *Service) WillDeliver(ctx context.Context, db bun.IDB, events ...Event) ([]bool, error) {
	wanted := make([]bool, len(events))
	if len(events) == 0 {
		return wanted, nil
	}
	rows := make([]eventRow, len(events))
	for i, e := range events {
		rows[i] = eventRow{Event: e}
	}
	receivers, err := s.store.receivers(ctx, db, rows)
	for _, r := range receivers {
		wanted[r.Index] = true
	}
	return wanted, err
}

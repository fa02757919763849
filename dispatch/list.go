package dispatch

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/enrichd/enrichd/internal/fault"
	"github.com/enrichd/enrichd/internal/ident"
	"github.com/enrichd/enrichd/internal/page"
)

// place is where a page begins: strictly after it in the order newest first.
type place struct {
	At time.Time
	ID string
}

func sortKey(at time.Time, id string) string { return strconv.FormatInt(at.UnixMicro(), 10) + "." + id }

// position checks a and returns where its page begins, nil at the start.
func position(a page.Args) (*place, error) {
	if err := a.Check(); err != nil {
		return nil, err
	}
	key, err := a.Position()
	if err != nil || key == "" {
		return nil, err
	}
	micros, id, ok := strings.Cut(key, ".")
	at, err := strconv.ParseInt(micros, 10, 64)
	// Bounded, because PostgreSQL refuses times that Go can hold.
	if !ok || err != nil || at < 0 || at > 1<<53 || !ident.IsUUID(id) {
		return nil, fault.Invalid("after", "is not a cursor of this list")
	}
	return &place{At: time.UnixMicro(at).UTC(), ID: id}, nil
}

// Deliveries returns a page of the asking company's deliveries, newest first.
func (s *Service) Deliveries(ctx context.Context, a page.Args, f DeliveryFilter) (DeliveryConnection, error) {
	p, err := asking(ctx)
	if err != nil {
		return DeliveryConnection{}, err
	}
	before, err := position(a)
	if err != nil {
		return DeliveryConnection{}, err
	}
	if err := f.check(); err != nil {
		return DeliveryConnection{}, err
	}
	rows, err := s.store.deliveries(ctx, s.DB, p, f, before, a.First+1)
	if err != nil {
		return DeliveryConnection{}, err
	}
	return deliveryPage(rows, a), nil
}

func deliveryPage(rows []*Delivery, a page.Args) DeliveryConnection {
	return DeliveryConnection{page.Make(rows, a,
		func(d *Delivery) string { return sortKey(d.CreatedAt, d.ID) },
		func(e page.Edge[*Delivery]) DeliveryEdge { return DeliveryEdge{e} })}
}

// DeliveriesOf returns for each webhook a page of the asking company's
// deliveries to it, newest first, by webhook id. status narrows it when given.
func (s *Service) DeliveriesOf(ctx context.Context, webhookIDs []string, a page.Args, status []DeliveryStatus) (map[string]*DeliveryConnection, error) {
	p, err := asking(ctx)
	if err != nil {
		return nil, err
	}
	before, err := position(a)
	if err != nil {
		return nil, err
	}
	rows, err := s.store.deliveriesOf(ctx, s.DB, p, webhookIDs, status, before, a.First+1)
	if err != nil {
		return nil, err
	}
	by := make(map[string]*DeliveryConnection, len(webhookIDs))
	for _, id := range webhookIDs {
		c := deliveryPage(rows[id], a)
		by[id] = &c
	}
	return by, nil
}

func (f DeliveryFilter) check() error {
	for path, text := range map[string]*string{"filter.webhookId": f.WebhookID, "filter.requestId": f.RequestID} {
		if text != nil {
			if err := fault.Characters(path, *text, 255); err != nil {
				return err
			}
		}
	}
	for path, at := range map[string]*time.Time{"filter.createdAfter": f.CreatedAfter, "filter.createdBefore": f.CreatedBefore} {
		if at != nil && (at.Year() < 1 || at.Year() > 9999) {
			return fault.Invalid(path, "is out of range")
		}
	}
	return nil
}

// Delivery returns one delivery; nil when it is unknown or another company's.
func (s *Service) Delivery(ctx context.Context, id string) (*Delivery, error) {
	p, err := asking(ctx)
	if err != nil || !ident.IsUUID(id) {
		return nil, err
	}
	return s.store.delivery(ctx, s.DB, p, id)
}

// AttemptsOf returns the logged attempts of deliveries the caller has already
// been given, by delivery and in order. Deliveries without any are not in the map.
func (s *Service) AttemptsOf(ctx context.Context, deliveryIDs []string) (map[string][]*DeliveryAttempt, error) {
	attempts, err := s.store.attempts(ctx, s.DB, deliveryIDs)
	if err != nil {
		return nil, err
	}
	by := make(map[string][]*DeliveryAttempt, len(deliveryIDs))
	for _, a := range attempts {
		by[a.DeliveryID] = append(by[a.DeliveryID], a)
	}
	return by, nil
}

// WebhooksByID returns the asking company's webhooks with these ids, deleted
// ones included: a delivery keeps its webhook.
func (s *Service) WebhooksByID(ctx context.Context, ids []string) (map[string]*Webhook, error) {
	p, err := asking(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := s.store.webhooksByID(ctx, s.DB, p, ids)
	if err != nil {
		return nil, fmt.Errorf("webhooks of deliveries: %w", err)
	}
	by := make(map[string]*Webhook, len(rows))
	for _, w := range rows {
		by[w.ID] = w
	}
	return by, nil
}

// showable cuts b to at most limit bytes of valid UTF-8 without NUL bytes; what is invalid becomes U+FFFD.
func showable(b []byte, limit int) string {
	text := strings.ToValidUTF8(string(b[:min(len(b), limit)]), "\uFFFD")
	text = strings.ReplaceAll(text, "\x00", "\uFFFD")
	for len(text) > limit { // the replacement is longer than what it replaces
		_, size := utf8.DecodeLastRuneInString(text)
		text = text[:len(text)-size]
	}
	return text
}

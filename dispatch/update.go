package dispatch

import (
	"context"
	"errors"
	"time"

	"github.com/uptrace/bun"

	"github.com/enrichd/enrichd/internal/pg"
)

// UpdateWebhook changes what change names and leaves the rest as it is. Enabling
// a webhook that the service had disabled gives it a fresh start; an open circuit
// stays open all the same. Refusals, all at once: NotFound, also for a foreign
// id; InvalidInput, LimitExceeded, EndpointRejected.
func (s *Service) UpdateWebhook(ctx context.Context, id string, change WebhookChange) (w *Webhook, err error) {
	refusals := []error{change.check(s.Config.withDefaults().OlderHeader.Name)}
	if change.URL != nil {
		refusals = append(refusals, s.checkEndpoint(*change.URL))
	}
	err = pg.InTx(ctx, s.DB, func(ctx context.Context, tx bun.Tx) error {
		if _, err := s.own(ctx, tx, id); err != nil {
			return err
		}
		if err := errors.Join(refusals...); err != nil {
			return err
		}
		columns, err := s.apply(change, id)
		if err != nil {
			return err
		}
		if len(columns) > 0 {
			if err := s.store.updateWebhook(ctx, tx, id, columns); err != nil {
				return err
			}
		}
		w, err = s.own(ctx, tx, id)
		return err
	})
	if err != nil {
		return nil, err
	}
	s.heard.forget(w.OwnerID)
	return w, nil
}

// column is a column's new value.
type column struct {
	name  string
	value any
}

// apply turns a change into columns, so that an update writes over nothing that
// an attempt counts meanwhile.
func (s *Service) apply(c WebhookChange, id string) (columns []column, err error) {
	set := func(name string, value any) { columns = append(columns, column{name, value}) }
	if c.URL != nil {
		set("url", *c.URL)
	}
	if c.Name.Given {
		set("name", c.Name.Text)
	}
	if c.Description.Given {
		set("description", c.Description.Text)
	}
	if c.Headers != nil {
		sealed, err := s.sealHeaders(id, c.Headers)
		if err != nil {
			return nil, err
		}
		set("header_names", pgArray(namesOf(c.Headers)))
		set("sealed_headers", sealed)
	}
	if c.EventTypes != nil {
		set("event_types", pgArray(distinct(c.EventTypes)))
	}
	if c.AllRuns != nil {
		set("all_runs", *c.AllRuns)
	}
	if c.MaxRetries != nil {
		set("max_retries", *c.MaxRetries)
	}
	if c.TimeoutMillis != nil {
		set("timeout_millis", *c.TimeoutMillis)
	}
	if c.Enabled != nil {
		set("enabled", *c.Enabled)
	}
	if len(columns) > 0 {
		set("updated_at", time.Now().UTC().Truncate(time.Microsecond))
	}
	return columns, nil
}

package dispatch

import (
	"errors"
	"fmt"
	"slices"

	"github.com/enrichd/enrichd/internal/fault"
)

// Bounds of a webhook's settings.
const (
	maxURL         = 2048
	maxName        = 255
	maxDescription = 2000
	mostRetries    = 15
	minTimeout     = 1_000  // ms
	maxTimeout     = 30_000 // ms
)

// CreateWebhookInput is what a new webhook is to be.
type CreateWebhookInput struct {
	URL         string
	Name        *string
	Description *string
	Headers     []WebhookHeaderInput
	EventTypes  []EventType // nil: every type that fires
	AllRuns     bool
	MaxRetries  int // 0 to 15, after the first attempt
	// TimeoutMillis bounds a whole attempt, 1000 to 30000.
	TimeoutMillis int
}

// check returns every refusal at once, joined; URL rules are the egress guard's.
func (in CreateWebhookInput) check(older string) error {
	var refusals []error
	refuse := func(err error) {
		if err != nil {
			refusals = append(refusals, err)
		}
	}
	refuse(fault.Text("url", in.URL, maxURL))
	if in.Name != nil {
		refuse(fault.Text("name", *in.Name, maxName))
	}
	if in.Description != nil {
		refuse(fault.Text("description", *in.Description, maxDescription))
	}
	refusals = append(refusals, checkHeaders(in.Headers, older)...)
	if in.EventTypes != nil && len(in.EventTypes) == 0 {
		refuse(fault.Invalid("eventTypes", "must name at least one type"))
	}
	for i, t := range in.EventTypes {
		if !t.Known() {
			refuse(fault.Invalid(fmt.Sprintf("eventTypes.%d", i), "is no type of event"))
		}
	}
	if in.MaxRetries < 0 || in.MaxRetries > mostRetries {
		refuse(fault.Invalid("maxRetries", "must be between 0 and %d, not %d", mostRetries, in.MaxRetries))
	}
	if in.TimeoutMillis < minTimeout || in.TimeoutMillis > maxTimeout {
		refuse(fault.Invalid("timeoutMillis", "must be between %d and %d, not %d", minTimeout, maxTimeout, in.TimeoutMillis))
	}
	return errors.Join(refusals...)
}

// events returns the types to store: without repeats, in the order given.
func (in CreateWebhookInput) events() []EventType {
	if in.EventTypes == nil {
		return slices.Clone(EventTypes)
	}
	types := make([]EventType, 0, len(in.EventTypes))
	for _, t := range in.EventTypes {
		if !slices.Contains(types, t) {
			types = append(types, t)
		}
	}
	return types
}

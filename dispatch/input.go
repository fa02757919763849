package dispatch

import (
	"errors"
	"fmt"
	"slices"

	"github.com/enrichd/enrichd/internal/fault"
)

// Bounds of a webhook's settings; of texts in characters. The egress guard also bounds a URL in bytes.
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

// OlderWebhookInput is what the older contract says of a new webhook.
type OlderWebhookInput struct {
	URL         string
	Name        *string
	Description *string
	Headers     []WebhookHeaderInput
	Events      []EventType // at least one
	CompanyID   *string     // nil: every company of the key
}

// olderRetries is the literal maxRetries of the older contract.
const olderRetries = 3

// WebhookChange is what an update changes; the zero value changes nothing.
type WebhookChange struct {
	URL               *string
	Name, Description OptionalText
	Headers           []WebhookHeaderInput // not nil: in place of the whole list
	EventTypes        []EventType          // not nil: in place of the whole list
	AllRuns           *bool
	MaxRetries        *int
	TimeoutMillis     *int
	// Enabled is its owner's wish; it does not touch the circuit.
	Enabled *bool
}

// OptionalText is a text that may be left alone (the zero value), set, or cleared.
type OptionalText struct {
	Given bool
	Text  *string // nil clears
}

// check returns every refusal at once, joined; URL rules are the egress guard's.
func (c WebhookChange) check(older string) error {
	var refusals []error
	refuse := func(err error) {
		if err != nil {
			refusals = append(refusals, err)
		}
	}
	if c.URL != nil {
		refuse(fault.Characters("url", *c.URL, maxURL))
	}
	if c.Name.Text != nil {
		refuse(fault.Characters("name", *c.Name.Text, maxName))
	}
	if c.Description.Text != nil {
		refuse(fault.Characters("description", *c.Description.Text, maxDescription))
	}
	refusals = append(refusals, checkHeaders(c.Headers, older)...)
	if c.EventTypes != nil && len(c.EventTypes) == 0 {
		refuse(fault.Invalid("eventTypes", "must name at least one type"))
	}
	for i, t := range c.EventTypes {
		if !t.Known() {
			refuse(fault.Invalid(fmt.Sprintf("eventTypes.%d", i), "is no type of event"))
		}
	}
	if n := c.MaxRetries; n != nil && (*n < 0 || *n > mostRetries) {
		refuse(fault.Invalid("maxRetries", "must be between 0 and %d, not %d", mostRetries, *n))
	}
	if n := c.TimeoutMillis; n != nil && (*n < minTimeout || *n > maxTimeout) {
		refuse(fault.Invalid("timeoutMillis", "must be between %d and %d, not %d", minTimeout, maxTimeout, *n))
	}
	return errors.Join(refusals...)
}

// check holds a new webhook to the rules of a change that sets everything.
func (in CreateWebhookInput) check(older string) error {
	return WebhookChange{
		URL: &in.URL, Name: OptionalText{true, in.Name}, Description: OptionalText{true, in.Description}, Headers: in.Headers,
		EventTypes: in.EventTypes, MaxRetries: &in.MaxRetries, TimeoutMillis: &in.TimeoutMillis,
	}.check(older)
}

// events returns the types to store; nil asks for every type that fires.
func (in CreateWebhookInput) events() []EventType {
	if in.EventTypes == nil {
		return slices.Clone(EventTypes)
	}
	return distinct(in.EventTypes)
}

// distinct drops repeats and keeps the order.
func distinct(types []EventType) []EventType {
	kept := make([]EventType, 0, len(types))
	for _, t := range types {
		if !slices.Contains(kept, t) {
			kept = append(kept, t)
		}
	}
	return kept
}

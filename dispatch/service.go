// Package dispatch announces what happened: events, webhooks, deliveries. See README.md.
package dispatch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/uptrace/bun"

	"github.com/enrichd/enrichd/internal/access"
	"github.com/enrichd/enrichd/internal/egress"
	"github.com/enrichd/enrichd/internal/fault"
	"github.com/enrichd/enrichd/internal/ident"
	"github.com/enrichd/enrichd/internal/jobs"
	"github.com/enrichd/enrichd/internal/page"
	"github.com/enrichd/enrichd/internal/pg"
	"github.com/enrichd/enrichd/internal/seal"
)

// Config are the settings of dispatch; the zero value is the documented default.
type Config struct {
	WebhooksPerCompany int             // default 20
	Curve              []time.Duration // delays after failed attempts, the last one repeating
	MaxAge             time.Duration   // a delivery not done by then is given up; default 7 days
	KeepAttempts       time.Duration   // default 30 days
	OlderHeader        OlderHeader
	Version            string // of the program, for the User-Agent
}

func (c Config) withDefaults() Config {
	if c.WebhooksPerCompany == 0 {
		c.WebhooksPerCompany = 20
	}
	if len(c.Curve) == 0 {
		c.Curve = defaultCurve
	}
	if c.MaxAge == 0 {
		c.MaxAge = 7 * 24 * time.Hour
	}
	if c.KeepAttempts == 0 {
		c.KeepAttempts = 30 * 24 * time.Hour
	}
	if c.Version == "" {
		c.Version = "dev"
	}
	c.OlderHeader = c.OlderHeader.withDefaults()
	return c
}

// Service is what a caller may ask of dispatch.
type Service struct {
	DB     *bun.DB
	Box    *seal.Box
	Jobs   *jobs.Inserter
	Egress *egress.Client // made for egress.ForWebhook
	Log    *slog.Logger
	Config Config

	store store
}

// what the older contract calls a webhook.
const resource = "WebhookConfig"

// CreateWebhook makes a webhook of the asking company and key, and returns its
// secret ("whsec_…"; see OlderSecret), which is never shown again. Refusals:
// InvalidInput, EndpointRejected, LimitExceeded.
func (s *Service) CreateWebhook(ctx context.Context, in CreateWebhookInput) (*Webhook, string, error) {
	p, err := asking(ctx)
	if err != nil {
		return nil, "", err
	}
	config := s.Config.withDefaults()
	if err := errors.Join(in.check(config.OlderHeader.Name), s.checkEndpoint(in.URL)); err != nil {
		return nil, "", err
	}
	now := time.Now().UTC().Truncate(time.Microsecond)
	key := newSigningKey()
	w := &Webhook{
		ID: ident.NewRandomUUID(), CompanyID: &p.Company.ID, APIKeyID: p.Key.ID, Test: p.Key.Test,
		URL: in.URL, Name: in.Name, Description: in.Description, HeaderNames: []string{},
		Events: in.events(), AllRuns: in.AllRuns, MaxRetries: in.MaxRetries, TimeoutMillis: in.TimeoutMillis,
		Enabled: true, CreatedAt: now, UpdatedAt: now, SecretHints: []string{key.secret()[:hintLength]},
	}
	for _, h := range in.Headers {
		w.HeaderNames = append(w.HeaderNames, h.Name)
	}
	if w.SealedHeaders, err = s.sealHeaders(w.ID, in.Headers); err != nil {
		return nil, "", err
	}
	secret := &webhookSecret{
		ID: ident.NewUUID(), WebhookID: w.ID, Hint: w.SecretHints[0], CreatedAt: now,
		Secret: s.Box.Seal(key, boundTo(w.ID, "secret")),
	}
	err = pg.InTx(ctx, s.DB, func(ctx context.Context, tx bun.Tx) error {
		// The company's row is locked, so that two creations cannot both be the last one allowed.
		n, err := s.store.lockAndCount(ctx, tx, p.Company.ID)
		if err != nil {
			return err
		}
		if n >= config.WebhooksPerCompany {
			return fault.LimitExceeded{
				Head:  fault.Head{Message: fmt.Sprintf("a company may have %d webhooks", config.WebhooksPerCompany)},
				Limit: config.WebhooksPerCompany, Actual: n + 1,
			}
		}
		return s.store.addWebhook(ctx, tx, w, secret)
	})
	if err != nil {
		return nil, "", err
	}
	return w, key.secret(), nil
}

// Webhooks returns a page of the asking company's webhooks, newest first.
func (s *Service) Webhooks(ctx context.Context, a page.Args) (WebhookConnection, error) {
	p, err := asking(ctx)
	if err != nil {
		return WebhookConnection{}, err
	}
	before, err := position(a)
	if err != nil {
		return WebhookConnection{}, err
	}
	rows, err := s.store.webhooks(ctx, s.DB, p, before, a.First+1)
	if err != nil {
		return WebhookConnection{}, err
	}
	return WebhookConnection{page.Make(rows, a,
		func(w *Webhook) string { return sortKey(w.CreatedAt, w.ID) },
		func(e page.Edge[*Webhook]) WebhookEdge { return WebhookEdge{e} })}, nil
}

// Webhook returns one webhook; nil when it is unknown, deleted or another company's.
func (s *Service) Webhook(ctx context.Context, id string) (*Webhook, error) {
	w, err := s.find(ctx, s.DB, id)
	if refusals, rest := fault.Users(err); len(refusals) > 0 {
		return nil, rest
	}
	if forbidden := (fault.Forbidden{}); errors.As(err, &forbidden) {
		return nil, nil
	}
	return w, err
}

// DeleteWebhook ends a webhook: its secrets and header values are destroyed and
// its unfinished deliveries given up. Their jobs end by themselves when they
// next look. An unknown or foreign id is a NotFound.
func (s *Service) DeleteWebhook(ctx context.Context, id string) error {
	w, err := s.Webhook(ctx, id)
	if err != nil {
		return err
	}
	if w == nil {
		return unknownWebhook(id, "id")
	}
	return pg.InTx(ctx, s.DB, func(ctx context.Context, tx bun.Tx) error {
		return s.store.deleteWebhook(ctx, tx, w.ID)
	})
}

// CheckForRun refuses a webhook that a run may not name: unknown (NotFound), of
// another company or of the other kind of key (fault.Forbidden), or subscribed
// neither to enrich.completed nor to enrich.failed (NotSubscribed). A disabled one is accepted; it will not be told.
func (s *Service) CheckForRun(ctx context.Context, db bun.IDB, webhookID string) error {
	w, err := s.find(ctx, db, webhookID)
	if err != nil {
		return err
	}
	required := []EventType{EnrichCompleted, EnrichFailed}
	if !w.Subscribed(required...) {
		return NotSubscribed{
			Conflict: fault.Conflict{State: "NOT_SUBSCRIBED", Head: fault.Head{
				Message: "Webhook is subscribed neither to enrich.completed nor to enrich.failed", Field: []string{"webhookId"},
			}},
			WebhookID: webhookID, Required: required,
		}
	}
	return nil
}

// find returns the webhook id, a NotFound, or fault.Forbidden when it is not the asking key's to use.
func (s *Service) find(ctx context.Context, db bun.IDB, id string) (*Webhook, error) {
	p, err := asking(ctx)
	if err != nil {
		return nil, err
	}
	if !ident.IsUUID(id) {
		return nil, unknownWebhook(id, "webhookId")
	}
	w, err := s.store.webhook(ctx, db, id)
	switch {
	case err != nil:
		return nil, err
	case w == nil:
		return nil, unknownWebhook(id, "webhookId")
	case !w.usableBy(p):
		return nil, fault.Forbidden{Message: "Access denied to this webhook configuration"}
	}
	return w, nil
}

// usableBy reports whether p may see and name the webhook.
func (w *Webhook) usableBy(p *access.Principal) bool {
	if w.Test != p.Key.Test {
		return false
	}
	if w.CompanyID == nil {
		return w.APIKeyID == p.Key.ID
	}
	return *w.CompanyID == p.Company.ID
}

// checkEndpoint refuses what the guard would refuse to dial, as far as the text of the URL shows it.
func (s *Service) checkEndpoint(url string) error {
	err := s.Egress.CheckURL(url)
	if err == nil {
		return nil
	}
	rejected := EndpointRejected{Head: fault.Head{Message: "Deliveries to this URL are refused", Field: []string{"url"}}, Reason: "refused"}
	var refused *egress.Error
	if errors.As(err, &refused) {
		rejected.Message = "The URL is refused: " + refused.Detail
		rejected.Reason = refused.Reason
	}
	return rejected
}

func unknownWebhook(id, field string) error {
	return fault.NotFound{Head: fault.Head{Message: "Webhook configuration not found", Field: []string{field}}, Type: resource, ID: id}
}

func asking(ctx context.Context) (*access.Principal, error) {
	if p := access.From(ctx); p != nil {
		return p, nil
	}
	return nil, errors.New("dispatch: no principal in context")
}

// boundTo is the additional data that ties a sealed value to its webhook and its place.
func boundTo(webhookID, what string) []byte { return []byte("webhook/" + webhookID + "/" + what) }

// sealHeaders returns nil for no headers.
func (s *Service) sealHeaders(webhookID string, headers []WebhookHeaderInput) ([]byte, error) {
	if len(headers) == 0 {
		return nil, nil
	}
	plain := make([][2]string, len(headers))
	for i, h := range headers {
		plain[i] = [2]string{h.Name, h.Value}
	}
	b, err := json.Marshal(plain)
	if err != nil {
		return nil, fmt.Errorf("headers of webhook %s: %w", webhookID, err)
	}
	return s.Box.Seal(b, boundTo(webhookID, "headers")), nil
}

func (s *Service) openHeaders(webhookID string, sealed []byte) ([]WebhookHeaderInput, error) {
	if sealed == nil {
		return nil, nil
	}
	b, err := s.Box.Open(sealed, boundTo(webhookID, "headers"))
	if err != nil {
		return nil, fmt.Errorf("headers of webhook %s: %w", webhookID, err)
	}
	var plain [][2]string
	if err := json.Unmarshal(b, &plain); err != nil {
		return nil, fmt.Errorf("headers of webhook %s: not as sealed", webhookID) // the cause would quote a value
	}
	headers := make([]WebhookHeaderInput, len(plain))
	for i, h := range plain {
		headers[i] = WebhookHeaderInput{Name: h[0], Value: h[1]}
	}
	return headers, nil
}

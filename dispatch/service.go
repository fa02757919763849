// Package dispatch announces what happened: events, webhooks, deliveries. See README.md.
package dispatch

import (
	"context"
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
	"github.com/enrichd/enrichd/internal/metrics"
	"github.com/enrichd/enrichd/internal/page"
	"github.com/enrichd/enrichd/internal/pg"
	"github.com/enrichd/enrichd/internal/seal"
	"github.com/enrichd/enrichd/internal/wake"
)

// Config are the settings of dispatch; the zero value is the documented default.
type Config struct {
	WebhooksPerCompany int             // default 20
	Curve              []time.Duration // delays after failed attempts, the last one repeating
	MaxAge             time.Duration   // a delivery not done by then is given up; default 7 days
	KeepAttempts       time.Duration   // default 30 days
	KeepActivity       time.Duration   // default 90 days
	Circuit            CircuitRule
	ResetCooldown      time.Duration // between a circuit's opening or reset and the next reset; default 10 s
	Workers            int           // deliveries at once on a node; default 256
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
	if c.KeepActivity == 0 {
		c.KeepActivity = 90 * 24 * time.Hour
	}
	if c.ResetCooldown == 0 {
		c.ResetCooldown = 10 * time.Second
	}
	if c.Workers == 0 {
		c.Workers = 256
	}
	if c.Version == "" {
		c.Version = "dev"
	}
	c.Circuit = c.Circuit.withDefaults()
	c.OlderHeader = c.OlderHeader.withDefaults()
	return c
}

// Service is what a caller may ask of dispatch.
type Service struct {
	DB     *bun.DB
	Box    *seal.Box
	Jobs   *jobs.Inserter
	Egress *egress.Client // made for egress.ForWebhook
	Wake   wake.Waker     // told of companies whose activity grew; may be nil
	Log    *slog.Logger
	// Metrics counts attempts; nil counts nothing.
	Metrics *metrics.Metrics
	Config  Config

	store    store
	gate     gate
	heard    listeners
	activity activityTails
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
	return s.create(ctx, p, in, &p.Company.ID)
}

// CreateOlderWebhook makes a webhook of the older contract for the asking key,
// and returns its secret as 64 hexadecimal characters. It hears of the runs that
// name it, is retried three times, and, with no company, is global: it hears of
// every company of its key. Events are stored in the spelling given. Refusals: as
// CreateWebhook; fault.Forbidden when the company is not the key's.
func (s *Service) CreateOlderWebhook(ctx context.Context, in OlderWebhookInput) (*Webhook, string, error) {
	p, err := asking(ctx)
	if err != nil {
		return nil, "", err
	}
	if in.CompanyID != nil && *in.CompanyID != p.Company.ID {
		return nil, "", fault.Forbidden{Message: "Access denied to this company"}
	}
	w, secret, err := s.create(ctx, p, CreateWebhookInput{
		URL: in.URL, Name: in.Name, Description: in.Description, Headers: in.Headers, EventTypes: append([]EventType{}, in.Events...),
		MaxRetries: olderRetries, TimeoutMillis: maxTimeout,
	}, in.CompanyID)
	return w, OlderSecret(secret), err
}

func (s *Service) create(ctx context.Context, p *access.Principal, in CreateWebhookInput, companyID *string) (*Webhook, string, error) {
	config := s.Config.withDefaults()
	err := errors.Join(in.check(config.OlderHeader.Name), s.checkEndpoint(in.URL))
	if err != nil {
		return nil, "", err
	}
	now := time.Now().UTC().Truncate(time.Microsecond)
	w := &Webhook{
		ID: ident.NewRandomUUID(), CompanyID: companyID, APIKeyID: p.Key.ID, OwnerID: p.Company.ID, Test: p.Key.Test,
		URL: in.URL, Name: in.Name, Description: in.Description, HeaderNames: namesOf(in.Headers),
		Events: in.events(), AllRuns: in.AllRuns, MaxRetries: in.MaxRetries, TimeoutMillis: in.TimeoutMillis,
		Enabled: true, CircuitState: CircuitClosed, CreatedAt: now, UpdatedAt: now,
	}
	if w.SealedHeaders, err = s.sealHeaders(w.ID, in.Headers); err != nil {
		return nil, "", err
	}
	secret, shown := s.newSecret(w.ID, now)
	w.SecretHints = []string{secret.Hint}
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
	s.heard.forget(p.Company.ID)
	return w, shown, nil
}

// newSecret makes a secret as it is stored, and as it is shown once.
func (s *Service) newSecret(webhookID string, now time.Time) (*webhookSecret, string) {
	key := newSigningKey()
	shown := key.secret()
	return &webhookSecret{
		ID: ident.NewUUID(), WebhookID: webhookID, Hint: shown[:hintLength], CreatedAt: now,
		Secret: s.Box.Seal(key, boundTo(webhookID, "secret")),
	}, shown
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
	w, err := s.find(ctx, s.DB, id, "id")
	if refusals, rest := fault.Users(err); len(refusals) > 0 {
		return nil, rest
	}
	if forbidden := (fault.Forbidden{}); errors.As(err, &forbidden) {
		return nil, nil
	}
	return w, err
}

// WebhookOfKey returns a webhook that the asking key made, as the older contract
// sees it, whichever company the key acts for: NotFound when it is unknown,
// fault.Forbidden when it is another key's.
func (s *Service) WebhookOfKey(ctx context.Context, id string) (*Webhook, error) {
	p, err := asking(ctx)
	if err != nil {
		return nil, err
	}
	if !ident.IsUUID(id) {
		return nil, unknownWebhook(id, "id")
	}
	w, err := s.store.webhook(ctx, s.DB, id)
	switch {
	case err != nil:
		return nil, err
	case w == nil:
		return nil, unknownWebhook(id, "id")
	case w.APIKeyID != p.Key.ID:
		return nil, errForeign
	}
	return w, nil
}

// WebhooksOfKey lists the webhooks that the asking key made, newest first: those
// of one company, the global ones left out, or with nil all of them. pageNumber
// begins at 1; total counts all pages.
func (s *Service) WebhooksOfKey(ctx context.Context, companyID *string, pageNumber, limit int) (rows []*Webhook, total int, err error) {
	p, err := asking(ctx)
	if err != nil {
		return nil, 0, err
	}
	if pageNumber < 1 || pageNumber > maxPage {
		return nil, 0, fault.Invalid("page", "must be between 1 and %d, not %d", maxPage, pageNumber)
	}
	if limit < 1 || limit > page.MaxFirst {
		return nil, 0, fault.Invalid("limit", "must be between 1 and %d, not %d", page.MaxFirst, limit)
	}
	if companyID != nil {
		if err := fault.Characters("companyId", *companyID, maxName); err != nil {
			return nil, 0, err
		}
	}
	return s.store.webhooksOfKey(ctx, s.DB, p.Key.ID, companyID, (pageNumber-1)*limit, limit)
}

// maxPage keeps page times limit within what a database counts.
const maxPage = 1_000_000

// DeleteWebhook ends a webhook: its secrets and header values are destroyed and
// its unfinished deliveries given up. Their jobs end by themselves when they
// next look. An unknown or foreign id is a NotFound.
func (s *Service) DeleteWebhook(ctx context.Context, id string) error {
	return pg.InTx(ctx, s.DB, func(ctx context.Context, tx bun.Tx) error {
		if _, err := s.own(ctx, tx, id); err != nil {
			return err
		}
		return s.store.deleteWebhook(ctx, tx, id)
	})
}

// CheckForRun refuses a webhook that a run may not name: unknown (NotFound), of
// another company or of the other kind of key (fault.Forbidden), or subscribed
// neither to enrich.completed nor to enrich.failed (NotSubscribed). A disabled one is accepted; it will not be told.
func (s *Service) CheckForRun(ctx context.Context, db bun.IDB, webhookID string) error {
	w, err := s.find(ctx, db, webhookID, "webhookId")
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

// errForeign says of a webhook that it is somebody else's.
var errForeign = fault.Forbidden{Message: "Access denied to this webhook configuration"}

// own returns the asking company's webhook; an unknown or foreign one is a NotFound.
func (s *Service) own(ctx context.Context, db bun.IDB, id string) (*Webhook, error) {
	w, err := s.find(ctx, db, id, "id")
	if errors.Is(err, errForeign) {
		err = unknownWebhook(id, "id")
	}
	return w, err
}

// find returns the webhook id, a NotFound, or fault.Forbidden when it is not
// the asking key's to use. field is where the id came in.
func (s *Service) find(ctx context.Context, db bun.IDB, id, field string) (*Webhook, error) {
	p, err := asking(ctx)
	if err != nil {
		return nil, err
	}
	if !ident.IsUUID(id) {
		return nil, unknownWebhook(id, field)
	}
	w, err := s.store.webhook(ctx, db, id)
	switch {
	case err != nil:
		return nil, err
	case w == nil:
		return nil, unknownWebhook(id, field)
	case !w.usableBy(p):
		return nil, errForeign
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

// wakeCompany tells readers of a company's activity that there is more.
func (s *Service) wakeCompany(companyID string) {
	if s.Wake != nil {
		s.Wake.Publish(CompanyTopic(companyID))
	}
}

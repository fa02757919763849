// Package access knows companies, their API keys, and who is asking.
package access

import (
	"context"
	"slices"
	"time"

	"github.com/uptrace/bun"
)

// Scope is what a key may do, spelled as the older contract spells it.
type Scope string

// The scopes. A write scope implies the read scope of its pair; Admin implies all.
const (
	EnrichRead    Scope = "enrich:read"
	EnrichWrite   Scope = "enrich:write"
	BillingRead   Scope = "read:billing"
	BillingWrite  Scope = "write:billing"
	WebhooksRead  Scope = "read:webhooks"
	WebhooksWrite Scope = "write:webhooks"
	PrivacyWrite  Scope = "write:privacy"
	Admin         Scope = "admin"
)

// Scopes are all scopes, in the order of the GraphQL enum.
var Scopes = []Scope{EnrichRead, EnrichWrite, BillingRead, BillingWrite, WebhooksRead, WebhooksWrite, PrivacyWrite, Admin}

// Company is the tenant. Its id is a UUID, as the older contract shows it.
type Company struct {
	bun.BaseModel `bun:"table:companies,alias:co"`

	ID               string    `bun:"id,pk"`
	Name             string    `bun:"name"`
	Plan             string    `bun:"plan"`
	RepeatWindowDays int       `bun:"repeat_window_days"`
	Limits           *Limits   `bun:"limits,type:jsonb"` // nil: the plan's
	CreatedAt        time.Time `bun:"created_at"`
}

// Key is an API key. The secret itself is never stored, only its keyed digest.
type Key struct {
	bun.BaseModel `bun:"table:api_keys,alias:k"`

	ID         string   `bun:"id,pk"`
	CompanyID  string   `bun:"company_id"`
	Label      string   `bun:"label"`
	Prefix     string   `bun:"prefix"` // first characters, enough to recognise it by
	Digest     []byte   `bun:"digest"`
	Pepper     int      `bun:"pepper"` // version of the pepper that Digest was made under
	Test       bool     `bun:"test"`
	Scopes     []Scope  `bun:"scopes,array"`
	AllowedIPs []string `bun:"allowed_ips,array"`
	// Manages is set for a key of an applicant tracking system: it acts for the companies it manages, and names one of them in every call.
	Manages bool `bun:"manages"`
	// PersistedOnly holds the key to the GraphQL operations that the server knows by their hash.
	PersistedOnly   bool       `bun:"persisted_only"`
	Limits          *Limits    `bun:"limits,type:jsonb"` // nil: the plan's
	CreatedBy       *string    `bun:"created_by"`        // the key that made it, or "cli"
	CreatedAt       time.Time  `bun:"created_at"`
	LastUsedAt      *time.Time `bun:"last_used_at"`
	ExpiresAt       *time.Time `bun:"expires_at"`
	SuspendedAt     *time.Time `bun:"suspended_at"`
	SuspendedReason *string    `bun:"suspended_reason"`
	RevokedAt       *time.Time `bun:"revoked_at"`
}

// Principal is who is asking: one key, acting for one company.
type Principal struct {
	Company Company
	Key     Key
	// managed are the companies that a managing key acts for.
	managed []*Company
}

// AuditLine is one thing that happened to a key. Lines are never changed.
type AuditLine struct {
	bun.BaseModel `bun:"table:key_audit,alias:ka"`

	ID        int64     `bun:"id,pk,autoincrement"`
	KeyID     string    `bun:"key_id"`
	CompanyID string    `bun:"company_id"`
	Action    string    `bun:"action"`
	Actor     string    `bun:"actor"` // the key that did it, or "cli"
	Detail    string    `bun:"detail"`
	At        time.Time `bun:"at,nullzero,default:now()"`
}

// Can reports whether the principal's key covers scope.
func (p *Principal) Can(scope Scope) bool {
	has := func(s Scope) bool { return slices.Contains(p.Key.Scopes, s) }
	switch {
	case has(scope), has(Admin):
		return true
	case scope == EnrichRead:
		return has(EnrichWrite)
	case scope == BillingRead:
		return has(BillingWrite)
	case scope == WebhooksRead:
		return has(WebhooksWrite)
	}
	return false
}

type principalKey struct{}

// With puts the principal into ctx.
func With(ctx context.Context, p *Principal) context.Context {
	return context.WithValue(ctx, principalKey{}, p)
}

// From returns the principal that With put into ctx, or nil.
func From(ctx context.Context) *Principal {
	p, _ := ctx.Value(principalKey{}).(*Principal)
	return p
}

// IsNode marks Company as a GraphQL Node.
func (*Company) IsNode() {}

// IsNode marks Key as a GraphQL Node.
func (*Key) IsNode() {}

package access

import (
	"context"
	"crypto/subtle"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"github.com/enrichd/enrichd/internal/fault"
	"github.com/enrichd/enrichd/internal/ident"
	"github.com/enrichd/enrichd/internal/pg"
	"github.com/enrichd/enrichd/internal/seal"
	"github.com/enrichd/enrichd/internal/wake"
)

// Service makes and checks companies and keys.
type Service struct {
	DB    *bun.DB
	Store Store
	Box   *seal.Box
	Wake  wake.Waker
}

// ErrInvalidKey says that a key is missing, unknown, revoked or expired; which
// of them is not told.
var ErrInvalidKey = errors.New("The provided API key is invalid or has been revoked") //nolint:staticcheck // the contract's own words

// Suspended says that a key is known but suspended.
type Suspended struct{ At time.Time }

// Error returns the older contract's message.
func (Suspended) Error() string { return "This API key has been suspended" }

// lastUsedEvery is how often at most a key's last use is written.
const lastUsedEvery = time.Minute

// Authenticate turns a key into a principal. addr is the caller's address, for
// keys that are bound to networks. Known and unknown keys cost one query each.
func (s *Service) Authenticate(ctx context.Context, token string, addr netip.Addr) (*Principal, error) {
	if !plausible(token) {
		return nil, ErrInvalidKey
	}
	digest := s.Box.Digest("api key", []byte(token))
	p, err := s.Store.principal(ctx, s.DB, digest)
	if err != nil {
		return nil, err
	}
	if p == nil || subtle.ConstantTimeCompare(p.Key.Digest, digest) != 1 {
		return nil, ErrInvalidKey
	}
	if err := p.Key.usable(time.Now()); err != nil {
		return nil, err
	}
	if !p.Key.allows(addr) {
		return nil, fault.Forbidden{Message: "Access denied"}
	}
	if p.Key.LastUsedAt == nil || time.Since(*p.Key.LastUsedAt) > lastUsedEvery {
		if err := s.Store.touch(ctx, s.DB, p.Key.ID, lastUsedEvery); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// Recheck reports why a principal that was authenticated earlier may no longer
// act: for sockets, which live on.
func (s *Service) Recheck(ctx context.Context, p *Principal) error {
	now, err := s.Store.principal(ctx, s.DB, p.Key.Digest)
	switch {
	case err != nil:
		return err
	case now == nil:
		return ErrInvalidKey
	}
	return now.Key.usable(time.Now())
}

func (k *Key) usable(now time.Time) error {
	switch {
	case k.RevokedAt != nil, k.ExpiresAt != nil && !now.Before(*k.ExpiresAt):
		return ErrInvalidKey
	case k.SuspendedAt != nil:
		return Suspended{At: *k.SuspendedAt}
	}
	return nil
}

// State names the key's state: active, revoked, expired or suspended.
func (k *Key) State(now time.Time) string {
	switch {
	case k.RevokedAt != nil:
		return "revoked"
	case k.ExpiresAt != nil && !now.Before(*k.ExpiresAt):
		return "expired"
	case k.SuspendedAt != nil:
		return "suspended"
	}
	return "active"
}

// allows reports whether the key may be used from addr; a key without networks may be used from anywhere.
func (k *Key) allows(addr netip.Addr) bool {
	addr = addr.Unmap()
	return len(k.AllowedIPs) == 0 || slices.ContainsFunc(k.AllowedIPs, func(s string) bool {
		p, err := parseNetwork(s)
		return err == nil && p.Contains(addr)
	})
}

func parseNetwork(s string) (netip.Prefix, error) {
	if strings.Contains(s, "/") {
		p, err := netip.ParsePrefix(s)
		return p.Masked(), err
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Prefix{}, err
	}
	a = a.Unmap()
	return netip.PrefixFrom(a, a.BitLen()), nil
}

// Plans a company can be on; they decide its rate limits.
var Plans = []string{"none", "trial", "starter", "business", "scale", "enterprise"}

// CreateCompany adds a company in the caller's transaction, so that its billing account is opened with it.
func (s *Service) CreateCompany(ctx context.Context, tx bun.Tx, name, plan string) (*Company, error) {
	name = strings.TrimSpace(name)
	if name == "" {
		return nil, fault.Invalid("name", "is needed")
	}
	if err := fault.Text("name", name, 200); err != nil {
		return nil, err
	}
	if !slices.Contains(Plans, plan) {
		return nil, fault.Invalid("plan", "is one of %s, not %q", strings.Join(Plans, ", "), plan)
	}
	c := &Company{ID: ident.NewUUID(), Name: name, Plan: plan, CreatedAt: time.Now().UTC().Truncate(time.Microsecond)}
	return c, s.Store.insertCompany(ctx, tx, c)
}

// Companies lists all companies, oldest first.
func (s *Service) Companies(ctx context.Context) ([]*Company, error) {
	return s.Store.companies(ctx, s.DB)
}

// Company returns one company, or nil.
func (s *Service) Company(ctx context.Context, id string) (*Company, error) {
	return s.Store.company(ctx, s.DB, id)
}

// NewKey says what a key shall be.
type NewKey struct {
	CompanyID  string
	Label      string
	Test       bool
	Scopes     []Scope
	AllowedIPs []string
	ExpiresAt  *time.Time
}

// CreateKey makes a key and returns it with its secret, which is shown this once.
func (s *Service) CreateKey(ctx context.Context, in NewKey) (*Key, string, error) {
	if err := fault.Text("label", in.Label, 200); err != nil {
		return nil, "", err
	}
	if len(in.Scopes) == 0 {
		return nil, "", fault.Invalid("scopes", "must name at least one scope")
	}
	for _, scope := range in.Scopes {
		if !slices.Contains(Scopes, scope) {
			return nil, "", fault.Invalid("scopes", "knows no scope %q", scope)
		}
	}
	for _, network := range in.AllowedIPs {
		if _, err := parseNetwork(network); err != nil {
			return nil, "", fault.Invalid("allowedIPs", "%q is no address and no CIDR range", network)
		}
	}
	if in.ExpiresAt != nil && !in.ExpiresAt.After(time.Now()) {
		return nil, "", fault.Invalid("expiresAt", "has passed already")
	}
	c, err := s.Store.company(ctx, s.DB, in.CompanyID)
	if err != nil {
		return nil, "", err
	}
	if c == nil {
		return nil, "", fault.NotFound{Head: fault.Head{Message: "no such company", Field: []string{"companyId"}}, Type: "Company", ID: in.CompanyID}
	}
	token := newToken(in.Test)
	k := &Key{
		ID: ident.NewUUID(), CompanyID: in.CompanyID, Label: in.Label, Prefix: token[:shownChars],
		Digest: s.Box.Digest("api key", []byte(token)), Test: in.Test, Scopes: in.Scopes,
		AllowedIPs: append([]string{}, in.AllowedIPs...), ExpiresAt: in.ExpiresAt,
		CreatedAt: time.Now().UTC().Truncate(time.Microsecond),
	}
	return k, token, s.Store.insertKey(ctx, s.DB, k)
}

// Keys lists a company's keys, revoked ones included, oldest first.
func (s *Service) Keys(ctx context.Context, companyID string) ([]*Key, error) {
	return s.Store.keys(ctx, s.DB, companyID)
}

// Revoke ends a key for good; its sockets close soon after, on every node.
// Revoking twice changes nothing. companyID "" is an operator, who reaches every company's keys.
func (s *Service) Revoke(ctx context.Context, companyID, id string) (*Key, error) {
	var k *Key
	err := pg.InTx(ctx, s.DB, func(ctx context.Context, tx bun.Tx) (err error) {
		k, err = s.Store.revoke(ctx, tx, companyID, id)
		return err
	})
	if err != nil {
		return nil, err
	}
	if k == nil {
		return nil, fault.NotFound{Head: fault.Head{Message: "no such key", Field: []string{"id"}}, Type: "ApiKey", ID: id}
	}
	s.Wake.Publish(RevokedPrefix + k.ID)
	return k, nil
}

// RevokedPrefix begins the wake-up id that announces a revoked or suspended key,
// ResumedPrefix that of one that holds again.
const (
	RevokedPrefix = "key:"
	ResumedPrefix = "key-resumed:"
)

// ParseScope reads a scope in any of its spellings: enrich:read, read:enrich, ENRICH_READ.
func ParseScope(s string) (Scope, bool) {
	norm := func(s string) string { return strings.ToLower(strings.NewReplacer("_", ":", " ", "").Replace(s)) }
	want := norm(s)
	for _, scope := range Scopes {
		a, b, two := strings.Cut(string(scope), ":")
		if want == string(scope) || (two && want == b+":"+a) {
			return scope, true
		}
	}
	return "", false
}

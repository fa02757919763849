package access

import (
	"context"
	"crypto/subtle"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"github.com/enrichd/enrichd/internal/fault"
	"github.com/enrichd/enrichd/internal/ident"
	"github.com/enrichd/enrichd/internal/metrics"
	"github.com/enrichd/enrichd/internal/seal"
	"github.com/enrichd/enrichd/internal/trail"
	"github.com/enrichd/enrichd/internal/wake"
)

// Service makes and checks companies and keys.
type Service struct {
	DB    *bun.DB
	Store Store
	Box   *seal.Box
	Wake  wake.Waker
	Log   *slog.Logger // nil is slog.Default()
	// Peppers are the versions in force, newest first; see ParsePeppers.
	Peppers []Pepper
	// Proxies are trusted to say where a request comes from.
	Proxies Proxies
	// Metrics counts who could not sign in; nil counts nothing.
	Metrics *metrics.Metrics
	// Failures is how many failed sign-ins one address may have a minute; 0 is DefaultFailures.
	Failures int

	cache    cache
	failures failures
}

// ErrInvalidKey says that a key is missing, unknown, revoked or expired; which
// of them is not told.
var ErrInvalidKey = errors.New("The provided API key is invalid or has been revoked") //nolint:staticcheck // the contract's own words

// Suspended says that a key is known but suspended.
type Suspended struct {
	At time.Time
	// Reason is what the operator wrote for the caller, "" for nothing.
	Reason string
}

// Error returns the older contract's message.
func (Suspended) Error() string { return "This API key has been suspended" }

// lastUsedEvery is how often at most a key's last use is written.
const lastUsedEvery = time.Minute

// Authenticate turns a key into a principal. addr is the caller's address, for
// keys that are bound to networks, and to count failures by. Errors are
// ErrInvalidKey, Suspended, TooManyFailures and fault.Forbidden; any other says
// that we could not find out. With Suspended and fault.Forbidden comes the
// principal too: its key is known, only not to be served. Known and unknown keys
// cost one query each, and a known one none while it is cached.
func (s *Service) Authenticate(ctx context.Context, token string, addr netip.Addr) (*Principal, error) {
	p, err := s.authenticate(ctx, token, addr)
	if err == nil {
		trail.Add(ctx, slog.String("company_id", p.Company.ID), slog.String("key_id", p.Key.ID))
		return p, nil
	}
	switch {
	case token == "":
		s.Metrics.AuthFailed("missing")
	case errors.Is(err, ErrInvalidKey):
		s.Metrics.AuthFailed("invalid")
	case errors.As(err, new(Suspended)):
		s.Metrics.AuthFailed("suspended")
	case errors.As(err, new(TooManyFailures)):
		s.Metrics.AuthFailed("too_many")
	case errors.As(err, new(fault.Forbidden)):
		s.Metrics.AuthFailed("address")
	default:
		s.Metrics.AuthFailed("unavailable")
	}
	return p, err
}

func (s *Service) authenticate(ctx context.Context, token string, addr netip.Addr) (*Principal, error) {
	if token == "" {
		return nil, ErrInvalidKey // nobody has tried a key
	}
	now, allowed := time.Now(), s.Failures
	if allowed == 0 {
		allowed = DefaultFailures
	}
	if !plausible(token) {
		return nil, s.failures.fail(addr, allowed, now, ErrInvalidKey)
	}
	digests := s.digests(token)
	p, touch := s.cache.get(digests[0].digest, now)
	if p == nil {
		if err := s.failures.mayLook(addr, allowed, now); err != nil {
			return nil, err
		}
		var err error
		if p, touch, err = s.look(ctx, digests, now); err != nil {
			return nil, err
		}
	}
	if p == nil {
		return nil, s.failures.fail(addr, allowed, now, ErrInvalidKey)
	}
	if err := p.Key.usable(now); err != nil {
		if err = s.failures.fail(addr, allowed, now, err); !errors.As(err, new(Suspended)) {
			p = nil
		}
		return p, err
	}
	if !p.Key.allows(addr) {
		return p, fault.Forbidden{Message: "Access denied"}
	}
	if touch {
		if err := s.Store.touch(ctx, s.DB, p.Key.ID, lastUsedEvery); err != nil {
			s.log().WarnContext(ctx, "the last use of a key was not noted", "key_id", p.Key.ID, "err", err)
		}
	}
	return p, nil
}

// look reads a principal and keeps it; nil when no key has one of the digests.
func (s *Service) look(ctx context.Context, digests []peppered, now time.Time) (p *Principal, touch bool, err error) {
	mark := s.cache.mark()
	p, err = s.Store.principal(ctx, s.DB, digests)
	if err != nil || p == nil {
		return nil, false, err
	}
	known := slices.ContainsFunc(digests, func(d peppered) bool { return subtle.ConstantTimeCompare(p.Key.Digest, d.digest) == 1 })
	if !known {
		return nil, false, nil
	}
	if newest := digests[0]; p.Key.Pepper != newest.version && p.Key.usable(now) == nil {
		if err := s.Store.repepper(ctx, s.DB, p.Key.ID, p.Key.Digest, newest); err != nil {
			s.log().WarnContext(ctx, "a key stays under an older pepper", "key_id", p.Key.ID, "err", err)
		}
	}
	used := now
	if touch = p.Key.LastUsedAt == nil || now.Sub(*p.Key.LastUsedAt) > lastUsedEvery; !touch {
		used = *p.Key.LastUsedAt
	}
	s.cache.put(digests[0].digest, p, mark, now, used)
	return p, touch, nil
}

// Ended says which of the keys no longer hold: for sockets, which live on.
func (s *Service) Ended(ctx context.Context, keyIDs []string) ([]string, error) {
	holding, err := s.Store.holding(ctx, s.DB, keyIDs)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(keyIDs), func(id string) bool { return slices.Contains(holding, id) }), nil
}

func (s *Service) log() *slog.Logger {
	if s.Log == nil {
		return slog.Default()
	}
	return s.Log
}

func (k *Key) usable(now time.Time) error {
	switch {
	case k.RevokedAt != nil, k.ExpiresAt != nil && !now.Before(*k.ExpiresAt):
		return ErrInvalidKey
	case k.SuspendedAt != nil:
		out := Suspended{At: *k.SuspendedAt}
		if k.SuspendedReason != nil {
			out.Reason = *k.SuspendedReason
		}
		return out
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
		if err == nil && p.Addr().Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
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

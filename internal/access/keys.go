package access

import (
	"context"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"github.com/enrichd/enrichd/internal/fault"
	"github.com/enrichd/enrichd/internal/ident"
	"github.com/enrichd/enrichd/internal/pg"
)

// RevokedPrefix begins the wake-up id that announces a revoked or suspended key,
// ResumedPrefix that of one that holds again or changed otherwise.
const (
	RevokedPrefix = "key:"
	ResumedPrefix = "key-resumed:"
)

// keysPerName is how many live keys of one mode may have the same name: the one in use and the one that replaces it.
const keysPerName = 2

// Bounds of what is written about keys, in bytes.
const (
	maxLabel  = 200
	maxReason = 500
)

// NewKey says what a key shall be.
type NewKey struct {
	CompanyID string
	// Label is the key's name; without one it is called by its prefix.
	Label      string
	Test       bool
	Scopes     []Scope
	AllowedIPs []string
	ExpiresAt  *time.Time
	// Manages are the companies that a key of an applicant tracking system acts
	// for. nil makes a key of its own company; an empty list one that manages none yet.
	Manages []string
	// PersistedOnly holds it to the GraphQL operations that the server knows by their hash.
	PersistedOnly bool
}

func (in NewKey) check(now time.Time) error {
	if err := fault.Text("label", in.Label, maxLabel); err != nil {
		return err
	}
	if len(in.Scopes) == 0 {
		return fault.Invalid("scopes", "must name at least one scope")
	}
	for _, scope := range in.Scopes {
		if !slices.Contains(Scopes, scope) {
			return fault.Invalid("scopes", "knows no scope %q", scope)
		}
	}
	for _, network := range in.AllowedIPs {
		if _, err := parseNetwork(network); err != nil {
			return fault.Invalid("allowedIPs", "%q is no address and no CIDR range", network)
		}
	}
	if in.ExpiresAt != nil && !in.ExpiresAt.After(now) {
		return fault.Invalid("expiresAt", "has passed already")
	}
	return nil
}

// CreateKey makes a key and returns it with its secret, which is shown this once.
func (s *Service) CreateKey(ctx context.Context, in NewKey) (*Key, string, error) {
	now := time.Now()
	if err := in.check(now); err != nil {
		return nil, "", err
	}
	token, by := newToken(in.Test), actor(ctx)
	stored := s.digests(token)[0]
	k := &Key{
		ID: ident.NewUUID(), CompanyID: in.CompanyID, Label: in.Label, Prefix: token[:shownChars],
		Digest: stored.digest, Pepper: stored.version, Test: in.Test, Scopes: in.Scopes,
		AllowedIPs: append([]string{}, in.AllowedIPs...), ExpiresAt: in.ExpiresAt, Manages: in.Manages != nil, PersistedOnly: in.PersistedOnly,
		CreatedBy: &by, CreatedAt: now.UTC().Truncate(time.Microsecond),
	}
	if k.Label == "" {
		k.Label = k.Prefix
	}
	err := pg.InTx(ctx, s.DB, func(ctx context.Context, tx bun.Tx) error {
		// The company's row is locked, so that two callers count one after the other.
		known, err := s.Store.lockCompany(ctx, tx, in.CompanyID)
		if err != nil {
			return err
		}
		if !known {
			return noCompany("companyId", in.CompanyID)
		}
		live, err := s.Store.liveKeys(ctx, tx, k)
		if err != nil {
			return err
		}
		if live >= keysPerName {
			return fault.LimitExceeded{
				Head:  fault.Head{Message: "two live keys have this name already: revoke one first", Field: []string{"label"}},
				Limit: keysPerName, Actual: live + 1,
			}
		}
		if err := s.Store.insertKey(ctx, tx, k); err != nil {
			return err
		}
		for _, company := range in.Manages {
			if err := s.manage(ctx, tx, k, company, true); err != nil {
				return err
			}
		}
		return s.Store.audit(ctx, tx, k, "created", by, "")
	})
	if err != nil {
		return nil, "", err
	}
	return k, token, nil
}

// Keys lists a company's keys, revoked ones included, oldest first.
func (s *Service) Keys(ctx context.Context, companyID string) ([]*Key, error) {
	return s.Store.keys(ctx, s.DB, companyID)
}

// Revoke ends a key for good; its sockets close soon after, on every node.
// Revoking twice changes nothing. companyID "" is an operator, who reaches every company's keys.
func (s *Service) Revoke(ctx context.Context, companyID, id string) (*Key, error) {
	return s.change(ctx, companyID, id, RevokedPrefix, func(k *Key, now time.Time) (action, detail string, err error) {
		if k.RevokedAt != nil {
			return "", "", nil
		}
		k.RevokedAt = &now
		return "revoked", "", nil
	})
}

// Suspend takes a key out of use until Resume; its sockets close as if it were
// revoked. reason is shown to whoever uses the key. A key that is suspended already keeps its time and gets the new reason.
func (s *Service) Suspend(ctx context.Context, companyID, id, reason string) (*Key, error) {
	if err := fault.Text("reason", reason, maxReason); err != nil {
		return nil, err
	}
	return s.change(ctx, companyID, id, RevokedPrefix, func(k *Key, now time.Time) (action, detail string, err error) {
		if k.RevokedAt != nil {
			return "", "", fault.Conflict{Head: fault.Head{Message: "the key is revoked", Field: []string{"id"}}, State: "revoked"}
		}
		if k.SuspendedAt == nil {
			k.SuspendedAt = &now
		}
		if k.SuspendedReason = nil; reason != "" {
			k.SuspendedReason = &reason
		}
		return "suspended", reason, nil
	})
}

// Resume puts a suspended key back into use. Resuming one that is not suspended changes nothing.
func (s *Service) Resume(ctx context.Context, companyID, id string) (*Key, error) {
	return s.change(ctx, companyID, id, ResumedPrefix, func(k *Key, _ time.Time) (action, detail string, err error) {
		if k.SuspendedAt == nil {
			return "", "", nil
		}
		k.SuspendedAt, k.SuspendedReason = nil, nil
		return "resumed", "", nil
	})
}

// SetKeyLimits gives a key figures of its own; nil gives it the plan's again.
func (s *Service) SetKeyLimits(ctx context.Context, companyID, id string, l *Limits) (*Key, error) {
	if err := l.check(); err != nil {
		return nil, err
	}
	return s.change(ctx, companyID, id, ResumedPrefix, func(k *Key, _ time.Time) (action, detail string, err error) {
		k.Limits = l
		return "limits set", "", nil
	})
}

// SetPersistedOnly holds a key to the GraphQL operations that the server knows by
// their hash, or, with only false, lets it send any. A key that is held to them
// loses its sockets: they signed in when it was free.
func (s *Service) SetPersistedOnly(ctx context.Context, companyID, id string, only bool) (*Key, error) {
	prefix, action := ResumedPrefix, "may send any operation"
	if only {
		prefix, action = RevokedPrefix, "may send known operations only"
	}
	return s.change(ctx, companyID, id, prefix, func(k *Key, _ time.Time) (string, string, error) {
		if k.PersistedOnly == only {
			return "", "", nil
		}
		k.PersistedOnly = only
		return action, "", nil
	})
}

// change changes a key that mutate has changed in memory, writes the audit
// line, and announces it under prefix. An empty action changes nothing, and is announced all the same.
func (s *Service) change(ctx context.Context, companyID, id, prefix string, mutate func(k *Key, now time.Time) (action, detail string, err error)) (*Key, error) {
	var k *Key
	err := pg.InTx(ctx, s.DB, func(ctx context.Context, tx bun.Tx) (err error) {
		if k, err = s.Store.lockKey(ctx, tx, companyID, id); err != nil {
			return err
		}
		if k == nil {
			return fault.NotFound{Head: fault.Head{Message: "no such key", Field: []string{"id"}}, Type: "ApiKey", ID: id}
		}
		action, detail, err := mutate(k, time.Now().UTC().Truncate(time.Microsecond))
		if err != nil || action == "" {
			return err
		}
		if err := s.Store.updateKey(ctx, tx, k); err != nil {
			return err
		}
		return s.Store.audit(ctx, tx, k, action, actor(ctx), detail)
	})
	if err != nil {
		return nil, err
	}
	s.announce(prefix + k.ID)
	return k, nil
}

// announce tells every node, this one before it returns.
func (s *Service) announce(id string) {
	s.Announced([]string{id})
	s.Wake.Publish(id)
}

// Audit lists what happened to a key, oldest first.
func (s *Service) Audit(ctx context.Context, keyID string) ([]*AuditLine, error) {
	return s.Store.audits(ctx, s.DB, keyID)
}

// actor is who acts: the key of ctx, or an operator on the command line.
func actor(ctx context.Context) string {
	if p := From(ctx); p != nil && p.Key.ID != "" {
		return p.Key.ID
	}
	return "cli"
}

func noCompany(field, id string) error {
	return fault.NotFound{Head: fault.Head{Message: "no such company", Field: []string{field}}, Type: "Company", ID: id}
}

package email

import (
	"context"
	"slices"
	"time"

	"github.com/enrichd/enrichd/enrichment/pipeline"
)

// Verifier checks addresses by syntax, lists and DNS. It needs only DNS; it is
// safe for concurrent use and must not be copied after first use.
type Verifier struct {
	DNS Resolver
	// TTL is how long an answer about a domain is kept; 0 is an hour. Failures are kept 15 s at most.
	TTL time.Duration
	// Now is the clock that expires answers; nil is time.Now.
	Now func() time.Time

	cache cache
}

var _ pipeline.Verifier = (*Verifier)(nil)

// Check says what is known of one address. published says that the person shows
// it on a page accepted as theirs; any other address is a guess and never better
// than RISKY. What cannot be told is UNKNOWN, never INVALID.
func (v *Verifier) Check(ctx context.Context, address string, published bool) pipeline.EmailCheck {
	a, err := Parse(address)
	if err != nil {
		return pipeline.EmailCheck{Address: address, Status: pipeline.EmailInvalid, Method: pipeline.EmailDNSOnly, Reasons: reasons(published, "syntax")}
	}
	seen := v.look(ctx, a, published)
	c := pipeline.EmailCheck{Address: a.String(), Status: seen.status(), Method: pipeline.EmailDNSOnly, Reasons: seen.reasons()}
	if published && c.Status != pipeline.EmailInvalid && c.Status != pipeline.EmailUnknown {
		c.Method = pipeline.EmailSelfPublished
	}
	return c
}

// seen is everything that speaks for or against one address.
type seen struct {
	published, disposable, role, free, smtputf8 bool
	domain                                      finding
}

func (v *Verifier) look(ctx context.Context, a Address, published bool) seen {
	now, ttl := v.Now, v.TTL
	if now == nil {
		now = time.Now
	}
	if ttl <= 0 {
		ttl = defaultTTL
	}
	l := known()
	s := seen{
		published:  published,
		role:       l.isRole(a.Local),
		free:       l.free[a.Domain],
		smtputf8:   a.NeedsSMTPUTF8(),
		disposable: l.isDisposable(a.Domain),
		domain: v.cache.get(ctx, a.Domain, now, ttl, func(ctx context.Context) finding {
			return ask(ctx, v.DNS, a.Domain)
		}),
	}
	// Throw-away services let anybody point a fresh domain at their mail hosts.
	s.disposable = s.disposable || slices.ContainsFunc(s.domain.hosts, l.isDisposable)
	return s
}

// status is the first that applies of INVALID, DISPOSABLE, ROLE, (CATCH_ALL_LIKELY,
// CATCH_ALL,) VALID, RISKY, UNKNOWN. VALID and RISKY both need a domain that takes mail.
func (s seen) status() pipeline.EmailStatus {
	switch {
	case s.domain.verdict == no:
		return pipeline.EmailInvalid
	case s.disposable:
		return pipeline.EmailDisposable
	case s.role:
		return pipeline.EmailRole
	case s.domain.verdict == cannotTell:
		return pipeline.EmailUnknown
	case s.published:
		return pipeline.EmailValid
	default:
		return pipeline.EmailRisky
	}
}

func (s seen) reasons() []string {
	var more []string
	for _, r := range []struct {
		seen bool
		word string
	}{{s.disposable, "disposable"}, {s.role, "role"}, {s.free, "free_provider"}, {s.smtputf8, "smtputf8_needed"}} {
		if r.seen {
			more = append(more, r.word)
		}
	}
	return reasons(s.published, append(more, s.domain.reasons...)...)
}

func reasons(published bool, more ...string) []string {
	first := "pattern_guess"
	if published {
		first = "published"
	}
	return append([]string{first}, more...)
}

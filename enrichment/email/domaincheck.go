package email

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"time"

	"github.com/enrichd/enrichd/internal/egress"
)

// Resolver is what the verifier asks; egress.Resolver is one. No such name is
// egress.ErrNoName, no records an empty answer, anything else a failure.
type Resolver interface {
	MX(ctx context.Context, name string) ([]egress.MX, error)
	Addrs(ctx context.Context, name string) ([]netip.Addr, error)
}

// verdict is the three-valued answer to "does this domain take mail?".
type verdict int

const (
	cannotTell verdict = iota
	yes
	no
)

// finding is what DNS said about one domain.
type finding struct {
	verdict verdict
	reasons []string
	hosts   []string // mail hosts, best first
}

const (
	lookupTimeout = 5 * time.Second
	// maxMailHosts is how many exchangers are tried: a domain whose first five do not exist is not run by anybody.
	maxMailHosts = 5
)

// ask finds out whether a domain takes mail, by RFC 5321, section 5.1, and RFC 7505.
func ask(ctx context.Context, dns Resolver, domain string) finding {
	records, err := dns.MX(ctx, domain)
	switch {
	case errors.Is(err, egress.ErrNoName):
		return finding{verdict: no, reasons: []string{"no_domain"}}
	case err != nil:
		return failure(ctx)
	}
	var hosts []string
	for _, mx := range records {
		if mx.Host != "" { // a null MX beside others is against RFC 7505 and says nothing
			hosts = append(hosts, mx.Host)
		}
	}
	switch {
	case len(hosts) > 0:
		return askHosts(ctx, dns, hosts)
	case len(records) > 0:
		return finding{verdict: no, reasons: []string{"null_mx"}}
	default:
		return askImplicit(ctx, dns, domain)
	}
}

// askHosts looks for one mail host with an address.
func askHosts(ctx context.Context, dns Resolver, hosts []string) finding {
	f := finding{verdict: no, reasons: []string{"no_mail_host"}, hosts: hosts}
	for _, host := range hosts[:min(len(hosts), maxMailHosts)] {
		addrs, err := dns.Addrs(ctx, host)
		switch {
		case len(addrs) > 0:
			return finding{verdict: yes, hosts: hosts}
		case err != nil && !errors.Is(err, egress.ErrNoName) && f.verdict == no:
			f.verdict = cannotTell
			f.reasons = append(f.reasons, failure(ctx).reasons...)
		}
	}
	return f
}

// askImplicit takes the domain itself for its mail host, when it has an address.
func askImplicit(ctx context.Context, dns Resolver, domain string) finding {
	addrs, err := dns.Addrs(ctx, domain)
	switch {
	case len(addrs) > 0:
		return finding{verdict: yes, reasons: []string{"no_mx_a_fallback"}, hosts: []string{domain}}
	case errors.Is(err, egress.ErrNoName):
		return finding{verdict: no, reasons: []string{"no_domain"}}
	case err != nil:
		return failure(ctx)
	default:
		return finding{verdict: no, reasons: []string{"no_mail_host"}}
	}
}

func failure(ctx context.Context) finding {
	f := finding{verdict: cannotTell, reasons: []string{"dns_failure"}}
	if ctx.Err() != nil {
		f.reasons = append(f.reasons, "timeout")
	}
	return f
}

const (
	defaultTTL = time.Hour
	// failureTTL is short: a failure is asked again soon, but not once for each of a company's addresses.
	failureTTL = 15 * time.Second
	maxCached  = 20_000
)

// cache remembers findings and lets equal questions share one lookup. The zero value is ready.
type cache struct {
	mu      sync.Mutex
	entries map[string]*entry
}

type entry struct {
	done    chan struct{} // closed when found is set
	found   finding
	expires time.Time
}

// get returns the finding about domain, from find when none is known at now.
// Whoever comes first looks it up, under its own context; if that ends early,
// the next in line looks again. Nobody waits longer than its own context.
func (c *cache) get(ctx context.Context, domain string, now func() time.Time, ttl time.Duration, find func(context.Context) finding) finding {
	for {
		e, mine := c.claim(domain, now())
		if mine {
			return c.fill(ctx, domain, e, now, ttl, find)
		}
		select {
		case <-e.done:
			if !e.expires.IsZero() {
				return e.found
			}
		case <-ctx.Done():
			return failure(ctx)
		}
	}
}

// claim returns the entry in force, or a new one that is the caller's to fill.
func (c *cache) claim(domain string, now time.Time) (e *entry, mine bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.entries[domain]; ok {
		select {
		case <-e.done:
			if now.Before(e.expires) {
				return e, false
			}
		default:
			return e, false
		}
	}
	if c.entries == nil || len(c.entries) >= maxCached {
		c.entries = map[string]*entry{} // begun lookups end on their own; those who wait hold the entry
	}
	e = &entry{done: make(chan struct{})}
	c.entries[domain] = e
	return e, true
}

func (c *cache) fill(ctx context.Context, domain string, e *entry, now func() time.Time, ttl time.Duration, find func(context.Context) finding) finding {
	finished := false
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if !finished && c.entries[domain] == e {
			delete(c.entries, domain)
		}
		close(e.done)
	}()
	bounded, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	found := find(bounded)
	if ctx.Err() != nil && found.verdict == cannotTell {
		return found // says nothing about the domain
	}
	if found.verdict == cannotTell {
		ttl = min(ttl, failureTTL)
	}
	e.found, e.expires, finished = found, now().Add(ttl), true
	return found
}

package access

import (
	"net/netip"
	"sync"
	"time"

	"github.com/enrichd/enrichd/internal/limit/gcra"
)

// TooManyFailures refuses an address that has sent too many keys that do not
// hold. It says nothing about the key, nor about limits.
type TooManyFailures struct{ RetryAfter time.Duration }

// Error tells when not what.
func (TooManyFailures) Error() string { return "Too many requests" }

// DefaultFailures is how many failed sign-ins one address may have a minute.
const DefaultFailures = 20

// maxSources bounds the addresses that are remembered; each takes some 100 bytes.
const maxSources = 50_000

// failures counts failed sign-ins by address. It is this node's alone: a
// caller without a key must not be able to make us write to the database.
type failures struct {
	mu sync.Mutex
	// failed are the failures, looked the look-ups of an address that has none left: a key
	// that holds gets in from such an address too, but nobody can make us look up without end.
	failed, looked map[netip.Prefix]time.Time
}

// mayLook reports whether a key from addr may be looked up.
func (f *failures) mayLook(addr netip.Addr, perMinute int, now time.Time) error {
	rate := gcra.PerMinute(int64(perMinute), int64(perMinute))
	f.mu.Lock()
	defer f.mu.Unlock()
	from := source(addr)
	if rate.Left(f.failed[from], now) > 0 {
		return nil
	}
	next, wait, ok := rate.Take(f.looked[from], now, 1)
	if !ok {
		return TooManyFailures{RetryAfter: wait}
	}
	f.looked = remember(f.looked, from, next, now)
	return nil
}

// fail counts a failure and returns what the caller is told: err, or that there were too many.
func (f *failures) fail(addr netip.Addr, perMinute int, now time.Time, err error) error {
	rate := gcra.PerMinute(int64(perMinute), int64(perMinute))
	f.mu.Lock()
	defer f.mu.Unlock()
	from := source(addr)
	next, wait, ok := rate.Take(f.failed[from], now, 1)
	if !ok {
		return TooManyFailures{RetryAfter: wait}
	}
	f.failed = remember(f.failed, from, next, now)
	return err
}

// remember stores a bucket. A full table first forgets the full buckets, and when there are none all.
func remember(m map[netip.Prefix]time.Time, from netip.Prefix, tat, now time.Time) map[netip.Prefix]time.Time {
	if m == nil {
		m = map[netip.Prefix]time.Time{}
	}
	if _, known := m[from]; !known && len(m) >= maxSources {
		for p, at := range m {
			if !at.After(now) {
				delete(m, p)
			}
		}
		if len(m) >= maxSources {
			clear(m)
		}
	}
	m[from] = tat
	return m
}

package source

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/enrichd/enrichd/enrichment/pipeline"
	"github.com/enrichd/enrichd/internal/egress"
)

// quota is what a source grants: so many calls per span, all at once at most burst.
type quota struct {
	calls int
	per   time.Duration
	burst int
}

// limitsOf are the published limits of a source, by bucket; "" is every call that has no bucket of its own.
func limitsOf(name string, keyed bool) map[string]quota {
	switch {
	case name == "github" && keyed:
		return map[string]quota{"": {5000, time.Hour, 100}, "search": {30, time.Minute, 10}}
	case name == "github":
		return map[string]quota{"": {60, time.Hour, 60}, "search": {10, time.Minute, 10}}
	case name == "openalex":
		return map[string]quota{"": {10, time.Second, 10}}
	}
	return map[string]quota{"": {50, time.Second, 50}}
}

// longestPause bounds what a source's own words can make us wait.
const longestPause = time.Hour

// limits are the token buckets of one source, corrected by what it answers.
type limits struct {
	mu      sync.Mutex
	quotas  map[string]quota
	buckets map[string]*rate.Limiter
	resume  map[string]time.Time // per bucket: not before; "*" is the whole source
}

func newLimits(quotas map[string]quota) *limits {
	l := &limits{quotas: quotas, buckets: map[string]*rate.Limiter{}, resume: map[string]time.Time{}}
	for name, q := range quotas {
		l.buckets[name] = rate.NewLimiter(rate.Limit(float64(q.calls)/q.per.Seconds()), q.burst)
	}
	return l
}

// bucket answers the name of the bucket that a call falls under.
func (l *limits) bucket(name string) string {
	if _, ok := l.buckets[name]; ok {
		return name
	}
	return ""
}

// wait waits for a token. When it would not come before the deadline, the ask is lost as limited at once.
func (l *limits) wait(ctx context.Context, name string) (pipeline.Loss, string) {
	name = l.bucket(name)
	l.mu.Lock()
	until := l.resume["*"]
	if at := l.resume[name]; at.After(until) {
		until = at
	}
	l.mu.Unlock()
	if pause := time.Until(until); pause > 0 {
		if !fits(ctx, pause) || !rest(ctx, pause) {
			return pipeline.LossLimited, "the source asked for patience"
		}
	}
	if err := l.buckets[name].Wait(ctx); err != nil {
		return pipeline.LossLimited, "the source's limit is used up"
	}
	return "", ""
}

// correct learns from a response: how many calls are left until when, at which
// rate, and whether the source asked for a pause, which then holds for all of it.
func (l *limits) correct(name string, status int, h egress.Header, now time.Time) {
	name = l.bucket(name)
	l.mu.Lock()
	defer l.mu.Unlock()
	limited := status == statusTooManyRequests || status == statusUnavailable || status == statusForbidden
	if d, ok := retryAfter(h, now); ok && limited {
		l.pause("*", now.Add(d), now)
	} else if status == statusTooManyRequests {
		l.pause("*", now.Add(5*time.Second), now)
	}
	if remaining, reset, ok := remainingCalls(h, now); ok {
		q := l.quotas[name]
		l.buckets[name].SetBurstAt(now, max(1, min(q.burst, remaining)))
		if remaining == 0 {
			l.pause(name, reset, now)
		}
	}
	// Crossref states its rate as X-Rate-Limit-Limit calls per X-Rate-Limit-Interval ("1s").
	if n, err := strconv.Atoi(h.Get("X-Rate-Limit-Limit")); err == nil && n > 0 {
		if per, err := time.ParseDuration(h.Get("X-Rate-Limit-Interval")); err == nil && per > 0 {
			q := l.quotas[name]
			own := float64(q.calls) / q.per.Seconds()
			l.buckets[name].SetLimitAt(now, rate.Limit(min(own, float64(n)/per.Seconds())))
		}
	}
}

func (l *limits) pause(name string, until, now time.Time) {
	if latest := now.Add(longestPause); until.After(latest) {
		until = latest
	}
	if until.After(l.resume[name]) {
		l.resume[name] = until
	}
}

// remainingCalls reads X-RateLimit-* (reset as epoch or as seconds), RateLimit-*
// and the structured RateLimit field (draft-ietf-httpapi-ratelimit-headers: r= and t=).
func remainingCalls(h egress.Header, now time.Time) (remaining int, reset time.Time, ok bool) {
	for _, prefix := range []string{"X-Ratelimit-", "Ratelimit-"} {
		n, err := strconv.Atoi(strings.TrimSpace(h.Get(prefix + "Remaining")))
		if err != nil || n < 0 {
			continue
		}
		return n, resetAt(h.Get(prefix+"Reset"), now), true
	}
	found := false
	reset = now.Add(time.Minute)
	for part := range strings.SplitSeq(h.Get("Ratelimit"), ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		n, err := strconv.Atoi(value)
		switch {
		case err != nil || n < 0:
		case name == "r":
			remaining, found = n, true
		case name == "t":
			reset = now.Add(time.Duration(min(n, int(longestPause/time.Second))) * time.Second)
		}
	}
	return remaining, reset, found
}

// resetAt reads a reset as seconds from now or, when it is too large for that, as seconds since 1970.
func resetAt(s string, now time.Time) time.Time {
	n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
	switch {
	case err != nil || n < 0:
		return now.Add(time.Minute)
	case n < 1_000_000_000:
		return now.Add(time.Duration(min(n, int64(longestPause/time.Second))) * time.Second)
	}
	return time.Unix(n, 0)
}

// retryAfter reads Retry-After as seconds or as a date (RFC 9110 section 10.2.3), at most longestPause.
func retryAfter(h egress.Header, now time.Time) (time.Duration, bool) {
	s := strings.TrimSpace(h.Get("Retry-After"))
	if s == "" {
		return 0, false
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		if n < 0 {
			return 0, false
		}
		return time.Duration(min(n, int64(longestPause/time.Second))) * time.Second, true
	}
	at, err := httpDate(s)
	if err != nil {
		return 0, false
	}
	return min(max(at.Sub(now), 0), longestPause), true
}

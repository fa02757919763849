package limit

import (
	"strconv"
	"time"
)

// Window is one of the two figures of a limit.
type Window struct {
	// Limit is the documented figure, 0 when there is none. Remaining is what may
	// be taken at once, at most Limit and never below 0. Reset is when Remaining
	// will be Limit again; of the window that refused, when it will admit what was refused.
	Limit, Remaining int64
	Reset            time.Time
}

// Verdict is what a bucket says to one call: the tighter of the key's and the company's figures.
type Verdict struct {
	Allowed bool
	Bucket  Bucket
	// Minute is the bucket that fills continuously, Hour the quota of a clock hour (UTC).
	Minute, Hour Window
	// Capacity is how many tokens a full bucket holds, Left how many it holds now, PerSecond how many come back a second.
	Capacity, Left, PerSecond int64
	// RetryAfter is how long to wait when not Allowed, in whole seconds and at least one.
	RetryAfter time.Duration
	// ByHour says that the hour's quota refused, and not the minute's bucket.
	ByHour bool

	now time.Time
}

// Refusing is the window that refused.
func (v Verdict) Refusing() Window {
	if v.ByHour {
		return v.Hour
	}
	return v.Minute
}

// SetHeaders tells the caller its limits, in the six headers of the older
// contract and in RateLimit-Policy and RateLimit (draft-ietf-httpapi-ratelimit-headers),
// with Retry-After (RFC 9110, 10.2.3) when it was refused. The zero Verdict sets none.
func (v Verdict) SetHeaders(header func(name, value string)) {
	if v.Minute.Limit == 0 {
		return
	}
	number := func(name string, n int64) { header(name, strconv.FormatInt(n, 10)) }
	number("X-RateLimit-Limit-Minute", v.Minute.Limit)
	number("X-RateLimit-Remaining-Minute", v.Minute.Remaining)
	number("X-RateLimit-Reset-Minute", v.Minute.Reset.Unix())
	policy := `"default";q=` + strconv.FormatInt(v.Minute.Limit, 10) + `;w=60`
	state := `"default";r=` + strconv.FormatInt(v.Minute.Remaining, 10) + `;t=` + strconv.FormatInt(v.seconds(v.Minute.Reset), 10)
	if v.Hour.Limit > 0 {
		number("X-RateLimit-Limit-Hour", v.Hour.Limit)
		number("X-RateLimit-Remaining-Hour", v.Hour.Remaining)
		number("X-RateLimit-Reset-Hour", v.Hour.Reset.Unix())
		policy += `, "hour";q=` + strconv.FormatInt(v.Hour.Limit, 10) + `;w=3600`
		state += `, "hour";r=` + strconv.FormatInt(v.Hour.Remaining, 10) + `;t=` + strconv.FormatInt(v.seconds(v.Hour.Reset), 10)
	}
	header("RateLimit-Policy", policy)
	header("RateLimit", state)
	if !v.Allowed {
		number("Retry-After", int64(v.RetryAfter/time.Second))
	}
}

func (v Verdict) seconds(until time.Time) int64 {
	return max(0, int64((until.Sub(v.now)+time.Second-1)/time.Second))
}

// Exceeded refuses a call whose bucket is empty.
type Exceeded struct{ Verdict Verdict }

// Error returns the older contract's message.
func (Exceeded) Error() string { return "Rate limit exceeded" }

// wholeSeconds rounds up to at least one second.
func wholeSeconds(d time.Duration) time.Duration {
	return max(time.Second, (d + time.Second - 1).Truncate(time.Second))
}

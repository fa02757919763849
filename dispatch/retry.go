package dispatch

import (
	"strconv"
	"strings"
	"time"
)

// The rules of when to try again. All of it is pure: the time and the chance come in.

// defaultCurve is the delay after the first, second, … failed attempt; the last
// one repeats. Nine retries take about three days.
var defaultCurve = []time.Duration{
	5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour,
	10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
}

const (
	jitter = 0.2 // of each delay, either way
	// slowDelay is the shortest delay, before jitter, after an answer that says
	// "too much": with the jitter it is never below a minute.
	slowDelay     = 75 * time.Second
	maxRetryAfter = 24 * time.Hour
)

// result is how an attempt ended, as far as the next step hangs on it.
type result struct {
	Status     int    // 0: no response came
	Failed     bool   // the attempt broke before the last byte of the answer
	Timeout    bool   // the attempt ran out of time
	Cancelled  bool   // this node cut the attempt short
	RetryAfter string // header, "" when absent
	Abort      bool   // the answer asks for no more retries of this delivery
}

// verdict is what an attempt means for its delivery.
type verdict struct {
	Status  DeliveryStatus
	Delay   time.Duration // until the next attempt, when RETRYING
	Disable bool          // the receiver is gone for good: disable its webhook
}

// policy is what a webhook and the configuration allow.
type policy struct {
	Curve      []time.Duration
	MaxRetries int
	MaxAge     time.Duration
}

// judge decides after attempt number (from 1) of a delivery that is age old.
// chance, in [0,1), spreads the delay.
func (p policy) judge(r result, number int, age time.Duration, now time.Time, chance float64) verdict {
	switch {
	case !r.Failed && r.Status >= 200 && r.Status <= 299:
		return verdict{Status: DeliveryDelivered}
	case r.Status == 410:
		return verdict{Status: DeliveryExhausted, Disable: true}
	case r.Abort, number > p.MaxRetries:
		return verdict{Status: DeliveryExhausted}
	}
	delay := p.delay(r, number, now, chance)
	if age+delay > p.MaxAge {
		return verdict{Status: DeliveryExhausted}
	}
	return verdict{Status: DeliveryRetrying, Delay: delay}
}

// delay is the curve's delay with jitter, raised to what the receiver asks for, up to a day.
func (p policy) delay(r result, number int, now time.Time, chance float64) time.Duration {
	own := p.Curve[min(number, len(p.Curve))-1]
	if slow(r) {
		own = max(own, slowDelay)
	}
	own = spread(own, chance)
	asked, ok := retryAfter(r.RetryAfter, now)
	if !ok {
		return own
	}
	return max(own, min(asked, maxRetryAfter))
}

// slow reports whether the receiver is overloaded rather than wrong.
func slow(r result) bool {
	switch r.Status {
	case 429, 502, 503, 504:
		return true
	}
	return r.Timeout
}

// spread moves d by up to 20 % either way; chance in [0,1) is even over the range.
func spread(d time.Duration, chance float64) time.Duration {
	return time.Duration(float64(d) * (1 - jitter + 2*jitter*chance))
}

// httpDates are the three forms that a recipient must accept (RFC 9110 5.6.7).
var httpDates = []string{"Mon, 02 Jan 2006 15:04:05 GMT", "Monday, 02-Jan-06 15:04:05 GMT", time.ANSIC}

// retryAfter reads a Retry-After value: seconds or an HTTP date (RFC 9110 10.2.3).
func retryAfter(value string, now time.Time) (time.Duration, bool) {
	value = strings.TrimSpace(value)
	if value == "" {
		return 0, false
	}
	if strings.Trim(value, "0123456789") == "" {
		seconds, err := strconv.ParseInt(value, 10, 64)
		if err != nil || seconds > int64(maxRetryAfter/time.Second) {
			return maxRetryAfter, true // longer than we ever wait
		}
		return time.Duration(seconds) * time.Second, true
	}
	for _, layout := range httpDates {
		if at, err := time.Parse(layout, value); err == nil {
			return max(0, at.Sub(now)), true
		}
	}
	return 0, false
}

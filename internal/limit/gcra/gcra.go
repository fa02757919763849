// Package gcra is the generic cell rate algorithm as pure functions: one
// instant is the whole state of a bucket, and nobody has to refill it.
//
// The state is the theoretical arrival time of the next token if tokens came
// evenly (ITU-T I.371, annex A). A bucket whose time lies in the past is full;
// the further its time lies ahead, the emptier it is.
package gcra

import "time"

// Rate is a bucket's size and how fast it fills.
type Rate struct {
	// Burst is how many tokens a full bucket holds.
	Burst int64
	// Every is the time in which one token comes back.
	Every time.Duration
}

// PerMinute is the rate of n tokens a minute in a bucket of burst; n must be above 0.
func PerMinute(n, burst int64) Rate {
	return Rate{Burst: burst, Every: max(1, time.Minute/time.Duration(n))}
}

// Take takes n tokens at now. It returns the bucket's next state, or, when it
// holds too few, the state unchanged and how long it takes until n are there.
// More than the burst will never be there; the time is then that of a bucket large enough.
func (r Rate) Take(tat, now time.Time, n int64) (next time.Time, wait time.Duration, ok bool) {
	next = r.Spend(tat, now, n)
	if wait = next.Sub(now) - r.span(r.Burst); wait > 0 {
		return tat, wait, false
	}
	return next, 0, true
}

// Spend is Take of what has been spent elsewhere already: the bucket may go below empty.
func (r Rate) Spend(tat, now time.Time, n int64) time.Time {
	if tat.Before(now) {
		tat = now
	}
	return tat.Add(r.span(n))
}

// Left is how many tokens the bucket holds at now, never below 0.
func (r Rate) Left(tat, now time.Time) int64 {
	return max(0, min(r.Burst, int64((r.span(r.Burst)-max(0, tat.Sub(now)))/r.Every)))
}

// Until is how long it takes from now until the bucket holds n tokens, at most its burst.
func (r Rate) Until(tat, now time.Time, n int64) time.Duration {
	return max(0, tat.Sub(now)-r.span(r.Burst-min(n, r.Burst)))
}

// span is the time in which n tokens come back, the longest there is when it would be longer.
func (r Rate) span(n int64) time.Duration {
	const most = time.Duration(1 << 61) // so that two of them still add up
	if n > 0 && time.Duration(n) > most/r.Every {
		return most
	}
	return time.Duration(n) * r.Every
}

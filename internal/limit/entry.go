package limit

import (
	"strings"
	"sync"
	"time"
)

// entry is what this node knows of one bucket. mu guards it, and is held while the node asks for a lease,
// so that those who come meanwhile share the answer.
type entry struct {
	name
	seen time.Time // under the limiter's lock

	mu     sync.Mutex
	policy policy

	// left of the lease, until ends; used of it and of earlier ones that is not booked yet.
	left, used int64
	ends       time.Time
	// seenUsed counts what the present lease saw used; the next is sized by it.
	seenUsed int64
	// beside is what the bucket held beside the lease at asked, hourLeft what was left of the hour then (with the lease).
	beside, hourLeft int64
	asked            time.Time
	// refused is what was asked for and not granted, and when to ask again.
	refused  int64
	askAgain time.Time
	wait     time.Time

	// tat and hour count what this node alone admitted, for when the database is away.
	tat      time.Time
	hour     int64
	hourUsed int64
}

func (e *entry) compare(o *entry) int {
	// "key:" sorts behind "company:", and must come first.
	if c := strings.Compare(o.owner[:1], e.owner[:1]); c != 0 {
		return c
	}
	if c := strings.Compare(e.owner, o.owner); c != 0 {
		return c
	}
	return strings.Compare(string(e.bucket), string(o.bucket))
}

// short reports whether the database must be asked before n tokens can be decided upon.
func (e *entry) short(now time.Time, n int64) bool {
	switch {
	case n == 0:
		return now.Sub(e.asked) >= leaseFor
	case now.Before(e.ends) && e.left >= n:
		return false
	case e.refused > 0 && n >= e.refused && now.Before(e.askAgain):
		return false
	}
	return true
}

// order asks for need tokens and some more, when the last lease was used up.
func (e *entry) order(need int64) order {
	var want int64
	switch {
	case need > 0 && e.seenUsed > 0:
		want = max(need, min(2*e.seenUsed, max(maxLease, e.policy.Burst/20)))
	case need > 0:
		want = max(need, firstLease)
	}
	return order{
		Owner: e.owner, Bucket: e.bucket, Used: e.used, Need: need, Want: want,
		Burst: e.policy.Burst, Every: e.policy.Every.Seconds(), Hour: e.policy.perHour,
	}
}

// accept takes in the answer to an order placed at now.
func (e *entry) accept(now time.Time, need int64, l lent) {
	e.used, e.seenUsed = 0, 0
	e.left, e.beside, e.hourLeft = l.granted, l.remaining, l.hourLeft
	e.asked, e.ends = now, now.Add(leaseFor)
	e.refused = 0
	if l.granted < need {
		e.refused, e.wait = need, now.Add(l.wait)
		if e.hourShort(need) {
			e.wait = nextHour(now)
		}
		// Others may give tokens back before that.
		e.askAgain = now.Add(min(e.wait.Sub(now), time.Second))
	}
}

func (e *entry) hourShort(n int64) bool { return e.policy.perHour > 0 && e.hourLeft-e.used < n }

// leased decides by the lease.
func (e *entry) leased(now time.Time, n int64) Verdict {
	left := e.beside
	if now.Before(e.ends) {
		left += e.left
	}
	left = min(e.policy.Burst, left+int64(now.Sub(e.asked)/e.policy.Every))
	v := e.verdict(now, left, e.hourLeft-e.used)
	if v.Allowed = n == 0 || now.Before(e.ends) && e.left >= n; !v.Allowed {
		v.refuse(now, e.wait, e.hourShort(n))
	}
	return v
}

// alone decides by what this node has admitted.
func (e *entry) alone(now time.Time, n int64) Verdict {
	if this := now.Unix() / 3600; e.hour != this {
		e.hour, e.hourUsed = this, 0
	}
	v := e.verdict(now, e.policy.Left(e.tat, now), e.policy.perHour-e.hourUsed)
	_, wait, ok := e.policy.Take(e.tat, now, n)
	byHour := e.policy.perHour > 0 && e.hourUsed+n > e.policy.perHour
	if v.Allowed = n == 0 || ok && !byHour; !v.Allowed {
		at := now.Add(wait)
		if byHour {
			at = nextHour(now)
		}
		v.refuse(now, at, byHour)
	}
	return v
}

// spend takes n tokens that were admitted.
func (e *entry) spend(now time.Time, n int64) {
	e.used += n
	e.seenUsed += n
	e.left = max(0, e.left-n)
	e.tat = e.policy.Spend(e.tat, now, n)
	if this := now.Unix() / 3600; e.hour != this {
		e.hour, e.hourUsed = this, 0
	}
	e.hourUsed += n
}

// verdict states the bucket's figures.
func (e *entry) verdict(now time.Time, left, hourLeft int64) Verdict {
	left = max(0, left)
	v := Verdict{
		Minute:   Window{Limit: e.policy.perMinute, Remaining: min(e.policy.perMinute, left)},
		Capacity: e.policy.Burst, Left: left, PerSecond: max(1, e.policy.perMinute/60),
	}
	v.Minute.Reset = now.Add(e.policy.Every * time.Duration(v.Minute.Limit-v.Minute.Remaining))
	if e.policy.perHour > 0 {
		v.Hour = Window{Limit: e.policy.perHour, Remaining: max(0, min(e.policy.perHour, hourLeft)), Reset: nextHour(now)}
	}
	return v
}

// refuse says when to come back.
func (v *Verdict) refuse(now, at time.Time, byHour bool) {
	v.RetryAfter, v.ByHour = wholeSeconds(at.Sub(now)), byHour
	if byHour {
		v.Hour.Remaining = 0
		return
	}
	v.Minute.Remaining, v.Minute.Reset = 0, now.Add(v.RetryAfter)
}

func nextHour(now time.Time) time.Time { return time.Unix((now.Unix()/3600+1)*3600, 0) }

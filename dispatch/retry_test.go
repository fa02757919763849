package dispatch

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

var nineRetries = policy{Curve: defaultCurve, MaxRetries: 9, MaxAge: 7 * 24 * time.Hour}

// even is the chance that leaves a delay as it is.
const even = 0.5

func near(got, want time.Duration) bool { return (got - want).Abs() < time.Millisecond }

func TestJudge(t *testing.T) {
	t.Parallel()
	now := time.Now()

	t.Run("takes any 2xx for success, unless the answer broke off", func(t *testing.T) {
		for _, status := range []int{200, 201, 202, 204, 299} {
			if v := nineRetries.judge(result{Status: status}, 1, 0, now, even); v.Status != DeliveryDelivered {
				t.Errorf("%d: %s", status, v.Status)
			}
		}
		if v := nineRetries.judge(result{Status: 200, Failed: true}, 1, 0, now, even); v.Status != DeliveryRetrying {
			t.Errorf("broken off: %s", v.Status)
		}
	})
	t.Run("tries every other answer again, redirects included", func(t *testing.T) {
		for _, status := range []int{0, 100, 300, 301, 302, 307, 400, 401, 404, 429, 500, 503, 599} {
			if v := nineRetries.judge(result{Status: status}, 1, 0, now, even); v.Status != DeliveryRetrying || v.Disable {
				t.Errorf("%d: %+v", status, v)
			}
		}
	})
	t.Run("gives up and disables at 410", func(t *testing.T) {
		if v := nineRetries.judge(result{Status: 410}, 1, 0, now, even); v != (verdict{Status: DeliveryExhausted, Disable: true}) {
			t.Errorf("%+v", v)
		}
	})
	t.Run("gives up when the answer asks to", func(t *testing.T) {
		if v := nineRetries.judge(result{Status: 400, Abort: true}, 1, 0, now, even); v != (verdict{Status: DeliveryExhausted}) {
			t.Errorf("%+v", v)
		}
		if v := nineRetries.judge(result{Status: 200, Abort: true}, 1, 0, now, even); v.Status != DeliveryDelivered {
			t.Errorf("a success stays one: %+v", v)
		}
	})
	t.Run("allows the retries of the webhook and no more", func(t *testing.T) {
		for retries := 0; retries <= 15; retries++ {
			p := policy{Curve: defaultCurve, MaxRetries: retries, MaxAge: 1000 * time.Hour}
			if v := p.judge(result{Status: 500}, retries+1, 0, now, even); v.Status != DeliveryExhausted {
				t.Errorf("%d retries, attempt %d: %s", retries, retries+1, v.Status)
			}
			if retries > 0 {
				if v := p.judge(result{Status: 500}, retries, 0, now, even); v.Status != DeliveryRetrying {
					t.Errorf("%d retries, attempt %d: %s", retries, retries, v.Status)
				}
			}
		}
	})
	t.Run("gives up rather than try again after seven days", func(t *testing.T) {
		if v := nineRetries.judge(result{Status: 500}, 8, 7*24*time.Hour-19*time.Hour, now, even); v.Status != DeliveryExhausted {
			t.Errorf("%+v", v)
		}
	})
	t.Run("follows the curve, whose last delay repeats", func(t *testing.T) {
		p := policy{Curve: defaultCurve, MaxRetries: 15, MaxAge: 1000 * time.Hour}
		var total time.Duration
		for number := 1; number <= 15; number++ {
			v := p.judge(result{Status: 500}, number, 0, now, even)
			if want := defaultCurve[min(number, 9)-1]; !near(v.Delay, want) {
				t.Errorf("after attempt %d: %s, not %s", number, v.Delay, want)
			}
			if total += v.Delay; number == 9 && (total < 72*time.Hour || total > 80*time.Hour) {
				t.Errorf("nine retries take %s, not about three days", total)
			}
		}
	})
}

func TestDelay(t *testing.T) {
	t.Parallel()

	t.Run("is spread evenly over 20 % either way", func(t *testing.T) {
		rapid.Check(t, func(t *rapid.T) {
			number := rapid.IntRange(1, 16).Draw(t, "number")
			own := defaultCurve[min(number, 9)-1]
			d := nineRetries.delay(result{Status: 500}, number, time.Now(), rapid.Float64Range(0, 0.999999).Draw(t, "chance"))
			if d < own*8/10 || d > own*12/10 {
				t.Fatalf("%s is outside %s ± 20 %%", d, own)
			}
		})
		below := 0
		for range 2000 {
			if spread(time.Hour, rand.Float64()) < time.Hour {
				below++
			}
		}
		if below < 850 || below > 1150 {
			t.Errorf("%d of 2000 are below the middle", below)
		}
	})
	t.Run("is at least a minute when the receiver is overloaded or silent", func(t *testing.T) {
		for _, r := range []result{{Status: 429}, {Status: 502}, {Status: 503}, {Status: 504}, {Timeout: true}} {
			if d := nineRetries.delay(r, 1, time.Now(), 0); d < time.Minute || d > 2*time.Minute {
				t.Errorf("%+v: %s", r, d)
			}
		}
	})
	t.Run("is raised to Retry-After, up to a day, and never lowered by it", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { // a clock that stands still
			now := time.Now()
			for value, want := range map[string]time.Duration{
				"120":                  2 * time.Minute,
				"3":                    5 * time.Second,
				"0":                    5 * time.Second,
				"86400":                24 * time.Hour,
				"86401":                24 * time.Hour,
				"99999999999999999999": 24 * time.Hour,
				"-5":                   5 * time.Second,
				"soon":                 5 * time.Second,
				"1.5":                  5 * time.Second,
				now.Add(time.Hour).UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT"):            time.Hour,
				now.Add(time.Hour).UTC().Format("Monday, 02-Jan-06 15:04:05 GMT"):           time.Hour,
				now.Add(time.Hour).UTC().Format(time.ANSIC):                                 time.Hour,
				now.Add(-time.Hour).UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT"):           5 * time.Second,
				now.Add(100 * 24 * time.Hour).UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT"): 24 * time.Hour,
			} {
				d := nineRetries.delay(result{Status: 400, RetryAfter: value}, 1, now, even)
				if (d - want).Abs() > time.Second {
					t.Errorf("Retry-After %q: %s, not %s", value, d, want)
				}
			}
		})
		if d := nineRetries.delay(result{Status: 503, RetryAfter: "1"}, 9, time.Now(), 0.99); d < 24*time.Hour {
			t.Errorf("Retry-After shortened the curve's own delay to %s", d)
		}
	})
}

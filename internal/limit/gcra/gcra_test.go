package gcra

import (
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

func TestBucket(t *testing.T) {
	t.Parallel()
	at := time.Unix(1_700_000_000, 0)
	r := PerMinute(60, 5)

	t.Run("gives its burst at once and then one token a second", func(t *testing.T) {
		t.Parallel()
		tat := time.Time{}
		for i := range 5 {
			if left := r.Left(tat, at); left != int64(5-i) {
				t.Fatalf("%d left before token %d", left, i)
			}
			next, _, ok := r.Take(tat, at, 1)
			if !ok {
				t.Fatalf("refuses token %d of its burst", i)
			}
			tat = next
		}
		if _, wait, ok := r.Take(tat, at, 1); ok || wait != time.Second {
			t.Errorf("the sixth: %v, wait %s", ok, wait)
		}
		if _, _, ok := r.Take(tat, at.Add(time.Second-1), 1); ok {
			t.Error("gives a token a moment too early")
		}
		if _, _, ok := r.Take(tat, at.Add(time.Second), 1); !ok {
			t.Error("does not give the token that has come back")
		}
	})
	t.Run("a refusal costs nothing", func(t *testing.T) {
		t.Parallel()
		tat, _, _ := r.Take(time.Time{}, at, 5)
		for range 100 {
			tat, _, _ = r.Take(tat, at, 3)
		}
		if _, _, ok := r.Take(tat, at.Add(3*time.Second), 3); !ok {
			t.Error("refused attempts have put the bucket back")
		}
	})
	t.Run("more than its burst is never there, however large", func(t *testing.T) {
		t.Parallel()
		for _, n := range []int64{6, 1 << 40, 1 << 62} {
			if _, wait, ok := r.Take(time.Time{}, at.Add(time.Hour), n); ok || wait <= 0 {
				t.Errorf("%d: %v after %s", n, ok, wait)
			}
		}
	})
	t.Run("a very fast bucket still counts", func(t *testing.T) {
		t.Parallel()
		fast := PerMinute(1<<40, 10)
		if fast.Every < 1 {
			t.Error("tokens come back in no time")
		}
	})
}

// TestLongRun holds the two promises of any schedule: never more than burst +
// elapsed/every tokens, and who waits as told is let in.
func TestLongRun(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := PerMinute(rapid.Int64Range(1, 6000).Draw(t, "perMinute"), rapid.Int64Range(1, 1000).Draw(t, "burst"))
		start := time.Unix(1_700_000_000, 0)
		now, tat, taken := start, time.Time{}, int64(0)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.Int64Range(0, int64(2*time.Second)).Draw(t, "pause")))
			n := rapid.Int64Range(1, r.Burst).Draw(t, "n")
			left := r.Left(tat, now)
			next, wait, ok := r.Take(tat, now, n)
			if ok != (n <= left) {
				t.Fatalf("%d of %d: %v", n, left, ok)
			}
			if !ok {
				if _, _, then := r.Take(tat, now.Add(wait), n); !then {
					t.Fatalf("waiting %s as told is not enough", wait)
				}
				if until := r.Until(tat, now, n); until != wait {
					t.Fatalf("until %s, wait %s", until, wait)
				}
				continue
			}
			tat, taken = next, taken+n
			if most := r.Burst + int64(now.Sub(start)/r.Every); taken > most {
				t.Fatalf("%d taken, at most %d may be", taken, most)
			}
		}
	})
}

func TestClock(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := PerMinute(30, 3)
		var tat time.Time
		admitted, until := 0, time.Now().Add(time.Minute)
		for time.Now().Before(until) {
			next, wait, ok := r.Take(tat, time.Now(), 1)
			if ok {
				admitted, tat = admitted+1, next
				continue
			}
			time.Sleep(wait)
		}
		if admitted != 3+29 { // the burst, and one every two seconds before the minute ends
			t.Errorf("%d admitted in a minute", admitted)
		}
	})
}

package pipeline

import "time"

// Config holds every figure that decides how a profile is worked on. The zero
// value of a field means its default (DefaultConfig).
type Config struct {
	// Slice is the longest that one Fetch or one address check may take.
	Slice time.Duration
	// LookupEnd, DiscoverEnd, CrawlEnd, VerifyEnd and GatherEnd are counted from the start of the profile.
	// DiscoverAt is when searching may start while own sites are still being read.
	LookupEnd, DiscoverAt, DiscoverEnd, CrawlEnd, VerifyEnd time.Duration
	// GatherEnd is when everything outside stops, and what is there is fused.
	GatherEnd time.Duration
	// Grace is what a Fetch gets past its slice to come back by itself before it is abandoned.
	Grace time.Duration
	// LeastSlice is the least time an Ask needs to be worth starting.
	LeastSlice time.Duration
	// SettleTime is kept free before the deadline of the caller's context, for fusing and settling.
	SettleTime time.Duration

	CrawlPages    int // pages read of one profile's sites, all sites together
	AsksPerSource int // asks of one profile to one source, all stages together
	Addresses     int // addresses checked of one profile

	// Reliability overrides Policy.Reliability, by "source" or "source.field".
	Reliability map[string]float64
	// Accept is the least confidence of an accepted fact.
	Accept float64
	// MonthlyLoss is the share that a volatile field loses each month.
	MonthlyLoss float64
	// ConflictWeight is how much of the loser's confidence counts against the winner.
	ConflictWeight float64
	// Enough is the confidence that name, role, company and location need for searching to stop.
	Enough float64
	// Weights of the criteria that a role brief can state.
	Weights Weights
}

// Weights say how much each criterion of a role brief counts; those that the brief does not state are left out of the mean.
type Weights struct {
	MustHave, Title, NiceToHave, Location, Description float64
}

// DefaultConfig answers the defaults that the documentation states.
func DefaultConfig() Config { return Config{}.withDefaults() }

func (c Config) withDefaults() Config {
	span := func(d *time.Duration, or time.Duration) {
		if *d <= 0 {
			*d = or
		}
	}
	count := func(n *int, or int) {
		if *n <= 0 {
			*n = or
		}
	}
	share := func(f *float64, or float64) {
		if *f <= 0 {
			*f = or
		}
	}
	span(&c.Slice, 3*time.Second)
	span(&c.LookupEnd, 3*time.Second)
	span(&c.DiscoverAt, 1500*time.Millisecond)
	span(&c.DiscoverEnd, 4500*time.Millisecond)
	span(&c.CrawlEnd, 6*time.Second)
	span(&c.VerifyEnd, 9*time.Second)
	span(&c.GatherEnd, 9700*time.Millisecond)
	span(&c.Grace, 100*time.Millisecond)
	span(&c.LeastSlice, 250*time.Millisecond)
	span(&c.SettleTime, 300*time.Millisecond)
	count(&c.CrawlPages, 6)
	count(&c.AsksPerSource, 16)
	count(&c.Addresses, 8)
	share(&c.Accept, 0.50)
	share(&c.MonthlyLoss, 0.02)
	share(&c.ConflictWeight, 0.5)
	share(&c.Enough, 0.8)
	if c.Weights == (Weights{}) {
		c.Weights = Weights{MustHave: 50, Title: 20, NiceToHave: 15, Location: 10, Description: 5}
	}
	return c
}

// within clips every window to end, so that a caller with less time than
// usual still gets an answer before its own deadline.
func (c Config) within(end time.Duration) Config {
	c.GatherEnd = min(c.GatherEnd, max(end, 0))
	c.LookupEnd = min(c.LookupEnd, c.GatherEnd)
	c.DiscoverAt = min(c.DiscoverAt, c.GatherEnd)
	c.DiscoverEnd = min(c.DiscoverEnd, c.GatherEnd)
	c.CrawlEnd = min(c.CrawlEnd, c.GatherEnd)
	c.VerifyEnd = min(c.VerifyEnd, c.GatherEnd)
	return c
}

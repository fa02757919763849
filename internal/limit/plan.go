// Package limit bounds how much a key and its company may ask for: buckets of
// tokens (package gcra) that hold across nodes, because every node draws on the
// same row and only lends itself tokens in blocks.
package limit

import (
	"github.com/enrichd/enrichd/internal/access"
	"github.com/enrichd/enrichd/internal/limit/gcra"
)

// Bucket is one kind of thing that is bounded, each with tokens of its own.
type Bucket string

// The buckets. What a company has is counted over its live keys together, and over its test keys together.
const (
	// Requests are HTTP requests; the figures of a plan are theirs.
	Requests Bucket = "requests"
	// Cost are the points of GraphQL operations.
	Cost Bucket = "cost"
	// Runs are starts of enrichment runs.
	Runs Bucket = "runs"
	// Connects are sockets that sign in.
	Connects Bucket = "connects"
	// Subscriptions are subscriptions that begin, over a socket or as an event stream.
	Subscriptions Bucket = "subscriptions"
	// Polls are reads of a REST results route, by one key.
	Polls Bucket = "polls"
)

// plans are the documented figures of each plan: requests a minute, requests an
// hour, and how many may come at once. Enterprise has what was agreed with it; until that is entered, Scale's.
var plans = map[string]access.Limits{
	"none":       {PerMinute: 60, PerHour: 2000, Burst: 60},
	"trial":      {PerMinute: 30, PerHour: 500, Burst: 50},
	"starter":    {PerMinute: 120, PerHour: 5000, Burst: 200},
	"business":   {PerMinute: 300, PerHour: 15_000, Burst: 500},
	"scale":      {PerMinute: 600, PerHour: 30_000, Burst: 1000},
	"enterprise": {PerMinute: 600, PerHour: 30_000, Burst: 1000},
}

const (
	// companyFactor is how many times the figures of one key all keys of a
	// company have together: one busy key does not starve the next, and making keys does not multiply what a plan gives.
	companyFactor = 4
	// costBase is what a full bucket of cost points holds on any plan, so that the dearest single operation can run.
	costBase = 10_000
	// costPerRequest is how many points come back for every request that a plan allows.
	costPerRequest = 120
	pollsPerMinute = 120
	// Reconnecting must not take longer because a server was replaced: a company's
	// thousand sockets, and what they watch, come back at once.
	connectBurst, connectsPerMinute           = 1000, 600
	subscriptionBurst, subscriptionsPerMinute = 10_000, 6000
)

// policy is what one bucket of one owner holds.
type policy struct {
	gcra.Rate
	// perMinute is the documented figure; perHour the quota of a clock hour, 0 for none.
	perMinute, perHour int64
}

// policyOf gives the policy of a bucket under a plan whose figures over replaces.
func policyOf(b Bucket, plan string, over *access.Limits, factor int64) policy {
	l, known := plans[plan]
	if !known {
		l = plans["none"]
	}
	if over != nil {
		if over.PerMinute > 0 {
			l.PerMinute, l.Burst = over.PerMinute, max(over.PerMinute, l.Burst)
		}
		if over.PerHour > 0 {
			l.PerHour = over.PerHour
		}
		if over.Burst > 0 {
			l.Burst = over.Burst
		}
	}
	perMinute, burst, perHour := l.PerMinute*factor, l.Burst*factor, l.PerHour*factor
	switch b {
	case Cost:
		perMinute, perHour = perMinute*costPerRequest, 0
		burst = costBase*factor + perMinute/6
	case Connects:
		perMinute, burst, perHour = max(perMinute, connectsPerMinute*factor), max(burst, connectBurst*factor), 0
	case Subscriptions:
		perMinute, burst, perHour = max(perMinute, subscriptionsPerMinute*factor), max(burst, subscriptionBurst*factor), 0
	case Polls:
		perMinute, burst, perHour = pollsPerMinute, pollsPerMinute, 0
	}
	return policy{Rate: gcra.PerMinute(perMinute, burst), perMinute: perMinute, perHour: perHour}
}

// draw is one bucket that a call draws on.
type draw struct {
	owner  string
	bucket Bucket
	policy policy
}

// draws lists the buckets of a call: the key's, and but for polls the company's.
// A company's own figures hold for each of its keys as well, unless the key has its own.
func draws(p *access.Principal, b Bucket) []draw {
	over := p.Key.Limits
	if over == nil {
		over = p.Company.Limits
	}
	out := []draw{{"key:" + p.Key.ID, b, policyOf(b, p.Company.Plan, over, 1)}}
	if b == Polls {
		return out
	}
	owner, factor := "company:"+p.Company.ID, int64(companyFactor)
	if p.Company.Limits != nil {
		factor = 1 // what was agreed is the whole company's
	}
	if p.Key.Test {
		owner += ":test"
	}
	return append(out, draw{owner, b, policyOf(b, p.Company.Plan, p.Company.Limits, factor)})
}

package dispatch

import (
	"math/rand/v2"
	"sync"
	"time"
)

// The measures of fairness on one node.
const (
	healthyAtOnce = 32 // attempts of one webhook under way
	failingAtOnce = 1  // of a webhook whose last attempt failed
	shortestWait  = 250 * time.Millisecond
	longestWait   = 30 * time.Second
	forgetAfter   = 10 * time.Minute // an idle webhook, and a job that waits no more
)

// gate keeps a dead receiver from occupying this node's workers: it counts the
// attempts under way for each webhook and each company, in memory and without
// SQL. At most half of the workers serve one company. The zero value is ready.
type gate struct {
	mu        sync.Mutex
	webhooks  map[string]*lane
	companies map[string]int
	swept     time.Time
}

// lane is what a gate knows of one webhook.
type lane struct {
	running int
	failing bool
	mean    time.Duration        // of an attempt, the recent ones weighing most
	waiting map[string]time.Time // jobs turned away, by when they are last expected back
	used    time.Time
}

// enter takes a slot for a job, or says how long it is to wait: about as long
// as it takes until its turn comes, so that many waiting jobs do not spin.
func (g *gate) enter(webhook, company, job string, workers int, now time.Time, chance float64) (wait time.Duration, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.webhooks == nil {
		g.webhooks, g.companies = map[string]*lane{}, map[string]int{}
	}
	g.sweep(now)
	l := g.webhooks[webhook]
	if l == nil {
		l = &lane{waiting: map[string]time.Time{}}
		g.webhooks[webhook] = l
	}
	l.used = now
	most := healthyAtOnce
	if l.failing {
		most = failingAtOnce
	}
	if l.running < most && g.companies[company] < max(1, workers/2) {
		delete(l.waiting, job)
		l.running++
		g.companies[company]++
		return 0, true
	}
	l.waiting[job] = now.Add(forgetAfter)
	wait = time.Duration(float64(l.mean) * (1 + float64(len(l.waiting))/float64(most)))
	return spread(min(max(wait, shortestWait), longestWait), chance), false
}

// leave gives the slot back. An attempt that was made says how the webhook is now.
func (g *gate) leave(webhook, company string, s step) {
	g.mu.Lock()
	defer g.mu.Unlock()
	l := g.webhooks[webhook]
	l.running--
	if g.companies[company]--; g.companies[company] == 0 {
		delete(g.companies, company)
	}
	if s.Tried {
		l.failing = s.Failed
		l.mean += (s.Took - l.mean) / 4
	}
}

// sweep forgets what has long been idle.
func (g *gate) sweep(now time.Time) {
	if now.Sub(g.swept) < forgetAfter {
		return
	}
	g.swept = now
	for id, l := range g.webhooks {
		for job, until := range l.waiting {
			if until.Before(now) {
				delete(l.waiting, job)
			}
		}
		if l.running == 0 && now.Sub(l.used) > forgetAfter {
			delete(g.webhooks, id)
		}
	}
}

// through makes an attempt of a delivery when its webhook and its company have a slot.
func (g *gate) through(a DeliveryArgs, workers int, deliver func() (step, error)) (step, error) {
	wait, ok := g.enter(a.WebhookID, a.CompanyID, a.DeliveryID, workers, time.Now(), rand.Float64())
	if !ok {
		return step{Again: wait}, nil
	}
	var s step
	defer func() { g.leave(a.WebhookID, a.CompanyID, s) }() // also when it panics
	var err error
	s, err = deliver()
	return s, err
}

package source

import (
	"context"
	"errors"
	"mime"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/enrichd/enrichd/enrichment/extract"
	"github.com/enrichd/enrichd/enrichment/pipeline"
	"github.com/enrichd/enrichd/internal/egress"
)

// What the crawler answers instead of asking.
var (
	errRobots = errors.New("the site's rules forbid it")
	errBusy   = errors.New("the host's turn comes too late")
)

// Politeness that is not configuration: RFC 9309 section 2.4 and what we take upon ourselves.
const (
	robotsTime       = 24 * time.Hour
	robotsFailedTime = 5 * time.Minute // a failing robots.txt is looked at again soon
	longestDelay     = 5 * time.Second // of a Crawl-delay; above it the site is left alone
	hostsHeld        = 5_000
	sitesAtOnce      = 4 // times Config.Parallel: sites are many hosts, not one source
)

// crawler visits pages: robots.txt first, one connection and one request per
// turn for each host, whatever page of it is asked.
type crawler struct {
	client  *egress.Client
	guard   *guard // switch, bulkhead, flights and misses; circuits are per host
	token   string
	gap     time.Duration
	turns   Turns
	pause   time.Duration // of an open circuit
	mu      sync.Mutex
	hosts   map[string]*host
	counter atomic.Int64
}

// host is what is known about one host and port.
type host struct {
	lane    chan struct{} // the one connection
	circuit *circuit
	used    int64 // by crawler.counter, for forgetting

	mu     sync.Mutex
	robots map[string]rules // by scheme
	resume time.Time        // Retry-After
	last   time.Time        // when it was last asked from here
}

// rules are one robots.txt and how long it holds.
type rules struct {
	*extract.Robots
	until time.Time
	loss  pipeline.Loss // why it could not be had
}

func newSite(cfg Config, client *egress.Client) (*site, *guard) {
	g := newGuard("site", cfg, client)
	g.bulkhead = make(chan struct{}, sitesAtOnce*cfg.Parallel)
	return &site{crawler{
		client: client, guard: g, token: cfg.RobotsToken, turns: cfg.Turns, pause: cfg.CircuitPause,
		gap: time.Duration(float64(time.Second) / cfg.CrawlRate), hosts: map[string]*host{},
	}}, g
}

// Fetch visits one page within the site's and our own rules.
func (c *crawler) Fetch(ctx context.Context, a pipeline.Ask) pipeline.Answer {
	return c.guard.flights.do(ctx, a, "site "+a.URL, c.guard.slice, func(ctx context.Context) pipeline.Answer { return c.visit(ctx, a) })
}

func (c *crawler) visit(ctx context.Context, a pipeline.Ask) pipeline.Answer {
	u, err := url.Parse(a.URL)
	switch {
	case c.guard.off.Load():
		return lossOf(a, pipeline.LossRefused, "the source is switched off")
	case err != nil || !visitable(a.URL):
		return lossOf(a, pipeline.LossRefused, "an address that is never visited")
	}
	if known, ok := c.guard.misses.get(a.URL, time.Now()); ok {
		return known
	}
	h := c.host(u)
	if !h.circuit.allow() {
		return lossOf(a, pipeline.LossBroken, "the host failed too often and rests")
	}
	began := time.Now()
	ans, reached := c.take(ctx, a, u, h)
	if !reached || abandoned(ctx, began, c.guard.slice) {
		h.circuit.unused()
		return ans
	}
	h.circuit.record(ans.Loss == pipeline.LossTimeout || ans.Loss == pipeline.LossBroken)
	if ans.Loss == "" && (ans.Status == statusNotFound || ans.Status == statusGone) {
		c.guard.misses.put(a.URL, ans, time.Now())
	}
	return ans
}

// take waits for a free place and for the host's one connection, then reads robots.txt and the page.
func (c *crawler) take(ctx context.Context, a pipeline.Ask, u *url.URL, h *host) (ans pipeline.Answer, reached bool) {
	select {
	case c.guard.bulkhead <- struct{}{}:
		defer func() { <-c.guard.bulkhead }()
	case <-ctx.Done():
		return lossOf(a, pipeline.LossTimeout, "no free place among the pages being read"), false
	}
	select {
	case h.lane <- struct{}{}:
		defer func() { <-h.lane }()
	case <-ctx.Done():
		return lossOf(a, pipeline.LossTimeout, "the host's one connection stayed busy"), false
	}
	if !fits(ctx, 0) {
		return lossOf(a, pipeline.LossTimeout, "the host's one connection stayed busy"), false
	}
	if err := c.permitted(ctx, u, h); err != nil {
		ans := failed(a, egress.Response{}, err)
		ans.Detail = err.Error()
		return ans, !errors.Is(err, errBusy)
	}
	header := egress.Header{}
	header.Set("Accept", "text/html,application/xhtml+xml,application/json;q=0.9")
	if a.Kind == siteResume {
		header.Set("Accept", "application/json")
	}
	res, err := c.client.Do(ctx, egress.Request{
		URL: encoded(u), Header: header, MaxBytes: maxBody, Timeout: left(ctx, c.guard.slice),
		OnRedirect: func(ctx context.Context, next *url.URL) error {
			if !visitable(next.String()) {
				return errors.New("a redirect to an address that is never visited")
			}
			return c.permitted(ctx, next, c.host(next))
		},
	})
	if err != nil {
		return failed(a, res, err), true
	}
	h.learn(res, time.Now())
	return page(a, res), true
}

// page makes an answer of a response. A page of another type, and a
// speculative ask that finds nothing, are answers with nothing in them.
func page(a pipeline.Ask, res egress.Response) pipeline.Answer {
	ans := answerOf(a, res)
	media, _, _ := mime.ParseMediaType(ans.ContentType)
	isJSON := media == "application/json" || strings.HasSuffix(media, "+json")
	readable := isJSON || media == "" || media == "text/html" || media == "application/xhtml+xml"
	switch {
	case a.Kind == siteResume && ans.Loss != "" && ans.Loss != pipeline.LossLimited:
		ans.Loss, ans.Detail = "", "" // nobody promised that there is one
	case a.Kind == siteResume && !isJSON && media != "text/plain", a.Kind != siteResume && !readable:
		ans.Body = nil
		ans.Detail = "content type " + media + " is not read"
	}
	return ans
}

// permitted waits for the host's turn, after its robots.txt has allowed u.
func (c *crawler) permitted(ctx context.Context, u *url.URL, h *host) error {
	r := c.rules(ctx, u, h)
	if r.loss != "" {
		return unreachable{r.loss}
	}
	if !r.Allowed(c.token, encoded(u)) {
		return errRobots
	}
	gap := c.gap
	if delay, ok := r.CrawlDelay(c.token); ok {
		if delay > longestDelay {
			return errRobots
		}
		gap = max(gap, delay)
	}
	return c.turn(ctx, u, h, gap)
}

// turn waits until the host may be asked once more.
func (c *crawler) turn(ctx context.Context, u *url.URL, h *host, gap time.Duration) error {
	latest := time.Now().Add(left(ctx, c.guard.slice))
	h.mu.Lock()
	resume := h.resume
	h.mu.Unlock()
	if resume.After(latest) {
		return errBusy
	}
	at, ok, err := c.turns.Reserve(ctx, u.Host, gap, latest)
	if err != nil || !ok {
		return errBusy
	}
	if resume.After(at) {
		at = resume
	}
	// A turn that could not be used at its moment must not bring two requests together.
	h.mu.Lock()
	if since := h.last.Add(gap); since.After(at) {
		at = since
	}
	h.last = at
	if now := time.Now(); now.After(at) {
		h.last = now
	}
	h.mu.Unlock()
	if wait := time.Until(at); wait > 0 && (!fits(ctx, wait) || !rest(ctx, wait)) {
		return errBusy
	}
	return nil
}

// unreachable says that robots.txt could not be had, so that nothing may be read.
type unreachable struct{ loss pipeline.Loss }

func (u unreachable) Error() string { return "robots.txt could not be had (" + string(u.loss) + ")" }

// rules answers the robots.txt of an address, asking for it when none is held.
func (c *crawler) rules(ctx context.Context, u *url.URL, h *host) rules {
	h.mu.Lock()
	r, ok := h.robots[u.Scheme]
	h.mu.Unlock()
	if ok && time.Now().Before(r.until) {
		return r
	}
	r = c.askRobots(ctx, u, h)
	if !r.until.IsZero() {
		h.mu.Lock()
		h.robots[u.Scheme] = r
		h.mu.Unlock()
	}
	return r
}

// askRobots fetches robots.txt. Its redirects are followed wherever they lead
// (RFC 9309 section 2.3.1.2); five of them are as good as none.
func (c *crawler) askRobots(ctx context.Context, u *url.URL, h *host) rules {
	if err := c.turn(ctx, u, h, c.gap); err != nil {
		return rules{loss: pipeline.LossLimited}
	}
	address := url.URL{Scheme: u.Scheme, Host: u.Host, Path: "/robots.txt"}
	res, err := c.client.Do(ctx, egress.Request{URL: address.String(), MaxBytes: maxBody, Truncate: true, Timeout: left(ctx, c.guard.slice)})
	now := time.Now()
	switch {
	case errors.Is(err, egress.TooManyRedirects):
		return rules{Robots: extract.RobotsFor(statusNotFound, nil), until: now.Add(robotsTime)}
	case err != nil:
		return rules{loss: failed(pipeline.Ask{}, res, err).Loss}
	}
	h.learn(res, now)
	switch {
	case res.Status == statusTooManyRequests:
		return rules{loss: pipeline.LossLimited}
	case res.Status >= 500:
		return rules{loss: pipeline.LossBroken, until: now.Add(robotsFailedTime)}
	}
	return rules{Robots: extract.RobotsFor(res.Status, res.Body), until: now.Add(robotsTime)}
}

// learn notes a host's wish to be left alone for a while.
func (h *host) learn(res egress.Response, now time.Time) {
	if res.Status != statusTooManyRequests && res.Status != statusUnavailable {
		return
	}
	d, ok := retryAfter(res.Header, now)
	if !ok {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if at := now.Add(d); at.After(h.resume) {
		h.resume = at
	}
}

// host answers what is known about the host of an address, forgetting the longest unused when there are too many.
func (c *crawler) host(u *url.URL) *host {
	key := strings.ToLower(u.Host)
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.hosts[key]
	if h == nil {
		c.forget()
		h = &host{lane: make(chan struct{}, 1), circuit: newCircuit(c.pause), robots: map[string]rules{}}
		c.hosts[key] = h
	}
	h.used = c.counter.Add(1)
	return h
}

func (c *crawler) forget() {
	if len(c.hosts) < hostsHeld {
		return
	}
	old := c.counter.Load() - hostsHeld/2
	for key, h := range c.hosts {
		if h.used < old && len(h.lane) == 0 {
			delete(c.hosts, key)
		}
	}
}

// encoded writes an address with everything outside ASCII percent-encoded, as it goes on the wire and as robots.txt wants it.
func encoded(u *url.URL) string {
	c := *u
	c.Fragment, c.RawFragment, c.User = "", "", nil
	if c.Path == "" {
		c.Path = "/"
	}
	var b strings.Builder
	for i := 0; i < len(c.RawQuery); i++ {
		if ch := c.RawQuery[i]; ch <= ' ' || ch >= 0x7f || ch == '"' || ch == '<' || ch == '>' {
			const hex = "0123456789ABCDEF"
			b.WriteString("%" + string(hex[ch>>4]) + string(hex[ch&15]))
		} else {
			b.WriteByte(ch)
		}
	}
	c.RawQuery = b.String()
	return c.String()
}

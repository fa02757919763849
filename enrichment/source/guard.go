package source

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"mime"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/enrichd/enrichd/enrichment/pipeline"
	"github.com/enrichd/enrichd/internal/egress"
)

// maxBody is the most that is read of one answer, unpacked.
const maxBody = 512 << 10

// retryPause is the pause before the one repeat of a call when the source names none.
const retryPause = 100 * time.Millisecond

// connector is a source without its way out: what to ask, how to ask it, and how to read the answer.
type connector interface {
	Name() string
	Policy() pipeline.Policy
	Ask(k pipeline.Known, s pipeline.Stage) []pipeline.Ask
	Read(k pipeline.Known, answers []pipeline.Answer) []pipeline.Record
	// call says how an ask is put on the wire.
	call(a pipeline.Ask) call
}

// call is how one ask is put on the wire.
type call struct {
	header egress.Header
	bucket string // which of the source's limits it falls under
	// secret is added to the query on the wire only, so that no key gets into asks, evidence or logs.
	secret string
	// scrub takes out of a body what may not even be held for a moment; nil keeps all of it.
	scrub func(body []byte) []byte
}

// guarded is a connector whose calls go through a guard.
type guarded struct {
	connector
	guard *guard
}

// Fetch asks the source within the guard's rules.
func (g guarded) Fetch(ctx context.Context, a pipeline.Ask) pipeline.Answer {
	c := g.call(a)
	return g.guard.flights.do(ctx, a, g.guard.name+" "+a.URL, g.guard.slice, func(ctx context.Context) pipeline.Answer {
		return g.guard.ask(ctx, a, c)
	})
}

// guard is everything that stands between one source and the profiles that
// ask it: kill switch, negative cache, circuit, bulkhead, limiter, conditional
// store, one retry. What it knows is about the source, never about a profile.
type guard struct {
	name     string
	client   *egress.Client
	slice    time.Duration
	off      atomic.Bool
	circuit  *circuit
	bulkhead chan struct{}
	limits   *limits
	store    *store
	misses   *misses
	flights  *flights
}

func newGuard(name string, cfg Config, client *egress.Client) *guard {
	return &guard{
		name: name, client: client, slice: cfg.Slice,
		circuit: newCircuit(cfg.CircuitPause), bulkhead: make(chan struct{}, cfg.Parallel),
		limits: newLimits(limitsOf(name, cfg.Tokens[name] != "")), store: newStore(), misses: newMisses(), flights: newFlights(),
	}
}

func (g *guard) close() { g.flights.close() }

// ask makes one guarded call. It never fails: what goes wrong is a loss in the answer.
func (g *guard) ask(ctx context.Context, a pipeline.Ask, c call) pipeline.Answer {
	if g.off.Load() {
		return lossOf(a, pipeline.LossRefused, "the source is switched off")
	}
	if known, ok := g.misses.get(a.URL, time.Now()); ok {
		return known
	}
	if !g.circuit.allow() {
		return lossOf(a, pipeline.LossBroken, "the source failed too often and rests")
	}
	began := time.Now()
	ans, done := g.turn(ctx, a, c)
	if !done || abandoned(ctx, began, g.slice) {
		g.circuit.unused()
		return ans
	}
	g.circuit.record(ans.Loss == pipeline.LossTimeout || ans.Loss == pipeline.LossBroken)
	if ans.Loss == "" && (ans.Status == statusNotFound || ans.Status == statusGone) {
		g.misses.put(a.URL, ans, time.Now())
	}
	return ans
}

// abandoned says that everybody left a call before it had a fair time to
// answer: that is no mark against the source. One that was still silent after a third of the slice is silent.
func abandoned(ctx context.Context, began time.Time, slice time.Duration) bool {
	return errors.Is(ctx.Err(), context.Canceled) && time.Since(began) < slice/3
}

// turn waits for a place in the bulkhead and a token, calls, and repeats once
// if that can help and fits. done is false when the source was never reached.
func (g *guard) turn(ctx context.Context, a pipeline.Ask, c call) (ans pipeline.Answer, done bool) {
	select {
	case g.bulkhead <- struct{}{}:
		defer func() { <-g.bulkhead }()
	case <-ctx.Done():
		return lossOf(a, pipeline.LossTimeout, "no free place among the calls to this source"), false
	}
	if loss, detail := g.limits.wait(ctx, c.bucket); loss != "" {
		return lossOf(a, loss, detail), false
	}
	ans, pause, again := g.once(ctx, a, c)
	if again && fits(ctx, pause) && rest(ctx, pause) {
		if loss, _ := g.limits.wait(ctx, c.bucket); loss == "" {
			ans, _, _ = g.once(ctx, a, c)
		}
	}
	return ans, true
}

// fits says whether a repeat after a pause leaves enough of the slice to be of use.
func fits(ctx context.Context, pause time.Duration) bool {
	deadline, ok := ctx.Deadline()
	return !ok || time.Until(deadline) > pause+200*time.Millisecond
}

func rest(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// once makes one attempt. again says whether a repeat could help, after pause.
func (g *guard) once(ctx context.Context, a pipeline.Ask, c call) (ans pipeline.Answer, pause time.Duration, again bool) {
	header := c.header.Clone()
	if header == nil {
		header = egress.Header{}
	}
	held := g.store.get(a.URL)
	held.condition(header)
	res, err := g.client.Do(ctx, egress.Request{URL: withQuery(a.URL, c.secret), Header: header, MaxBytes: maxBody, Timeout: left(ctx, g.slice)})
	if err != nil {
		ans := failed(a, res, err)
		return ans, retryPause, ans.Loss == pipeline.LossBroken && egress.KindOf(err) == egress.Broken
	}
	g.limits.correct(c.bucket, res.Status, res.Header, time.Now())
	if res.Status == statusNotModified {
		if held == nil {
			return lossOf(a, pipeline.LossBroken, "not modified, though nothing was held"), retryPause, false
		}
		return held.answer(a, time.Now()), 0, false
	}
	ans = answerOf(a, res)
	ans.URL = a.URL
	if ans.Loss != "" {
		pause, again = repeatable(res, time.Now())
		return ans, pause, again
	}
	if res.Status == statusOK {
		if why := unreadable(ans); why != "" {
			return lossOf(a, pipeline.LossBroken, why), 0, false
		}
		if c.scrub != nil {
			ans.Body = c.scrub(ans.Body)
		}
		g.store.put(a.URL, res.Header, ans)
	}
	return ans, 0, false
}

func withQuery(address, query string) string {
	switch {
	case query == "":
		return address
	case strings.Contains(address, "?"):
		return address + "&" + query
	}
	return address + "?" + query
}

func left(ctx context.Context, most time.Duration) time.Duration {
	if deadline, ok := ctx.Deadline(); ok {
		return max(min(most, time.Until(deadline)), time.Millisecond)
	}
	return most
}

// repeatable says whether asking again can help: after 408, 429 and 5xx, as
// soon as the source's own Retry-After permits.
func repeatable(res egress.Response, now time.Time) (pause time.Duration, again bool) {
	if res.Status != statusRequestTimeout && res.Status != statusTooManyRequests && res.Status < 500 {
		return 0, false
	}
	if d, ok := retryAfter(res.Header, now); ok {
		return max(d, retryPause), true
	}
	// A 429 without a word about when is answered by the limiter's own pause, not by knocking again.
	return retryPause, res.Status != statusTooManyRequests
}

// answerOf turns a response into an answer, with the loss that its status means.
func answerOf(a pipeline.Ask, res egress.Response) pipeline.Answer {
	sum := sha256.Sum256(res.Body)
	ans := pipeline.Answer{
		Ask: a, URL: res.URL, Status: res.Status, ContentType: res.Header.Get("Content-Type"), Header: told(res.Header),
		Body: res.Body, Hash: hex.EncodeToString(sum[:]), FetchedAt: time.Now().UTC().Truncate(time.Millisecond),
	}
	if loss := lossByStatus(res); loss != "" {
		ans.Loss, ans.Detail = loss, "status "+strconv.Itoa(res.Status)
		ans.Body = nil
	} else if res.Status >= 300 {
		ans.Body = nil // an error page says nothing about a person
	}
	return ans
}

// lossByStatus: what refuses is refused, what asks for patience is limited,
// what fails is broken. Any other status is an answer, a 404 above all.
func lossByStatus(res egress.Response) pipeline.Loss {
	switch s := res.Status; {
	case s == statusTooManyRequests:
		return pipeline.LossLimited
	case s == statusForbidden && (res.Header.Get("Retry-After") != "" || res.Header.Get("X-Ratelimit-Remaining") == "0"):
		return pipeline.LossLimited // how GitHub says that a limit is used up
	case s == statusUnauthorized || s == statusForbidden || s == statusProxyAuth || s == statusLegalReasons:
		return pipeline.LossRefused
	case s == statusRequestTimeout:
		return pipeline.LossTimeout
	case s >= 500 || s < 200:
		return pipeline.LossBroken
	}
	return ""
}

// failed turns an error of the way out into a loss.
func failed(a pipeline.Ask, res egress.Response, err error) pipeline.Answer {
	ans := lossOf(a, pipeline.LossBroken, detailOf(err))
	ans.Status = res.Status
	var away unreachable
	switch {
	case errors.As(err, &away):
		ans.Loss = away.loss
	case errors.Is(err, errRobots):
		ans.Loss = pipeline.LossRobots
	case errors.Is(err, errBusy):
		ans.Loss = pipeline.LossLimited
	case errors.Is(err, egress.Refused):
		ans.Loss = pipeline.LossRefused
	case errors.Is(err, egress.Timeout), errors.Is(err, egress.Cancelled), errors.Is(err, context.DeadlineExceeded):
		ans.Loss = pipeline.LossTimeout
	}
	return ans
}

// detailOf is an egress error for people, without the cause's text, which may hold an address's query.
func detailOf(err error) string {
	var e *egress.Error
	if !errors.As(err, &e) {
		return "the call failed"
	}
	s := string(e.Kind) + " (" + e.Phase + ")"
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	return s
}

func lossOf(a pipeline.Ask, loss pipeline.Loss, detail string) pipeline.Answer {
	return pipeline.Answer{Ask: a, URL: a.URL, Loss: loss, Detail: detail, FetchedAt: time.Now().UTC().Truncate(time.Millisecond)}
}

// unreadable says why the body of a JSON source cannot be read, "" when it can.
func unreadable(ans pipeline.Answer) string {
	media, _, _ := mime.ParseMediaType(ans.ContentType)
	if media != "application/json" && !strings.HasSuffix(media, "+json") {
		return "the content type is not JSON"
	}
	if !json.Valid(ans.Body) {
		return "the body is not whole JSON"
	}
	return ""
}

// told keeps the response headers that readers of pages and lists look at.
func told(h egress.Header) map[string]string {
	kept := map[string]string{}
	for _, name := range []string{"link", "last-modified", "x-robots-tag", "tdm-reservation", "content-language", "content-location"} {
		if values := h.Values(name); len(values) > 0 {
			kept[name] = strings.Join(values, ", ")
		}
	}
	return kept
}

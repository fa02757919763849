package dispatch

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"github.com/enrichd/enrichd/internal/egress"
	"github.com/enrichd/enrichd/internal/ident"
	"github.com/enrichd/enrichd/internal/pg"
	"github.com/enrichd/enrichd/internal/spans"
)

const (
	maxResponse       = 16 << 10 // bytes of an answer that are kept
	maxResponseHeader = 1 << 10  // bytes of a kept header value
	bookkeeping       = 5 * time.Second
)

// keptHeaders are the response headers that are recorded.
var keptHeaders = []string{"Content-Type", "Content-Length", "Date", "Location", "Retry-After", "Server", "Webhook-Delivery"}

// step is what a job does next: nothing more, or look again after a while.
type step struct {
	Done  bool
	Again time.Duration
	// Tried says that an attempt was made and recorded, and Failed and Took how it went.
	Tried, Failed bool
	Took          time.Duration
}

// deliver makes one attempt of a delivery, if it is due and nobody else is at
// it, and records it. Whatever the receiver does is no error; an error is a
// fault of ours, and the attempt is made again. job is the River job that runs.
func (s *Service) deliver(ctx context.Context, id string, job int64) (step, error) {
	config := s.Config.withDefaults()
	a, err := s.admit(ctx, id, job, config)
	if err != nil {
		return step{}, err
	}
	if a == nil {
		return s.turnedAway(ctx, id, config)
	}
	spanned, ended := spans.Begin(ctx, "webhook attempt", slog.String("delivery_id", a.DeliveryID), slog.String("webhook_id", a.WebhookID),
		slog.String("company_id", a.CompanyID), slog.Int("attempt", a.Number))
	log, r, err := s.send(spanned, a, config)
	ended(err)
	if err != nil {
		return step{}, err
	}
	if r.Cancelled { // this node stops; the receiver is not to blame
		return step{}, s.briefly(ctx, func(ctx context.Context) error { return s.store.release(ctx, s.DB, a) })
	}
	p := policy{Curve: config.Curve, MaxRetries: a.MaxRetries, MaxAge: config.MaxAge}
	v := p.judge(r, a.Number-a.Before, seconds(a.AgeSeconds), time.Now(), rand.Float64())
	c, err := s.record(ctx, a, log, v, config)
	if err != nil {
		return step{}, err
	}
	s.tell(ctx, a, log, v, c)
	if !c.Recorded {
		return s.turnedAway(ctx, id, config)
	}
	return step{
		Done: v.Status != DeliveryRetrying, Again: v.Delay,
		Tried: true, Failed: v.Status != DeliveryDelivered, Took: time.Duration(log.DurationMillis) * time.Millisecond,
	}, nil
}

func (s *Service) admit(ctx context.Context, id string, job int64, config Config) (a *admission, err error) {
	err = s.briefly(ctx, func(ctx context.Context) (err error) {
		a, err = s.store.admit(ctx, s.DB, id, job, ident.NewUUID(), config.MaxAge)
		return err
	})
	return a, err
}

// turnedAway finds out why a delivery may not be attempted now. A job that
// lost its lease comes here too: it must look again rather than end, because
// River may have given this very job to the lease's new holder, and would then ignore what that one returns.
func (s *Service) turnedAway(ctx context.Context, id string, config Config) (next step, err error) {
	err = s.briefly(ctx, func(ctx context.Context) error {
		why, err := s.store.whyNot(ctx, s.DB, id, config.MaxAge)
		switch {
		case err != nil:
			return err
		case why == nil, why.Status == DeliveryDelivered, why.Status == DeliveryExhausted:
			next.Done = true
		case why.Lease > 0:
			next.Again = seconds(why.Lease) + time.Duration(rand.Int64N(int64(time.Second)))
		case why.Hopeless, why.Old:
			next.Done = true
			return s.giveUp(ctx, id, why)
		case why.Due > 0: // not yet due
			next.Again = seconds(why.Due)
		case why.Circuit != CircuitClosed:
			next.Again, err = s.heldBack(ctx, id, why, config.Circuit)
			return err
		default: // admissible again by now
		}
		return nil
	})
	return next, err
}

// heldBack makes the delivery the probe of its open circuit, and then it is to
// look again at once; or it holds the delivery, and says for how long.
func (s *Service) heldBack(ctx context.Context, id string, why *refusal, rule CircuitRule) (again time.Duration, err error) {
	if why.Probe != nil && *why.Probe <= 0 {
		if won, err := s.store.probe(ctx, s.DB, id, why.WebhookID); err != nil || won {
			return 0, err
		}
	}
	if why.Status != DeliveryHeld {
		if held, err := s.store.hold(ctx, s.DB, id, why.WebhookID); err != nil || !held {
			return 0, err // the circuit closed meanwhile
		}
	}
	if why.Probe == nil {
		return longestHold, nil
	}
	spread := min(holdSpread, rule.FirstPause/2)
	return min(longestHold, max(0, seconds(*why.Probe))+time.Duration(rand.Int64N(int64(spread)))), nil
}

// Held deliveries look again after the circuit's pause, spread over holdSpread
// (half the first pause when that is shorter), and no later than longestHold; whoever closes the circuit wakes them before.
const (
	holdSpread  = 30 * time.Second
	longestHold = 15 * time.Minute
)

// giveUp ends a delivery without another attempt. The company hears of one that
// became too old; what became of its webhook or its person it knows.
func (s *Service) giveUp(ctx context.Context, id string, why *refusal) error {
	told := false
	err := pg.InTx(ctx, s.DB, func(ctx context.Context, tx bun.Tx) error {
		ended, err := s.store.giveUp(ctx, tx, id)
		if err != nil || !ended || why.Hopeless {
			return err
		}
		told = true
		return Announce(ctx, tx, exhausted(why.CompanyID, id, why.Attempts, why.Test))
	})
	if told && err == nil {
		s.wakeCompany(why.CompanyID)
	}
	return err
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// send signs and posts the stored body. The error is a fault of ours: a secret
// that cannot be opened. What happened on the wire is in the log and the result.
func (s *Service) send(ctx context.Context, a *admission, config Config) (*DeliveryAttempt, result, error) {
	keys := make([]signingKey, 0, len(a.Secrets))
	log := &DeliveryAttempt{DeliveryID: a.DeliveryID, Number: a.Number, SecretIDs: []string{}}
	for _, sealed := range a.Secrets {
		b, err := hex.DecodeString(sealed.Hex)
		if err == nil {
			b, err = s.Box.Open(b, boundTo(a.WebhookID, "secret"))
		}
		if err != nil {
			return nil, result{}, fmt.Errorf("secret of webhook %s: %w", a.WebhookID, err)
		}
		keys = append(keys, b)
		log.SecretIDs = append(log.SecretIDs, sealed.ID)
	}
	if len(keys) == 0 {
		return nil, result{}, fmt.Errorf("webhook %s has no secret in force", a.WebhookID)
	}
	custom, err := s.openHeaders(a.WebhookID, a.SealedHeaders)
	if err != nil {
		return nil, result{}, err
	}
	log.StartedAt = time.Now().UTC().Truncate(time.Microsecond)
	unix := log.StartedAt.Unix()

	h := egress.Header{}
	for _, c := range custom {
		h.Set(c.Name, c.Value)
	}
	h.Set("Content-Type", "application/json")
	h.Set("User-Agent", "enrichd/"+config.Version)
	h.Set(headerID, a.EventID)
	h.Set(headerTimestamp, strconv.FormatInt(unix, 10))
	h.Set(headerSignature, signatures(keys, a.EventID, unix, a.Body))
	h.Set(headerAttempt, strconv.Itoa(a.Number))
	// The oldest secret in force: receivers of this header know a single one until the overlap of a rotation ends.
	h.Set(config.OlderHeader.Name, config.OlderHeader.value(keys[len(keys)-1], a.EventID, unix, a.Body))

	res, err := s.Egress.Do(ctx, egress.Request{
		Method: "POST", URL: a.URL, Header: h, Body: a.Body,
		MaxBytes: maxResponse, Truncate: true, MaxRedirects: -1,
		Timeout: time.Duration(a.TimeoutMillis) * time.Millisecond,
	})
	log.fill(res, err)
	return log, result{
		Status:     res.Status,
		Failed:     err != nil,
		Timeout:    errors.Is(err, egress.Timeout),
		Cancelled:  ctx.Err() != nil && err != nil,
		RetryAfter: res.Header.Get("Retry-After"),
		Abort:      strings.EqualFold(strings.TrimSpace(res.Header.Get("Webhook-Delivery")), "abort-message"),
	}, nil
}

// fill takes over what came back, or how far it came.
func (a *DeliveryAttempt) fill(res egress.Response, err error) {
	a.DNSMillis, a.ConnectMillis = millis(res.Timings.DNS), millis(res.Timings.Connect)
	a.TLSMillis, a.FirstByteMillis = millis(res.Timings.TLS), millis(res.Timings.FirstByte)
	a.DurationMillis = int(res.Timings.Total.Milliseconds())
	if res.RemoteIP.IsValid() {
		ip := res.RemoteIP.String()
		a.RemoteIP = &ip
	}
	if err != nil {
		class := errorClass(err)
		a.Error = &class
	}
	if res.Status == 0 {
		return
	}
	a.StatusCode = &res.Status
	a.ResponseHeaders = map[string]string{}
	for _, name := range keptHeaders {
		if value := res.Header.Get(name); value != "" {
			a.ResponseHeaders[strings.ToLower(name)] = showable([]byte(value), maxResponseHeader)
		}
	}
	a.Response, a.Truncated = append([]byte{}, res.Body...), res.Truncated // empty is not none
	sum := sha256.Sum256(res.Body)
	a.ResponseSHA256 = sum[:]
}

// errorClass is a stable word for a transport failure: timeout, refused, … or
// where it broke, such as dns_failed or tls_failed. It never holds an address.
func errorClass(err error) string {
	var e *egress.Error
	if errors.As(err, &e) && e.Kind == egress.Broken {
		return e.Phase + "_failed"
	}
	return string(egress.KindOf(err))
}

func millis(d time.Duration) *int {
	if d <= 0 {
		return nil
	}
	ms := int(d.Milliseconds())
	return &ms
}

func headersJSON(h map[string]string) *string {
	if h == nil {
		return nil
	}
	b, _ := json.Marshal(h) // strings always marshal
	text := string(b)
	return &text
}

// tell logs an attempt in one wide line with the decision that followed.
func (s *Service) tell(ctx context.Context, a *admission, log *DeliveryAttempt, v verdict, c consequence) {
	s.count(a, log, v)
	level, text := slog.LevelInfo, "webhook attempt"
	switch {
	case !c.Recorded:
		level, text = slog.LevelWarn, "webhook attempt not recorded: lease lost"
	case c.Disabled == disabledGone:
		level, text = slog.LevelWarn, "webhook disabled: its receiver answered 410"
	case c.Disabled != "":
		level, text = slog.LevelWarn, "webhook disabled: nothing but failures for days"
	case c.opened():
		level, text = slog.LevelWarn, "webhook circuit opened"
	case c.closed():
		level, text = slog.LevelInfo, "webhook circuit closed"
	case v.Status == DeliveryExhausted:
		level, text = slog.LevelWarn, "webhook delivery given up"
	}
	attrs := []slog.Attr{
		slog.String("delivery_id", a.DeliveryID), slog.String("webhook_id", a.WebhookID), slog.String("event_id", a.EventID),
		slog.String("company_id", a.CompanyID),
		slog.Int("attempt", a.Number), slog.Int("millis", log.DurationMillis), slog.String("verdict", string(v.Status)),
	}
	if log.StatusCode != nil {
		attrs = append(attrs, slog.Int("status", *log.StatusCode))
	}
	if log.Error != nil {
		attrs = append(attrs, slog.String("error", *log.Error))
	}
	if v.Status == DeliveryRetrying {
		attrs = append(attrs, slog.Duration("again", v.Delay))
	}
	s.Log.LogAttrs(ctx, level, text, attrs...)
}

// count publishes an attempt: by what followed, and by class of status or error.
func (s *Service) count(a *admission, log *DeliveryAttempt, v verdict) {
	class := "none"
	switch {
	case log.StatusCode != nil:
		class = strconv.Itoa(*log.StatusCode/100) + "xx"
	case log.Error != nil:
		class = *log.Error
	}
	took, latency := time.Duration(log.DurationMillis)*time.Millisecond, time.Duration(0)
	if v.Status == DeliveryDelivered && !a.Manual {
		latency = seconds(a.AgeSeconds) + took
	}
	s.Metrics.Attempt(strings.ToLower(string(v.Status)), class, took, latency)
}

// briefly gives f a context that a cancelled job does not cut, bounded by its
// own 5 s: a cancelled statement would cost the pool its connection, and an outcome its record.
func (s *Service) briefly(ctx context.Context, f func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), bookkeeping)
	defer cancel()
	return f(ctx)
}

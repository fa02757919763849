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
}

// deliver makes one attempt of a delivery, if it is due and nobody else is at
// it, and records it. Whatever the receiver does is no error; an error is a
// fault of ours, and the attempt is made again. job is the River job that runs.
func (s *Service) deliver(ctx context.Context, id string, job int64) (step, error) {
	config := s.Config.withDefaults()
	var a *admission
	err := s.briefly(ctx, func(ctx context.Context) (err error) {
		a, err = s.store.admit(ctx, s.DB, id, job, ident.NewUUID(), config.MaxAge)
		return err
	})
	if err != nil {
		return step{}, err
	}
	if a == nil {
		return s.turnedAway(ctx, id, config)
	}
	log, r, err := s.send(ctx, a, config)
	if err != nil {
		return step{}, err
	}
	if r.Cancelled { // this node stops; the receiver is not to blame
		return step{}, s.briefly(ctx, func(ctx context.Context) error { return s.store.release(ctx, s.DB, a) })
	}
	p := policy{Curve: config.Curve, MaxRetries: a.MaxRetries, MaxAge: config.MaxAge}
	v := p.judge(r, a.Number, time.Duration(a.AgeSeconds*float64(time.Second)), time.Now(), rand.Float64())
	recorded := false
	err = s.briefly(ctx, func(ctx context.Context) (err error) {
		recorded, err = s.store.record(ctx, s.DB, a, log, v)
		return err
	})
	if err != nil {
		return step{}, err
	}
	s.tell(ctx, a, log, v, recorded)
	if !recorded {
		return s.turnedAway(ctx, id, config)
	}
	return step{Done: v.Status != DeliveryRetrying, Again: v.Delay}, nil
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
		case why.Hopeless:
			next.Done = true
			return s.store.giveUp(ctx, s.DB, id)
		default: // not yet due, or admissible again by now
			next.Again = max(0, seconds(why.Due))
		}
		return nil
	})
	return next, err
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
	a.Response, a.Truncated = res.Body, res.Truncated
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
func (s *Service) tell(ctx context.Context, a *admission, log *DeliveryAttempt, v verdict, recorded bool) {
	level, text := slog.LevelDebug, "webhook attempt"
	switch {
	case !recorded:
		level, text = slog.LevelWarn, "webhook attempt not recorded: lease lost"
	case v.Disable:
		level, text = slog.LevelWarn, "webhook disabled: its receiver answered 410"
	case v.Status == DeliveryExhausted:
		level, text = slog.LevelWarn, "webhook delivery given up"
	}
	attrs := []slog.Attr{
		slog.String("delivery", a.DeliveryID), slog.String("webhook", a.WebhookID), slog.String("event", a.EventID),
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

// briefly gives f a context that a cancelled job does not cut, bounded by its
// own 5 s: a cancelled statement would cost the pool its connection, and an outcome its record.
func (s *Service) briefly(ctx context.Context, f func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), bookkeeping)
	defer cancel()
	return f(ctx)
}

// Maintain keeps the attempt log's months and gives deliveries that lost their
// job a new one. It is safe to run on any node at any time.
func (s *Service) Maintain(ctx context.Context, now time.Time) error {
	config := s.Config.withDefaults()
	made, dropped, err := s.store.maintainAttempts(ctx, s.DB, now, config.KeepAttempts)
	if err != nil {
		return err
	}
	adopted, err := s.adoptOrphans(ctx)
	if err != nil {
		return err
	}
	if made+dropped+adopted > 0 {
		s.Log.InfoContext(ctx, "dispatch upkeep", "months_made", made, "months_dropped", dropped, "deliveries_adopted", adopted)
	}
	return nil
}

const orphansAtOnce = 500

func (s *Service) adoptOrphans(ctx context.Context) (total int, err error) {
	for {
		n := 0
		err := pg.InTx(ctx, s.DB, func(ctx context.Context, tx bun.Tx) error {
			rows, err := s.store.orphans(ctx, tx, orphansAtOnce)
			n = len(rows)
			if err != nil || n == 0 {
				return err
			}
			if err := s.enqueue(ctx, tx, rows); err != nil {
				return err
			}
			return s.store.adopt(ctx, tx, rows)
		})
		total += n
		if err != nil || n < orphansAtOnce {
			return total, err
		}
	}
}

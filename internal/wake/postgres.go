package wake

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/enrichd/enrichd/internal/pg"
)

const (
	channel = "enrichd_wake"
	// tick is how long changes are gathered into one NOTIFY. A transaction that
	// notifies takes a lock for the whole server, so it is never the business transaction's.
	tick = 10 * time.Millisecond
	// payload is PostgreSQL's limit of 8,000 bytes for one notification, less a margin.
	payload     = 7800
	reconnectIn = 200 * time.Millisecond
	// sendWithin bounds one flush, which Stop waits for.
	sendWithin = 2 * time.Second
)

// Postgres is a Waker over LISTEN and NOTIFY, on two pgx connections of its
// own. Changes of this node wake its readers at once; a flusher sends one
// NOTIFY for all that changed within a tick, and the first at once when it was quiet.
type Postgres struct {
	DSN string
	// Connect is how its connections are made, as pg.Open's are.
	Connect []pg.Option
	Log     *slog.Logger

	*Hub
	mu     sync.Mutex
	dirty  map[string]struct{}
	others map[[2]string]struct{} // topics and payloads of Announce
	kick   chan struct{}
	cancel context.CancelFunc
	wg     sync.WaitGroup

	stateMu   sync.Mutex
	listening bool
}

// NewPostgres returns a Waker over the database at dsn; Start it.
func NewPostgres(dsn string, log *slog.Logger) *Postgres {
	return &Postgres{DSN: dsn, Log: log, Hub: NewHub(), dirty: map[string]struct{}{}, others: map[[2]string]struct{}{}, kick: make(chan struct{}, 1)}
}

// Start listens and begins to flush. It fails when the database cannot be reached.
func (p *Postgres) Start(ctx context.Context) error {
	conn, err := p.listen(ctx)
	if err != nil {
		return err
	}
	ctx, p.cancel = context.WithCancel(context.WithoutCancel(ctx))
	p.wg.Go(func() { p.receive(ctx, conn) })
	p.wg.Go(func() { p.flush(ctx) })
	return nil
}

// Stop ends both connections. What is still unsent is sent first.
func (p *Postgres) Stop(context.Context) error {
	if p.cancel != nil {
		p.cancel()
		p.wg.Wait()
	}
	return nil
}

// Listening reports whether hints from other nodes arrive now.
func (p *Postgres) Listening() bool {
	p.stateMu.Lock()
	defer p.stateMu.Unlock()
	return p.listening
}

// Publish implements Waker.
func (p *Postgres) Publish(ids ...string) {
	if len(ids) == 0 {
		return
	}
	p.Hub.Publish(ids...)
	p.mu.Lock()
	for _, id := range ids {
		p.dirty[id] = struct{}{}
	}
	p.mu.Unlock()
	p.flushSoon()
}

// Announce notifies the channel "schema.topic" of the current schema, at most
// once a tick for equal payloads.
func (p *Postgres) Announce(topic, payload string) {
	p.mu.Lock()
	p.others[[2]string{topic, payload}] = struct{}{}
	p.mu.Unlock()
	p.flushSoon()
}

func (p *Postgres) flushSoon() {
	select {
	case p.kick <- struct{}{}:
	default: // a kick is already waiting
	}
}

func (p *Postgres) listen(ctx context.Context) (*pgx.Conn, error) {
	conn, err := pg.Connect(ctx, p.DSN, p.Connect...)
	if err != nil {
		return nil, fmt.Errorf("connect to listen: %w", err)
	}
	if _, err := conn.Exec(ctx, "LISTEN "+channel); err != nil {
		conn.Close(ctx)
		return nil, fmt.Errorf("listen: %w", err)
	}
	p.setListening(true)
	return conn, nil
}

func (p *Postgres) setListening(on bool) {
	p.stateMu.Lock()
	p.listening = on
	p.stateMu.Unlock()
}

// receive hands on what other nodes announce. After a reconnect every reader is
// woken, because hints may have been lost in between.
func (p *Postgres) receive(ctx context.Context, conn *pgx.Conn) {
	defer p.setListening(false)
	for {
		note, err := conn.WaitForNotification(ctx)
		if err == nil {
			p.Hub.Publish(strings.Split(note.Payload, ",")...)
			continue
		}
		bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		conn.Close(bye)
		cancel()
		p.setListening(false)
		for {
			if ctx.Err() != nil {
				return
			}
			if conn, err = p.listen(ctx); err == nil {
				break
			}
			p.Log.WarnContext(ctx, "listen again", "err", err)
			wait(ctx, reconnectIn)
		}
		p.Hub.wake(nil)
	}
}

// flush sends the gathered ids, at most once a tick.
func (p *Postgres) flush(ctx context.Context) {
	var conn *pgx.Conn
	// What was taken is sent though Stop comes meanwhile: a command may live for this one announcement.
	send := func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sendWithin)
		defer cancel()
		for _, n := range p.take() {
			var err error
			if conn == nil || conn.IsClosed() {
				if conn, err = pg.Connect(ctx, p.DSN, p.Connect...); err != nil {
					conn = nil
					p.Log.WarnContext(ctx, "connect to notify", "err", err)
					return // a lost hint does no harm: readers look again by themselves
				}
			}
			if _, err = conn.Exec(ctx, n.statement, n.channel, n.payload); err != nil {
				p.Log.WarnContext(ctx, "notify", "err", err)
			}
		}
	}
	for {
		select {
		case <-ctx.Done():
			send()
			if conn != nil {
				bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
				conn.Close(bye)
				cancel()
			}
			return
		case <-p.kick:
			send()
			wait(ctx, tick)
		}
	}
}

// notice is one NOTIFY.
type notice struct{ statement, channel, payload string }

// take empties what was gathered.
func (p *Postgres) take() (notices []notice) {
	p.mu.Lock()
	defer p.mu.Unlock()
	ids := make([]string, 0, len(p.dirty))
	for id := range p.dirty {
		ids = append(ids, id)
	}
	for _, body := range pack(ids) {
		notices = append(notices, notice{"SELECT pg_notify($1, $2)", channel, body})
	}
	for other := range p.others {
		notices = append(notices, notice{"SELECT pg_notify(current_schema() || '.' || $1, $2)", other[0], other[1]})
	}
	clear(p.dirty)
	clear(p.others)
	return notices
}

// pack joins ids with commas into as few payloads as fit.
func pack(ids []string) []string {
	var bodies []string
	var b strings.Builder
	for _, id := range ids {
		if b.Len() > 0 && b.Len()+1+len(id) > payload {
			bodies = append(bodies, b.String())
			b.Reset()
		}
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.WriteString(id)
	}
	if b.Len() > 0 {
		bodies = append(bodies, b.String())
	}
	return bodies
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

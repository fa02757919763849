package transport

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/gorilla/websocket"
	"github.com/vektah/gqlparser/v2/gqlerror"
)

// subprotocol is the only one spoken; the legacy graphql-ws is not offered.
const subprotocol = "graphql-transport-ws"

// WebSocket speaks graphql-transport-ws. While nothing happens a socket costs
// one goroutine that reads; whoever has something to say wakes a writer that
// sends all that is queued in one call and ends.
type WebSocket struct {
	// Streams holds the sockets; it must not be nil.
	Streams *Streams
	// Init turns connection_init into the context of the socket's operations.
	// r is the upgrade request without its body. A Refusal chooses the close code.
	Init func(ctx context.Context, r *http.Request, payload map[string]any) (context.Context, Identity, error)
	// Begin makes the context of one operation out of the socket's; nil leaves it as it is.
	Begin func(ctx context.Context) context.Context
	// Recover logs a panic and says what the client reads instead.
	Recover func(ctx context.Context, cause any) gqlerror.List
	// CheckOrigin refuses upgrade requests of strange sites with close code 4403; nil lets all in.
	CheckOrigin func(r *http.Request) bool

	// InitTimeout is how long connection_init may take to come: 4408 after that.
	InitTimeout time.Duration
	// PingInterval is between pings of the WebSocket protocol; two without an answer mean that the peer is gone.
	PingInterval time.Duration
	// WriteTimeout is how long the peer may accept no byte at all: 1013 after that.
	WriteTimeout time.Duration
	// OperationTimeout bounds queries and mutations, not subscriptions.
	OperationTimeout time.Duration
	// ReadLimit is the largest message read, in bytes: 1009 above it.
	ReadLimit int64
	// QueueBytes is how much may wait to be written before those who produce it wait.
	QueueBytes int
	// MaxOperations bounds the operations of one socket, MaxStarting those that are being prepared or resolved at once.
	MaxOperations, MaxStarting int

	once     sync.Once
	upgrader websocket.Upgrader
}

// Supports reports whether r asks for a WebSocket.
func (t *WebSocket) Supports(r *http.Request) bool {
	return r.Method == http.MethodGet && websocket.IsWebSocketUpgrade(r)
}

// Do upgrades the connection and returns: the socket lives on in its own
// goroutine, so that nothing of the HTTP request is kept.
func (t *WebSocket) Do(w http.ResponseWriter, r *http.Request, exec graphql.GraphExecutor) {
	t.once.Do(func() {
		t.upgrader = websocket.Upgrader{
			// A small read buffer of our own lets net/http have its larger one back. The
			// write buffer is never used, for we frame messages ourselves; the pool keeps it unallocated.
			ReadBufferSize:  readBuffer,
			WriteBufferPool: &sync.Pool{},
			Subprotocols:    []string{subprotocol},
			// Origin and subprotocol are refused by close codes, which a script can read; a failed upgrade it cannot.
			CheckOrigin: func(*http.Request) bool { return true },
		}
	})
	if t.Streams.Draining() {
		Refuse(w, r, errDraining)
		return
	}
	s := newSocket(t, exec, r)
	if err := t.Streams.add(s); err != nil {
		s.cancel()
		Refuse(w, r, err)
		return
	}
	conn, err := t.upgrader.Upgrade(hijacker{w}, r, nil)
	if err != nil {
		s.cancel()
		t.Streams.remove(s)
		t.Streams.running.Done()
		return // the upgrader has answered
	}
	allowed := t.CheckOrigin == nil || t.CheckOrigin(r)
	go func() {
		defer t.Streams.running.Done()
		s.serve(conn, allowed)
	}()
}

// readBuffer holds most messages of clients; longer ones take more reads.
const readBuffer = 1024

// hijacker finds http.Hijacker behind the wrappers that middleware puts around a ResponseWriter.
type hijacker struct{ http.ResponseWriter }

func (h hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return http.NewResponseController(h.ResponseWriter).Hijack()
}

// slim keeps of an upgrade request what Init may want to know, and lets go of the rest.
func slim(r *http.Request) *http.Request {
	return &http.Request{
		Method: r.Method, URL: r.URL, Host: r.Host, RemoteAddr: r.RemoteAddr, Header: r.Header.Clone(),
		Proto: r.Proto, ProtoMajor: r.ProtoMajor, ProtoMinor: r.ProtoMinor, TLS: r.TLS,
	}
}

// AllowOrigin says whether a request may come from the site that its Origin
// header names: none is named (it is no browser), the site is our own, or it
// is on the list ("https://app.example", or "*" for all).
func AllowOrigin(r *http.Request, list []string) bool {
	origin := r.Header.Get("Origin")
	if origin == "" || slices.Contains(list, "*") {
		return true
	}
	if _, host, ok := strings.Cut(origin, "://"); ok && strings.EqualFold(host, r.Host) {
		return true
	}
	return slices.ContainsFunc(list, func(s string) bool { return strings.EqualFold(strings.TrimSuffix(s, "/"), origin) })
}

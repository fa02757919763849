// Package graph is the GraphQL contract and its server: schema, checks,
// prices, errors. graph/transport carries it; graph/exec is generated from the schema.
package graph

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"github.com/enrichd/enrichd/graph/transport"
	"github.com/enrichd/enrichd/internal/access"
	"github.com/enrichd/enrichd/internal/ident"
	"github.com/enrichd/enrichd/internal/limit"
)

// Options are what NewServer needs. Only Schema and Authenticate must be given.
type Options struct {
	// Schema is what gqlgen generated, with its resolvers.
	Schema graphql.ExecutableSchema
	// Authenticate turns a token ("" when none was sent) into a context that
	// carries the principal (access.With). r holds headers and addresses; on a
	// socket it is the upgrade request. Errors: Unauthenticated for a missing
	// or bad key, fault.Forbidden for a good one that may not be used this way,
	// a transport.Refusal to choose the answer; any other means that we could
	// not find out, and is answered with UNAVAILABLE.
	Authenticate func(ctx context.Context, token string, r *http.Request) (context.Context, error)
	// Admit may refuse a request or socket that has signed in, before anything
	// is parsed, with a limit.Exceeded for instance; nil admits all. header is the
	// answer's, for the caller's limits, and nil on a socket.
	Admit func(ctx context.Context, r *http.Request, header http.Header) error
	// Charge takes what an operation costs from the caller's buckets before it runs; nil charges nothing.
	Charge func(ctx context.Context, op Operation) (*Budget, error)
	// Recheck says which of the keys no longer hold; it is asked about the keys of
	// live connections when announcements of revoked ones may have been lost. nil asks nothing.
	Recheck func(ctx context.Context, keyIDs []string) (ended []string, err error)
	// Observe is told of every operation, and of every request refused before one; nil tells nobody.
	Observe func(ctx context.Context, o Observation)
	// Introspect says who may read the schema; nil is scope ADMIN, and everybody when Dev is set.
	Introspect func(ctx context.Context) bool
	Log        *slog.Logger
	// Dev allows introspection and suggestions.
	Dev bool
	// AllowedOrigins are the sites, besides our own, whose scripts may call; "*" is all.
	AllowedOrigins []string

	// Operations are known by their hashes from the start; PersistedOnly lets nothing else run.
	Operations    Operations
	PersistedOnly bool

	Limits  Limits
	Sockets Sockets
	// BodyLimit is the largest request body, in bytes; 0 is 256 KiB.
	BodyLimit int64
	// UploadLimit is the largest multipart request, in bytes; 0 is 10 MiB.
	UploadLimit int64
	// OperationTimeout bounds queries and mutations; 0 is 10 s.
	OperationTimeout time.Duration
	// DrainWindow is over how long Shutdown spreads the closing of streams; 0 closes all at once.
	DrainWindow time.Duration
}

// Sockets are the limits of long-lived connections. Zero fields take the default named.
type Sockets struct {
	Max           int           // 20,000 in the process
	MaxPerCompany int           // 1,000
	MaxOperations int           // 100 on one socket
	MaxStarting   int           // 8 on one socket
	InitTimeout   time.Duration // 5 s
	PingInterval  time.Duration // 20 s
	WriteTimeout  time.Duration // 10 s
	ReadLimit     int64         // 64 KiB a message
	QueueBytes    int           // 64 KiB waiting to be written
}

// Server answers GraphQL on one URL, over every transport.
type Server struct {
	o       Options
	engine  *engine
	streams transport.Streams
	ws      *transport.WebSocket
	post    transport.POST
	files   transport.Multipart
	get     transport.GET
	sse     *transport.SSE
}

// uploadTime is how long a multipart request may take to arrive.
const uploadTime = time.Minute

// NewServer makes a server of o. It starts nothing; Shutdown ends what its connections started.
func NewServer(o Options) *Server {
	defaults(&o)
	s := &Server{o: o, engine: newEngine(o, o.Log)}
	s.streams.Max, s.streams.MaxPerCompany = o.Sockets.Max, o.Sockets.MaxPerCompany
	s.post = transport.POST{BodyLimit: o.BodyLimit, Timeout: o.OperationTimeout}
	s.files = transport.Multipart{BodyLimit: o.UploadLimit, OperationsLimit: o.BodyLimit, Timeout: o.OperationTimeout, ReadTimeout: uploadTime}
	s.get = transport.GET{Timeout: o.OperationTimeout}
	s.ws = &transport.WebSocket{
		Streams: &s.streams, Init: s.init, Begin: renamed, Recover: s.recovered,
		CheckOrigin: func(r *http.Request) bool { return transport.AllowOrigin(r, o.AllowedOrigins) },
		InitTimeout: o.Sockets.InitTimeout, PingInterval: o.Sockets.PingInterval, WriteTimeout: o.Sockets.WriteTimeout,
		OperationTimeout: o.OperationTimeout, ReadLimit: o.Sockets.ReadLimit, QueueBytes: o.Sockets.QueueBytes,
		MaxOperations: o.Sockets.MaxOperations, MaxStarting: o.Sockets.MaxStarting,
	}
	s.sse = &transport.SSE{
		Streams: &s.streams, Identify: identity, BodyLimit: o.BodyLimit,
		WriteTimeout: o.Sockets.WriteTimeout, OperationTimeout: o.OperationTimeout,
	}
	return s
}

func defaults(o *Options) {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Introspect == nil {
		o.Introspect = func(ctx context.Context) bool {
			p := access.From(ctx)
			return o.Dev || p != nil && p.Can(access.Admin)
		}
	}
	if o.Limits == (Limits{}) {
		o.Limits = DefaultLimits
	}
	set(&o.BodyLimit, 256<<10)
	set(&o.UploadLimit, 10<<20)
	set(&o.OperationTimeout, 10*time.Second)
	k := &o.Sockets
	set(&k.Max, 20_000)
	set(&k.MaxPerCompany, 1000)
	set(&k.MaxOperations, 100)
	set(&k.MaxStarting, 8)
	set(&k.InitTimeout, 5*time.Second)
	set(&k.PingInterval, 20*time.Second)
	set(&k.WriteTimeout, 10*time.Second)
	set(&k.ReadLimit, 64<<10)
	set(&k.QueueBytes, 64<<10)
}

func set[T comparable](v *T, otherwise T) {
	var zero T
	if *v == zero {
		*v = otherwise
	}
}

// ServeHTTP answers one request. The order matters: whether we take any, how
// large the body is, who asks, whether they may now; only then is anything read or parsed.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx := named(r.Context())
	r = r.WithContext(ctx)
	w.Header().Set("X-Request-Id", RequestID(ctx))
	defer func() {
		if cause := recover(); cause != nil {
			if cause == http.ErrAbortHandler {
				panic(cause)
			}
			transport.Refuse(w, r, transport.Refusal{
				Status: http.StatusInternalServerError, Code: transport.CodeInternal, Message: "internal error",
				Extra: s.recovered(ctx, cause)[0].Extensions,
			})
		}
	}()
	s.cors(w, r)
	switch {
	case r.Method == http.MethodOptions:
		w.Header().Set("Allow", "GET, POST, OPTIONS")
		w.WriteHeader(http.StatusNoContent)
	case r.Method != http.MethodGet && r.Method != http.MethodPost:
		w.Header().Set("Allow", "GET, POST, OPTIONS")
		transport.Refuse(w, r, transport.Refusal{
			Status: http.StatusMethodNotAllowed, Code: transport.CodeValidationFailed, Message: "use GET or POST",
		})
	case s.streams.Draining():
		transport.Refuse(w, r, transport.Refusal{
			Status: http.StatusServiceUnavailable, Code: transport.CodeUnavailable, Message: "the server is shutting down", RetryAfter: time.Second,
		})
	case s.ws.Supports(r):
		s.ws.Do(w, r, s.engine) // signs in with its first message
	case r.ContentLength > s.limit(r):
		w.Header().Set("Connection", "close")
		transport.Refuse(w, r, transport.TooLarge(s.limit(r)))
	default:
		s.signedIn(w, r)
	}
}

// limit is the largest body of a request.
func (s *Server) limit(r *http.Request) int64 {
	if s.files.Supports(r) {
		return s.o.UploadLimit
	}
	return s.o.BodyLimit
}

func (s *Server) signedIn(w http.ResponseWriter, r *http.Request) {
	ctx, err := s.admit(r.Context(), bearer(r.Header.Get("Authorization")), r, w.Header())
	if err != nil {
		transport.Refuse(w, r, err)
		return
	}
	r = r.WithContext(ctx)
	switch {
	case s.sse.Supports(r):
		s.sse.Do(w, r, s.engine)
	case s.files.Supports(r):
		s.files.Do(w, r, s.engine)
	case s.post.Supports(r):
		s.post.Do(w, r, s.engine)
	default:
		s.get.Do(w, r, s.engine)
	}
}

// admit signs a caller in and asks whether it may go on.
func (s *Server) admit(ctx context.Context, token string, r *http.Request, header http.Header) (context.Context, error) {
	ctx, err := s.o.Authenticate(ctx, token, r)
	if err == nil && s.o.Admit != nil {
		err = s.o.Admit(ctx, r, header)
	}
	if err == nil {
		return ctx, nil
	}
	refusal := s.refusal(r.Context(), err)
	s.engine.rejected(r.Context(), nil, refusal.Code)
	return nil, refusal
}

// init signs a socket in. connection_init carries what headers do over HTTP:
// browsers cannot set those on a WebSocket.
func (s *Server) init(ctx context.Context, r *http.Request, payload map[string]any) (context.Context, transport.Identity, error) {
	for key, v := range payload {
		text, ok := v.(string)
		if !ok {
			continue
		}
		switch http.CanonicalHeaderKey(key) {
		case "Authorization", "Enrichd-Company", "Graphql-Client-Name", "Graphql-Client-Version":
			r.Header.Set(key, text)
		case "Apikey", "Token":
			r.Header.Set("Authorization", "Bearer "+text)
		}
	}
	ctx, err := s.admit(ctx, bearer(r.Header.Get("Authorization")), r, nil)
	if err != nil {
		return nil, transport.Identity{}, err
	}
	return ctx, identity(ctx), nil
}

// bearer takes the token out of an Authorization header (RFC 6750 §2.1), "" when there is none.
func bearer(header string) string {
	scheme, token, ok := strings.Cut(header, " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

func identity(ctx context.Context) transport.Identity {
	p := access.From(ctx)
	if p == nil {
		return transport.Identity{}
	}
	id := transport.Identity{Company: p.Company.ID, Key: p.Key.ID}
	if p.Key.ExpiresAt != nil {
		id.Expires = *p.Key.ExpiresAt
	}
	return id
}

// refusal turns an error of signing in into the answer to it.
func (s *Server) refusal(ctx context.Context, err error) transport.Refusal {
	var chosen transport.Refusal
	if errors.As(err, &chosen) {
		return chosen
	}
	var exceeded limit.Exceeded
	if errors.As(err, &exceeded) {
		return rateLimited(exceeded)
	}
	shown := s.engine.present(ctx, err)
	if transport.CodeOf(shown) == transport.CodeForbidden {
		return transport.Refusal{Status: http.StatusForbidden, Code: transport.CodeForbidden, Message: shown.Message, Extra: shown.Extensions}
	}
	return transport.Refusal{
		Status: http.StatusServiceUnavailable, Code: transport.CodeUnavailable, RetryAfter: time.Second,
		Message: "signing in is not possible at the moment", Extra: map[string]any{"requestId": RequestID(ctx)},
	}
}

// recovered logs a panic outside a resolver and says what the caller reads.
func (s *Server) recovered(ctx context.Context, cause any) gqlerror.List {
	s.o.Log.ErrorContext(ctx, "graphql: panic", "request_id", RequestID(ctx), "cause", cause, "stack", string(debug.Stack()))
	return gqlerror.List{s.engine.present(ctx, errInternal)}
}

// renamed gives an operation of a socket a request id of its own.
func renamed(ctx context.Context) context.Context {
	return WithRequestID(ctx, ident.New("req"))
}

// cors tells browsers which sites may call (Fetch §3.2).
func (s *Server) cors(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Add("Vary", "Origin")
	origin := r.Header.Get("Origin")
	if origin == "" || !transport.AllowOrigin(r, s.o.AllowedOrigins) {
		return
	}
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Expose-Headers", "X-Request-Id, Retry-After, RateLimit, RateLimit-Policy, X-RateLimit-Limit-Minute, X-RateLimit-Limit-Hour, "+
		"X-RateLimit-Remaining-Minute, X-RateLimit-Remaining-Hour, X-RateLimit-Reset-Minute, X-RateLimit-Reset-Hour")
	if r.Method == http.MethodOptions {
		h.Set("Access-Control-Allow-Methods", "GET, POST")
		h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, GraphQL-Require-Preflight, Accept, Last-Event-ID, Enrichd-Company, GraphQL-Client-Name, GraphQL-Client-Version")
		h.Set("Access-Control-Max-Age", "600")
	}
}

// CloseKey ends every live connection of a key, with close code 4403, and returns how many there were.
func (s *Server) CloseKey(keyID string) int { return s.streams.CloseKey(keyID) }

// Streams returns how many sockets and event streams are open.
func (s *Server) Streams() int { return s.streams.Len() }

// Figures counts sockets and event streams.
func (s *Server) Figures() transport.Figures { return s.streams.Figures() }

// Shutdown refuses new requests, ends every live connection (close code 1001,
// from which clients come back and resume) and waits until their goroutines
// are gone or ctx ends. Plain requests are http.Server.Shutdown's to wait for.
func (s *Server) Shutdown(ctx context.Context) error {
	err := s.streams.Drain(ctx, s.o.DrainWindow)
	if err == nil {
		s.engine.shares.running.Wait() // nobody follows any more, so this is soon
	}
	return err
}

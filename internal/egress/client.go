package egress

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

// Header is a set of HTTP header fields, so that domains need no net/http.
type Header = http.Header

const (
	defaultTimeout      = 10 * time.Second
	defaultMaxBytes     = 512 << 10
	tlsTimeout          = 5 * time.Second
	maxResponseHeaders  = 64 << 10
	defaultUserAgent    = "enrichd"
	maxIdleConnections  = 256
	pingIdleHTTP2After  = 15 * time.Second
	contentEncodingGzip = "gzip"
)

// Request is one attempt. Only URL is required.
type Request struct {
	Method string // "" is GET
	URL    string
	Header Header
	Body   []byte
	// MaxBytes bounds the body, unpacked; 0 is 512 KiB. A larger one is TooLarge, or cut when Truncate is set.
	MaxBytes int
	Truncate bool
	// MaxRedirects lowers what the use allows; 0 is the use's own number, below zero none. Only GET and HEAD are redirected.
	MaxRedirects int
	// OnRedirect is asked before each hop, after the guard's own check; its error ends the attempt as Refused and can be
	// found with errors.Is. The crawler asks robots.txt here.
	OnRedirect func(ctx context.Context, next *url.URL) error
	// Timeout bounds the whole attempt, from name lookup to the last byte of the body, redirects included; 0 is 10 s.
	Timeout time.Duration
}

// Response is what came back. With an error it holds what was known by then,
// so that a failed attempt can be recorded with its address, status and times.
type Response struct {
	URL       string // the last address asked, after redirects
	Status    int    // 0: no response came
	Header    Header
	Body      []byte
	Truncated bool // Body is only the beginning
	Redirects int
	RemoteIP  netip.Addr // of the last connection; invalid when there was none
	Timings   Timings
}

// Client sends requests under a policy. It is safe for concurrent use. Make it with NewClient.
type Client struct {
	use     Use
	current atomic.Pointer[generation]
}

// generation is one policy with the connections that were made under it.
type generation struct {
	policy    Policy
	use       Use
	dialer    *Dialer
	transport *http.Transport
}

// NewClient makes a client. It holds idle connections; end it with Close.
func NewClient(p Policy, use Use) *Client {
	c := &Client{use: use}
	c.current.Store(newGeneration(p, use))
	return c
}

func newGeneration(p Policy, use Use) *generation {
	l := use.limits()
	dialer := &Dialer{policy: p, ports: p.ports(use), resolver: &Resolver{Server: p.Resolver}}
	t := &http.Transport{
		Proxy:       nil, // never the environment's
		DialContext: dialer.DialContext,
		TLSClientConfig: &tls.Config{
			MinVersion:   tls.VersionTLS12,
			RootCAs:      p.RootCAs,
			Certificates: p.Certificates,
		},
		TLSHandshakeTimeout:    tlsTimeout,
		DisableCompression:     true, // unpacked by readBody, under its limits
		MaxIdleConns:           maxIdleConnections,
		MaxIdleConnsPerHost:    l.idlePerHost,
		IdleConnTimeout:        l.idleFor,
		MaxResponseHeaderBytes: maxResponseHeaders,
		// HTTP/2 connections are kept per host and port and never shared between names (no RFC 9113 coalescing).
		ForceAttemptHTTP2: true,
		HTTP2:             &http.HTTP2Config{SendPingTimeout: pingIdleHTTP2After},
	}
	return &generation{policy: p, use: use, dialer: dialer, transport: t}
}

// SetPolicy replaces the policy. Connections made under the old one are closed
// as soon as they are idle, and no later request uses them.
func (c *Client) SetPolicy(p Policy) {
	old := c.current.Swap(newGeneration(p, c.use))
	old.transport.CloseIdleConnections()
}

// Close closes idle connections.
func (c *Client) Close() { c.current.Load().transport.CloseIdleConnections() }

// Resolver is the resolver that the client dials with.
func (c *Client) Resolver() *Resolver { return c.current.Load().dialer.resolver }

// CheckURL judges an address as text, before anything is asked: for a clear
// answer when somebody saves it. What its name resolves to is judged at every
// dial. The error is an *Error of kind Refused.
func (c *Client) CheckURL(raw string) error {
	_, err := c.current.Load().policy.checkURL(c.use, raw)
	return err
}

// Do makes one attempt. Errors are *Error; see Kind. Any status is an answer
// and no error, a redirect that the limit forbids to follow included when the limit is none.
func (c *Client) Do(ctx context.Context, r Request) (Response, error) {
	g := c.current.Load()
	defer func() {
		if c.current.Load() != g {
			g.transport.CloseIdleConnections()
		}
	}()
	timeout := r.Timeout
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	attempt, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()

	w := newWatch()
	var res Response
	err := g.follow(httptrace.WithClientTrace(attempt, w.trace()), w, r, &res)
	res.Timings, res.RemoteIP = w.result()
	if err != nil {
		return res, classify(ctx, attempt, w.phase(), err)
	}
	return res, nil
}

// follow sends r and its redirects.
func (g *generation) follow(ctx context.Context, w *watch, r Request, res *Response) error {
	u, err := g.policy.checkURL(g.use, r.URL)
	if err != nil {
		return err
	}
	limit := g.use.limits().redirects
	switch {
	case r.MaxRedirects < 0:
		limit = 0
	case r.MaxRedirects > 0:
		limit = min(limit, r.MaxRedirects)
	}
	method := r.Method
	if method == "" {
		method = http.MethodGet
	}
	header := r.Header.Clone()
	if header == nil {
		header = Header{}
	}
	for {
		res.URL = u.String()
		next, err := g.send(ctx, w, method, u, header, r, limit > 0, res)
		if err != nil || next == nil {
			return err
		}
		if res.Redirects == limit {
			return &Error{Kind: TooManyRedirects, Phase: PhaseRedirect, Detail: "more than allowed"}
		}
		res.Redirects++
		if r.OnRedirect != nil {
			err := r.OnRedirect(ctx, next)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				return &Error{Kind: Refused, Phase: PhaseRedirect, Reason: "redirect", Err: err}
			}
		}
		if next.Host != u.Host || next.Scheme != u.Scheme {
			header = harmless(header)
		}
		u = next
	}
}

// send makes one hop: it fills res, and returns where a redirect leads when it is to be followed.
func (g *generation) send(ctx context.Context, w *watch, method string, u *url.URL, header Header, r Request, redirects bool, res *Response) (*url.URL, error) {
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(r.Body))
	if err != nil {
		return nil, refuse(PhaseURL, "url", "not a valid request")
	}
	if len(r.Body) == 0 {
		req.Body, req.GetBody = http.NoBody, nil
	}
	req.Header = header.Clone()
	req.Header.Del("Host")
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", orDefault(g.policy.UserAgent, defaultUserAgent))
	}
	unpack := g.use.limits().gzip && req.Header.Get("Accept-Encoding") == ""
	if unpack {
		req.Header.Set("Accept-Encoding", contentEncodingGzip)
	}
	w.hop()
	response, err := g.transport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	w.headers()
	res.Status, res.Header = response.StatusCode, response.Header

	if redirects && (method == http.MethodGet || method == http.MethodHead) {
		if next, err := g.redirect(u, response); err != nil || next != nil {
			return next, err
		}
	}
	maxBytes := r.MaxBytes
	if maxBytes <= 0 {
		maxBytes = defaultMaxBytes
	}
	res.Body, res.Truncated, err = readBody(response, maxBytes, unpack, r.Truncate)
	return nil, err
}

// redirect returns the judged address of a redirect, nil when the response is none.
func (g *generation) redirect(from *url.URL, response *http.Response) (*url.URL, error) {
	switch response.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther,
		http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
	default:
		return nil, nil
	}
	location := response.Header.Get("Location")
	if location == "" {
		return nil, nil
	}
	next, err := from.Parse(location)
	if err != nil {
		return nil, refuse(PhaseRedirect, "url", "the redirect is not a valid URL")
	}
	checked, err := g.policy.checkURL(g.use, next.String())
	var refusal *Error
	if errors.As(err, &refusal) {
		refusal.Phase = PhaseRedirect
	}
	if err != nil {
		return nil, err
	}
	// A short body is read so that the connection can be used again; a long one costs the connection.
	_, _ = io.CopyN(io.Discard, response.Body, 4<<10)
	return checked, nil
}

// harmless keeps what may be told to another site; keys, cookies and signatures stay behind.
func harmless(h Header) Header {
	out := Header{}
	for name, values := range h {
		switch name = http.CanonicalHeaderKey(name); {
		case strings.HasPrefix(name, "Accept"), name == "User-Agent":
			out[name] = values
		}
	}
	return out
}

func orDefault(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

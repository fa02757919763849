package sandbox

import (
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Behaviour is how a host treats its visitors.
type Behaviour string

// The behaviours. A host has one at a time.
const (
	Normal Behaviour = ""
	// Hanging accepts the connection and never says a word, not even about robots.txt.
	Hanging Behaviour = "hanging"
	// Endless answers robots.txt as ever, and every other path with a page that never ends.
	Endless Behaviour = "endless"
	// Oversized answers with pages of two megabytes.
	Oversized Behaviour = "oversized"
	// Broken answers everything with 500.
	Broken Behaviour = "broken"
)

// Behave changes how a host, of a site or an API, treats requests from now on.
func (s *Sandbox) Behave(host string, b Behaviour) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.behaviour[strings.ToLower(host)] = b
}

// Request is one visit to the web server.
type Request struct {
	At        time.Time
	Host      string // without port
	Method    string
	Path      string // with the query
	UserAgent string
}

// requestsKept bounds what a sandbox that runs all day remembers.
const requestsKept = 100_000

// trips remembers the requests, latest last.
type trips struct {
	mu  sync.Mutex
	all []Request
}

func (t *trips) note(r Request) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.all) >= requestsKept {
		t.all = slices.Delete(t.all, 0, requestsKept/2)
	}
	t.all = append(t.all, r)
}

// Requests lists the requests so far, in the order of their arrival.
func (s *Sandbox) Requests() []Request {
	s.trips.mu.Lock()
	defer s.trips.mu.Unlock()
	return slices.Clone(s.trips.all)
}

// enter says whether the sandbox is still open and how the host behaves. What enters must leave by busy.Done.
func (s *Sandbox) enter(host string) (Behaviour, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return "", false
	}
	s.busy.Add(1)
	return s.behaviour[host], true
}

func (s *Sandbox) serve(w http.ResponseWriter, r *http.Request) {
	host := strings.ToLower(r.Host)
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	behaviour, open := s.enter(host)
	if !open {
		panic(http.ErrAbortHandler)
	}
	defer s.busy.Done()
	s.trips.note(Request{At: time.Now(), Host: host, Method: r.Method, Path: r.URL.RequestURI(), UserAgent: r.UserAgent()})
	s.log.DebugContext(r.Context(), "sandbox request", "host", host, "method", r.Method, "path", r.URL.Path)

	switch {
	case behaviour == Hanging:
		<-r.Context().Done() // of the visitor, or of the sandbox
		panic(http.ErrAbortHandler)
	case behaviour == Endless && r.URL.Path != "/robots.txt":
		endless(w, r)
	case behaviour == Broken:
		http.Error(w, "Internal Server Error", http.StatusInternalServerError)
	case s.apis[host] != nil:
		s.apis[host].ServeHTTP(w, r)
	case s.sites[host] != nil:
		s.sites[host].serve(w, r, behaviour == Oversized)
	default:
		http.Error(w, "no site is configured at this address", http.StatusMisdirectedRequest)
	}
}

// endless writes a page until the visitor or the sandbox has had enough.
func endless(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	chunk := []byte(strings.Repeat("<p>And another thing, while you are here.</p>\n", 512))
	for r.Context().Err() == nil {
		if _, err := w.Write(chunk); err != nil {
			return
		}
	}
}

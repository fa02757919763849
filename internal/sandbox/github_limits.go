package sandbox

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// gitHubIdentity is who calls: the holder of the token, or an address.
type gitHubIdentity struct {
	token bool
	shown string // in messages
}

// gitHubCaller reads who calls; ok is false for credentials that do not exist.
func gitHubCaller(r *http.Request) (gitHubIdentity, bool) {
	given := r.Header.Get("Authorization")
	if given == "" {
		return gitHubIdentity{shown: "127.0.0.1"}, true
	}
	_, token, _ := strings.Cut(given, " ")
	return gitHubIdentity{token: true, shown: "user ID 900000001"}, token == gitHubToken
}

// gitHubLimits count calls as GitHub does: 5,000 an hour and 30 searches a
// minute with a token, 60 and 10 without.
type gitHubLimits struct {
	mu      sync.Mutex
	windows map[gitHubWindowKey]*gitHubWindow
}

type gitHubWindowKey struct {
	caller   gitHubIdentity
	resource string
}

// gitHubWindow is a fixed window of one caller and resource.
type gitHubWindow struct {
	used  int
	until time.Time
}

func newGitHubLimits() *gitHubLimits {
	return &gitHubLimits{windows: map[gitHubWindowKey]*gitHubWindow{}}
}

func gitHubQuota(caller gitHubIdentity, resource string) (calls int, per time.Duration) {
	switch {
	case resource == "search" && caller.token:
		return 30, time.Minute
	case resource == "search":
		return 10, time.Minute
	case caller.token:
		return 5000, time.Hour
	}
	return 60, time.Hour
}

// spend counts one call and writes the limit's headers; false says that none was left.
func (l *gitHubLimits) spend(h http.Header, caller gitHubIdentity, resource string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	calls, per := gitHubQuota(caller, resource)
	key := gitHubWindowKey{caller, resource}
	w := l.windows[key]
	if w == nil || !now.Before(w.until) {
		w = &gitHubWindow{until: now.Add(per)}
		l.windows[key] = w
	}
	ok := w.used < calls
	if ok {
		w.used++
	}
	w.tell(h, calls, resource)
	return ok
}

// giveBack takes a call off the count again: a 304 is free.
func (l *gitHubLimits) giveBack(h http.Header, caller gitHubIdentity, resource string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	calls, _ := gitHubQuota(caller, resource)
	if w := l.windows[gitHubWindowKey{caller, resource}]; w != nil && w.used > 0 {
		w.used--
		w.tell(h, calls, resource)
	}
}

func (w *gitHubWindow) tell(h http.Header, calls int, resource string) {
	h.Set("X-RateLimit-Limit", strconv.Itoa(calls))
	h.Set("X-RateLimit-Remaining", strconv.Itoa(calls-w.used))
	h.Set("X-RateLimit-Used", strconv.Itoa(w.used))
	h.Set("X-RateLimit-Reset", strconv.FormatInt(w.until.Unix(), 10))
	h.Set("X-RateLimit-Resource", resource)
}

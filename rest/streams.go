package rest

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/enrichd/enrichd/internal/access"
)

// errDraining is why streams end when the server stops.
var errDraining = errors.New("the server is shutting down")

// streams are the event streams of this process, so that they end with their key and with the server.
type streams struct {
	mu       sync.Mutex
	open     map[*live]bool
	draining bool
	checks   sync.WaitGroup
}

// live is one open stream.
type live struct {
	key    string
	end    context.CancelCauseFunc
	expiry *time.Timer
}

func (s *streams) add(ctx context.Context, key access.Key) (context.Context, *live, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		return nil, nil, failure{
			status: http.StatusServiceUnavailable, code: "SERVICE_UNAVAILABLE", message: "The service is shutting down", retryAfter: comeBack,
		}
	}
	ctx, end := context.WithCancelCause(ctx)
	l := &live{key: key.ID, end: end}
	if key.ExpiresAt != nil {
		l.expiry = time.AfterFunc(time.Until(*key.ExpiresAt), func() { end(access.ErrInvalidKey) })
	}
	if s.open == nil {
		s.open = map[*live]bool{}
	}
	s.open[l] = true
	return ctx, l, nil
}

func (s *streams) remove(l *live) {
	s.mu.Lock()
	delete(s.open, l)
	s.mu.Unlock()
	if l.expiry != nil {
		l.expiry.Stop()
	}
	l.end(nil)
}

// recheckTime bounds how long finding out which keys still hold may take.
const recheckTime = 10 * time.Second

// Announced ends the streams of keys that no longer hold. ids are those of
// wake-ups; nil says that some may have been missed, and then every key is looked at again.
func (a *API) Announced(ids []string) {
	if ids != nil {
		for _, id := range ids {
			if key, revoked := strings.CutPrefix(id, access.RevokedPrefix); revoked {
				a.streams.close(key)
			}
		}
		return
	}
	keys := a.streams.keys()
	if len(keys) == 0 {
		return
	}
	a.streams.checks.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), recheckTime)
		defer cancel()
		ended, err := a.Access.Ended(ctx, keys)
		if err != nil {
			// Better to have clients come back, which shows their keys again, than to serve one that was revoked.
			a.Log.WarnContext(ctx, "event streams are closed: their keys cannot be looked at", "err", err)
			ended = keys
		}
		for _, key := range ended {
			a.streams.close(key)
		}
	})
}

func (s *streams) close(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for l := range s.open {
		if l.key == key {
			l.end(access.ErrInvalidKey)
		}
	}
}

// keys are the ids of the keys that hold streams.
func (s *streams) keys() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := map[string]bool{}
	for l := range s.open {
		seen[l.key] = true
	}
	return slices.Collect(maps.Keys(seen))
}

// Drain ends every event stream, so that a server can wait for its requests, and takes no more.
func (a *API) Drain() {
	a.streams.mu.Lock()
	a.streams.draining = true
	for l := range a.streams.open {
		l.end(errDraining)
	}
	a.streams.mu.Unlock()
	a.streams.checks.Wait()
}

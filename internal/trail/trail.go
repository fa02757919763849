// Package trail gathers what one wide log line about a request says: whoever
// learns something on the way adds it, and the line is written once, at the end.
// Only ids and words of our own belong in it: no query, no variable, no path, no value of a caller's.
package trail

import (
	"context"
	"log/slog"
	"slices"
	"sync"
)

// Trail is what is known of one request so far. It is safe for concurrent use.
type Trail struct {
	mu    sync.Mutex
	attrs []slog.Attr
	ended bool
}

type key struct{}

// Begin returns a context in which Add gathers.
func Begin(ctx context.Context) (context.Context, *Trail) {
	t := new(Trail)
	return context.WithValue(ctx, key{}, t), t
}

// Add adds to the line of ctx's request, replacing what had the same key. It
// reports false when there is none, or when it has been written already: a
// socket outlives its request, and whoever works for it writes a line of its own.
func Add(ctx context.Context, attrs ...slog.Attr) bool {
	t, _ := ctx.Value(key{}).(*Trail)
	if t == nil {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, a := range attrs {
		if i := slices.IndexFunc(t.attrs, func(had slog.Attr) bool { return had.Key == a.Key }); i >= 0 {
			t.attrs[i] = a
		} else {
			t.attrs = append(t.attrs, a)
		}
	}
	return !t.ended
}

// Known returns what was gathered so far.
func Known(ctx context.Context) []slog.Attr {
	t, _ := ctx.Value(key{}).(*Trail)
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.attrs)
}

// End returns what was gathered; what comes later is somebody else's line.
func (t *Trail) End() []slog.Attr {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
	return slices.Clone(t.attrs)
}

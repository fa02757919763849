// Package wake tells readers that there may be something new to read. A
// wake-up is a hint: it may be lost, doubled or late without harm, because
// readers read the table and look again now and then.
package wake

import (
	"context"
	"sync"
)

// Waker is the one seam of live progress: a change on one node wakes the readers of all.
type Waker interface {
	// Publish says that ids (run ids, say) changed. It never blocks.
	Publish(ids ...string)
	// Notify has f called after changes, with their ids; nil ids mean that
	// anything may have changed, because hints may have been lost. f must not
	// block. cancel ends it; a call under way may still finish.
	Notify(f func(ids []string)) (cancel func())
	Start(ctx context.Context) error
	Stop(ctx context.Context) error
}

// Hub wakes the readers of this process. It is a Waker for a fleet of one.
type Hub struct {
	mu      sync.Mutex
	next    int
	readers map[int]func([]string)
}

// NewHub returns an empty Hub.
func NewHub() *Hub { return &Hub{readers: map[int]func([]string){}} }

// Start does nothing: a Hub has no goroutine.
func (h *Hub) Start(context.Context) error { return nil }

// Stop does nothing.
func (h *Hub) Stop(context.Context) error { return nil }

// Notify implements Waker.
func (h *Hub) Notify(f func(ids []string)) func() {
	h.mu.Lock()
	defer h.mu.Unlock()
	id := h.next
	h.next++
	h.readers[id] = f
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.readers, id)
	}
}

// Publish implements Waker.
func (h *Hub) Publish(ids ...string) {
	if len(ids) > 0 {
		h.wake(ids)
	}
}

// wake calls the readers outside the lock, so that one may cancel inside its call.
func (h *Hub) wake(ids []string) {
	h.mu.Lock()
	readers := make([]func([]string), 0, len(h.readers))
	for _, f := range h.readers {
		readers = append(readers, f)
	}
	h.mu.Unlock()
	for _, f := range readers {
		f(ids)
	}
}

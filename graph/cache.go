package graph

import (
	"container/list"
	"sync"
)

// cache keeps the most recently used values, at most max of them.
type cache[V any] struct {
	max int

	mu    sync.Mutex
	order list.List // of *cached[V], newest first
	byKey map[string]*list.Element
}

type cached[V any] struct {
	key   string
	value V
}

func newCache[V any](max int) *cache[V] {
	return &cache[V]{max: max, byKey: make(map[string]*list.Element)}
}

func (c *cache[V]) get(key string) (v V, found bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.byKey[key]
	if e == nil {
		return v, false
	}
	c.order.MoveToFront(e)
	return e.Value.(*cached[V]).value, true
}

func (c *cache[V]) put(key string, v V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.byKey[key]; e != nil {
		e.Value.(*cached[V]).value = v
		c.order.MoveToFront(e)
		return
	}
	c.byKey[key] = c.order.PushFront(&cached[V]{key, v})
	if c.order.Len() > c.max {
		oldest := c.order.Back()
		c.order.Remove(oldest)
		delete(c.byKey, oldest.Value.(*cached[V]).key)
	}
}

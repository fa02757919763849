package access

import (
	"strings"
	"sync"
	"time"
)

const (
	// cachedFor is how long a key is used as it was read. What must take effect
	// sooner is announced: revocation, suspension, and what a key manages.
	cachedFor = 30 * time.Second
	maxCached = 20_000
)

// cache keeps principals by the digest of their key.
type cache struct {
	mu sync.Mutex
	// changes counts announcements: what was read before one is not kept after it.
	changes  uint64
	byDigest map[string]*cached
}

type cached struct {
	principal Principal
	read      time.Time
	// used is when the last use was written.
	used time.Time
}

// get returns a copy of the principal, and whether its use should be written now.
func (c *cache) get(digest []byte, now time.Time) (p *Principal, touch bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.byDigest[string(digest)]
	if e == nil || now.Sub(e.read) >= cachedFor {
		return nil, false
	}
	if touch = now.Sub(e.used) > lastUsedEvery; touch {
		e.used = now
	}
	copied := e.principal
	return &copied, touch
}

// mark is what put is given, taken before the principal was read.
func (c *cache) mark() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changes
}

func (c *cache) put(digest []byte, p *Principal, mark uint64, now, used time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.changes != mark {
		return
	}
	if c.byDigest == nil || len(c.byDigest) >= maxCached {
		c.byDigest = map[string]*cached{}
	}
	c.byDigest[string(digest)] = &cached{principal: *p, read: now, used: used}
}

func (c *cache) drop(keyID string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changes++
	for digest, e := range c.byDigest {
		if e.principal.Key.ID == keyID {
			delete(c.byDigest, digest)
		}
	}
}

func (c *cache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changes++
	c.byDigest = nil
}

// Announced handles wake-ups: what was announced is read anew. nil says that
// announcements may have been lost, so everything is.
func (s *Service) Announced(ids []string) {
	if ids == nil {
		s.cache.clear()
		return
	}
	for _, id := range ids {
		for _, prefix := range []string{RevokedPrefix, ResumedPrefix} {
			if key, ok := strings.CutPrefix(id, prefix); ok {
				s.cache.drop(key)
			}
		}
	}
}

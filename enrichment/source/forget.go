package source

import "container/list"

// Forget drops every answer that is held in memory, because a person in one of
// them was erased. Addresses do not tell which, and asking anew costs little.
func (s *Set) Forget() {
	for _, g := range s.guards {
		g.store.forget()
		g.misses.forget()
	}
}

func (s *store) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.byURL, s.used, s.bytes = map[string]*list.Element{}, list.New(), 0
}

func (m *misses) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.byURL = map[string]miss{}
}

package main

import "sync"

// companyOf remembers which company a run belongs to, as the product reads it from the run's row.
type companyOf struct{ m sync.Map }

func (c *companyOf) set(run, company string) { c.m.Store(run, company) }

// get waits for the moment between the commit of a run and the caller's hearing of it.
func (c *companyOf) get(run string) string {
	for {
		if v, ok := c.m.Load(run); ok {
			return v.(string)
		}
	}
}

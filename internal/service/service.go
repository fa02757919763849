// Package service starts and stops what runs in the background, in order.
package service

import (
	"context"
	"errors"
	"fmt"
)

// Service is anything with a life: Start returns once it runs, Stop once it has ended.
type Service interface {
	Start(ctx context.Context) error
	Stop(ctx context.Context) error
}

// Group is services that live together.
type Group struct {
	running []Service
}

// Start starts services in order. When one fails, those before it are stopped again.
func (g *Group) Start(ctx context.Context, services ...Service) error {
	for _, s := range services {
		if err := s.Start(ctx); err != nil {
			return errors.Join(fmt.Errorf("start %T: %w", s, err), g.Stop(ctx))
		}
		g.running = append(g.running, s)
	}
	return nil
}

// Stop stops everything that was started, last first, whatever fails.
func (g *Group) Stop(ctx context.Context) error {
	var errs []error
	for i := len(g.running) - 1; i >= 0; i-- {
		if err := g.running[i].Stop(ctx); err != nil {
			errs = append(errs, fmt.Errorf("stop %T: %w", g.running[i], err))
		}
	}
	g.running = nil
	return errors.Join(errs...)
}

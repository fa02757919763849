package cmd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/enrichd/enrichd/internal/config"
	"github.com/enrichd/enrichd/internal/service"
	"github.com/enrichd/enrichd/internal/spans"
)

func serveCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "serve",
		Short: "Serve the API and work on runs",
		Long: "Serve the API and work on runs. Without DATABASE_URL it starts a private PostgreSQL of its own and keeps its data.\n" +
			"Several processes may serve one database. Settings come from the environment: see `enrichd config print`.",
		Args: usage(cobra.NoArgs),
	}
	which := c.Flags().String("roles", "api,enrich,dispatch", "what this process does")
	c.RunE = func(c *cobra.Command, _ []string) error {
		r, err := parseRoles(*which)
		if err != nil {
			return err
		}
		return serve(c.Context(), r)
	}
	return c
}

func workCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "work",
		Short: "Work on runs and deliveries, without the API",
		Args:  usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			return serve(c.Context(), roles{enrich: true, dispatch: true})
		},
	}
}

func parseRoles(s string) (r roles, err error) {
	for _, role := range strings.Split(s, ",") {
		switch strings.TrimSpace(role) {
		case "api":
			r.api = true
		case "enrich":
			r.enrich = true
		case "dispatch":
			r.dispatch = true
		default:
			return r, usageError{fmt.Errorf("--roles: %q is none of api, enrich, dispatch", role)}
		}
	}
	return r, nil
}

// serve runs until ctx ends or a listener fails.
func serve(ctx context.Context, r roles) error {
	conf, err := config.FromEnv()
	if err != nil {
		return err
	}
	log, level := newLog(conf)
	hold := whileServing
	if !r.api {
		hold = forCommand // a worker may join the private server that a service holds
	}
	a, err := newApp(ctx, conf, hold, log)
	if err != nil {
		return err
	}
	a.Level = level
	if conf.Traces || os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" {
		stop, err := spans.Start(ctx, Version)
		if err != nil {
			return errors.Join(err, a.Close())
		}
		defer func() { // last of all
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), spans.FlushWithin)
			defer cancel()
			if err := stop(ctx); err != nil {
				log.WarnContext(ctx, "the last spans are lost", "err", err)
			}
		}()
	}
	for _, name := range conf.Unknown {
		log.WarnContext(ctx, "this setting means nothing here", "name", name)
	}
	running, err := a.start(ctx, r)
	if err != nil {
		return errors.Join(err, a.Close())
	}
	if running.api != nil {
		log.InfoContext(ctx, "serving", "addr", running.api.Addr, "graphql", "http://"+running.api.Addr+"/graphql")
	}
	err = running.wait(ctx, log)
	return errors.Join(err, running.Stop(context.WithoutCancel(ctx)), a.Close())
}

// running is a started process.
type running struct {
	service.Group
	api   *api
	admin *admin
}

// start begins everything that r asks for. What is begun last is stopped first
// (edge.md section 9): the worker, so that running profiles finish while their
// subscribers still listen; then sockets and requests; then what has been lent
// and what is to be settled; then what all of them stand on.
func (a *App) start(ctx context.Context, r roles) (*running, error) {
	background, err := a.background(ctx, r)
	if err != nil {
		return nil, err
	}
	out := &running{admin: newAdmin(a)}
	before := len(background)
	if r.enrich || r.dispatch {
		before-- // the worker
	}
	services := append([]service.Service{out.admin}, background[:before]...)
	if r.api {
		if out.api, err = newAPI(a); err != nil {
			return nil, err
		}
		out.admin.ready = out.api.unready
		services = append(services, a.Limit, out.api)
	}
	if err := out.Start(ctx, append(services, background[before:]...)...); err != nil {
		return nil, err
	}
	out.admin.started.Store(true)
	return out, nil
}

// stopWithin bounds the whole of stopping; what has not ended by then is cut off.
const stopWithin = 30 * time.Second

// Stop first sends the load balancers' requests elsewhere, and then stops all in order.
func (r *running) Stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stopWithin)
	defer cancel()
	if r.api != nil {
		r.api.Retreat(ctx)
	}
	return r.Group.Stop(ctx)
}

func (r *running) wait(ctx context.Context, log *slog.Logger) error {
	var failed chan error
	if r.api != nil {
		failed = r.api.failed
	}
	select {
	case <-ctx.Done():
		log.Info("stopping: running profiles finish first")
		return nil
	case err := <-failed:
		return err
	case err := <-r.admin.failed:
		return err
	}
}

package cmd

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/enrichd/enrichd/internal/config"
	"github.com/enrichd/enrichd/internal/pg"
	"github.com/enrichd/enrichd/migrations"
)

func migrateCommand() *cobra.Command {
	up := &cobra.Command{
		Use:   "migrate",
		Short: "Bring the database's schema up to date (serve does so by itself)",
		Args:  usage(cobra.NoArgs),
	}
	upJSON := jsonFlag(up)
	up.RunE = func(c *cobra.Command, _ []string) error {
		return withDSN(c.Context(), func(ctx context.Context, dsn string, log *slog.Logger, opts ...pg.Option) error {
			pending, err := migrations.Pending(ctx, dsn, opts...)
			if err != nil {
				return err
			}
			if err := migrations.Up(ctx, dsn, log, opts...); err != nil {
				return err
			}
			if *upJSON {
				return printJSON(c.OutOrStdout(), map[string]any{"done": append([]string{}, pending...)})
			}
			for _, name := range pending {
				fmt.Fprintf(c.OutOrStdout(), "%s done\n", name)
			}
			return nil
		})
	}
	status := &cobra.Command{Use: "status", Short: "Show which migrations the database has", Args: usage(cobra.NoArgs)}
	asJSON := jsonFlag(status)
	status.RunE = func(c *cobra.Command, _ []string) error {
		return withDSN(c.Context(), func(ctx context.Context, dsn string, _ *slog.Logger, opts ...pg.Option) error {
			steps, err := migrations.Status(ctx, dsn, opts...)
			if err != nil {
				return err
			}
			if *asJSON {
				return printJSON(c.OutOrStdout(), steps)
			}
			w := tabwriter.NewWriter(c.OutOrStdout(), 0, 4, 2, ' ', 0)
			for _, s := range steps {
				fmt.Fprintf(w, "%s\t%s\n", s.Name, map[bool]string{true: "done", false: "pending"}[s.Applied])
			}
			return w.Flush()
		})
	}
	up.AddCommand(status)
	return up
}

// withDSN runs f on the database without migrating it first.
func withDSN(ctx context.Context, f func(ctx context.Context, dsn string, log *slog.Logger, opts ...pg.Option) error) error {
	conf, err := config.FromEnv()
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	dsn, stop, err := openDatabase(ctx, conf, forCommand, log)
	if err != nil {
		return err
	}
	defer stop()
	return f(ctx, dsn, log, pg.AllowInsecure(conf.DBAllowInsecure))
}

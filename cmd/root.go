// Package cmd is the command line, and the one place where everything is wired together.
package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/enrichd/enrichd/internal/config"
	"github.com/enrichd/enrichd/internal/fault"
	"github.com/enrichd/enrichd/internal/spans"
)

// Version is the program's version; a release sets it with -ldflags.
var Version = "dev"

// Exit statuses: done, an error, wrong usage, finished with failures, interrupted.
const (
	exitDone        = 0
	exitError       = 1
	exitUsage       = 2
	exitFailures    = 3
	exitInterrupted = 130
)

// exit ends a command with a status and nothing more to say.
type exit int

func (e exit) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// usageError marks what the caller typed wrong.
type usageError struct{ error }

// Main runs one command line and returns the process's exit status. Data goes
// to stdout, talk to stderr. A first interrupt ends politely, a second at once.
func Main(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	go func() {
		<-ctx.Done()
		stop() // the next signal has its ordinary effect
	}()
	root := newRoot()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	var status exit
	var usage usageError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &status):
		return int(status)
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.As(err, &usage), strings.HasPrefix(err.Error(), "unknown command"):
		fmt.Fprintf(os.Stderr, "enrichd: %v\nRun `enrichd help` to see what there is.\n", err)
		return exitUsage
	}
	fmt.Fprintf(os.Stderr, "enrichd: %v\n", describe(err))
	return exitError
}

// describe writes refusals as a person would read them.
func describe(err error) string {
	users, rest := fault.Users(err)
	if rest != nil || len(users) == 0 {
		return err.Error()
	}
	lines := make([]string, len(users))
	for i, u := range users {
		lines[i] = u.Error()
		if where := u.Where(); len(where) > 0 {
			lines[i] = strings.Join(where, ".") + ": " + lines[i]
		}
	}
	return strings.Join(lines, "\n         ")
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "enrichd",
		Short:         "Enrich candidate profiles: every fact with its evidence, every credit accounted for",
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       Version,
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(
		demoCommand(), serveCommand(), workCommand(), migrateCommand(),
		companyCommand(), keysCommand(), limitsCommand(), creditsCommand(), priceCommand(), invoiceCommand(), auditCommand(),
		importCommand(), startCommand(), watchCommand(), resultsCommand(),
		configCommand(),
	)
	illustrate(root)
	return root
}

// group is a command that only holds others.
func group(use, short string, aliases []string, children ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Aliases: aliases, Args: usage(cobra.NoArgs), RunE: func(c *cobra.Command, _ []string) error {
		return c.Help()
	}}
	c.AddCommand(children...)
	return c
}

// usage turns a wrong number of arguments into a usage error.
func usage(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if err := check(c, args); err != nil {
			return usageError{fmt.Errorf("%s: %w", c.CommandPath(), err)}
		}
		return nil
	}
}

// jsonFlag adds --json.
func jsonFlag(c *cobra.Command) *bool { return c.Flags().Bool("json", false, "print data as JSON") }

// printJSON prints one value on one line.
func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// newLog makes the program's log, on stderr. Its level may be changed while the process runs.
func newLog(c *config.Config) (*slog.Logger, *slog.LevelVar) {
	level := new(slog.LevelVar)                 // info
	_ = level.UnmarshalText([]byte(c.LogLevel)) // checked with the rest of the configuration
	o := &slog.HandlerOptions{Level: level}
	if c.LogFormat == "json" {
		return slog.New(spans.Handler(slog.NewJSONHandler(os.Stderr, o))), level
	}
	return slog.New(spans.Handler(slog.NewTextHandler(os.Stderr, o))), level
}

// withApp runs a command that needs the database but no server of its own.
func withApp(c *cobra.Command, f func(ctx context.Context, a *App) error) error {
	conf, err := config.FromEnv()
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	a, err := newApp(c.Context(), conf, forCommand, log)
	if err != nil {
		return err
	}
	err = f(c.Context(), a)
	return errors.Join(err, a.Close())
}

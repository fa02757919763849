package cmd

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/enrichd/enrichd/internal/access"
)

// announcing runs f with the announcer running: what f announces is sent before it returns.
func announcing(ctx context.Context, a *App, f func() error) error {
	if err := a.Wake.Start(ctx); err != nil {
		return err
	}
	err := f()
	return errors.Join(err, a.Wake.Stop(ctx))
}

// keyChange is a command that changes one key.
func keyChange(use, short, done string, change func(ctx context.Context, a *App, id string) (*access.Key, error)) *cobra.Command {
	c := &cobra.Command{Use: use + " KEY_ID", Short: short, Args: usage(cobra.ExactArgs(1))}
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		return withApp(c, func(ctx context.Context, a *App) error {
			var key *access.Key
			err := announcing(ctx, a, func() (err error) {
				key, err = change(ctx, a, args[0])
				return err
			})
			if err != nil {
				return err
			}
			if *asJSON {
				return printJSON(c.OutOrStdout(), map[string]any{
					"id": key.ID, "state": key.State(time.Now()), "suspendedAt": key.SuspendedAt, "revokedAt": key.RevokedAt,
				})
			}
			fmt.Fprintf(c.OutOrStdout(), "%s %s\n", done, key.ID)
			return nil
		})
	}
	return c
}

func keysRevoke() *cobra.Command {
	return keyChange("revoke", "End a key for good; its sockets close on every node", "revoked",
		func(ctx context.Context, a *App, id string) (*access.Key, error) { return a.Access.Revoke(ctx, "", id) })
}

func keysSuspend() *cobra.Command {
	var reason *string
	c := keyChange("suspend", "Take a key out of use until it is resumed; its sockets close on every node", "suspended",
		func(ctx context.Context, a *App, id string) (*access.Key, error) {
			return a.Access.Suspend(ctx, "", id, *reason)
		})
	reason = c.Flags().String("reason", "", "why; whoever uses the key reads it")
	return c
}

func keysResume() *cobra.Command {
	return keyChange("resume", "Put a suspended key back into use", "resumed",
		func(ctx context.Context, a *App, id string) (*access.Key, error) { return a.Access.Resume(ctx, "", id) })
}

func keysManage() *cobra.Command {
	c := &cobra.Command{
		Use: "manage KEY_ID", Short: "Change which companies a key acts for, or which operations it may send",
		Long: "Let a key of an applicant tracking system act for a company, or no longer (--company, --remove); hold a key to the GraphQL operations\n" +
			"that the servers know by their hash, or let it send any (--persisted-only=true, =false).",
		Args: usage(cobra.ExactArgs(1)),
	}
	company := c.Flags().String("company", "", "the id of the company to act for")
	remove := c.Flags().Bool("remove", false, "act for it no longer; the key's sockets close")
	only := c.Flags().Bool("persisted-only", false, "send the operations of ENRICHD_GRAPHQL_OPERATIONS by their hash, and no others; the key's sockets close")
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		held := c.Flags().Changed("persisted-only")
		if (*company == "") == !held || *remove && *company == "" {
			return usageError{fmt.Errorf("give either --company (`enrichd company list` shows the ids) or --persisted-only")}
		}
		change := func(ctx context.Context, a *App) error { return a.Access.Manage(ctx, args[0], *company, !*remove) }
		done := map[string]any{"id": args[0], "company": *company, "manages": !*remove}
		said := map[bool]string{true: "acts for " + *company + " no longer", false: "acts for " + *company}[*remove]
		if held {
			change = func(ctx context.Context, a *App) error {
				_, err := a.Access.SetPersistedOnly(ctx, "", args[0], *only)
				return err
			}
			done = map[string]any{"id": args[0], "persistedOnly": *only}
			said = map[bool]string{true: "may send known operations only", false: "may send any operation"}[*only]
		}
		return withApp(c, func(ctx context.Context, a *App) error {
			if err := announcing(ctx, a, func() error { return change(ctx, a) }); err != nil {
				return err
			}
			if *asJSON {
				return printJSON(c.OutOrStdout(), done)
			}
			fmt.Fprintln(c.OutOrStdout(), args[0], said)
			return nil
		})
	}
	return c
}

func keysAudit() *cobra.Command {
	c := &cobra.Command{Use: "audit KEY_ID", Short: "Show what happened to a key, and by whom", Args: usage(cobra.ExactArgs(1))}
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		return withApp(c, func(ctx context.Context, a *App) error {
			lines, err := a.Access.Audit(ctx, args[0])
			if err != nil {
				return err
			}
			type row struct {
				At     time.Time `json:"at"`
				Action string    `json:"action"`
				Actor  string    `json:"actor"`
				Detail string    `json:"detail,omitempty"`
			}
			rows := make([]row, len(lines))
			for i, l := range lines {
				rows[i] = row{l.At, l.Action, l.Actor, l.Detail}
			}
			if *asJSON {
				return printJSON(c.OutOrStdout(), rows)
			}
			w := tabwriter.NewWriter(c.OutOrStdout(), 0, 4, 2, ' ', 0)
			fmt.Fprintln(w, "AT\tACTION\tACTOR\tDETAIL")
			for _, r := range rows {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", r.At.Format(time.RFC3339), r.Action, r.Actor, r.Detail)
			}
			return w.Flush()
		})
	}
	return c
}

// limitsCommand sets figures that replace those of a plan.
func limitsCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "set", Short: "Give a company or a key rate limits of its own",
		Long: "Give a company or a key rate limits of its own. Figures left out, or 0, are those of the plan; all left out gives the plan's back.\n" +
			"Servers follow within half a minute.",
		Args: usage(cobra.NoArgs),
	}
	company := c.Flags().String("company", "", "the company's id")
	key := c.Flags().String("key", "", "the key's id")
	var l access.Limits
	c.Flags().Int64Var(&l.PerMinute, "per-minute", 0, "requests a minute")
	c.Flags().Int64Var(&l.PerHour, "per-hour", 0, "requests an hour")
	c.Flags().Int64Var(&l.Burst, "burst", 0, "requests at once")
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		if (*company == "") == (*key == "") {
			return usageError{fmt.Errorf("give either --company or --key")}
		}
		own := &l
		if l == (access.Limits{}) {
			own = nil
		}
		return withApp(c, func(ctx context.Context, a *App) (err error) {
			whose, id := "company", *company
			if id != "" {
				err = a.Access.SetCompanyLimits(ctx, id, own)
			} else {
				whose, id = "key", *key
				err = announcing(ctx, a, func() error {
					_, err := a.Access.SetKeyLimits(ctx, "", id, own)
					return err
				})
			}
			if err != nil {
				return err
			}
			if *asJSON {
				return printJSON(c.OutOrStdout(), map[string]any{whose: id, "limits": own})
			}
			says := "figures of its own, where given"
			if own == nil {
				says = "the plan's figures"
			}
			fmt.Fprintf(c.OutOrStdout(), "%s %s has %s\n", whose, id, says)
			return nil
		})
	}
	return group("limits", "Set rate limits", nil, c)
}

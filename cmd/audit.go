package cmd

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
)

func auditCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "audit", Short: "Prove the books: play every ledger entry again and compare",
		Long: "Prove the books from the entries alone: every entry of every account is played again, and what comes out is compared with\n" +
			"balances, reservations, grants, invoices and the chain. Each broken invariant is named with the first entry that breaks it.\n" +
			"The exit status is 0 when the books are right and 3 when they are not.",
		Args: usage(cobra.NoArgs),
	}
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		return withApp(c, func(ctx context.Context, a *App) error {
			p, err := a.Ledger.Prove(ctx)
			if err != nil {
				return err
			}
			if err := a.Ledger.Record(ctx, p); err != nil {
				return err
			}
			if *asJSON {
				err = printJSON(c.OutOrStdout(), p)
			} else {
				for _, f := range p.Findings {
					where := f.AccountID
					if f.Entry > 0 {
						where += fmt.Sprintf(" entry %d", f.Entry)
					}
					fmt.Fprintf(c.OutOrStdout(), "%s\t%s\t%s\n", f.Invariant, where, f.Detail)
				}
				fmt.Fprintf(c.ErrOrStderr(), "%d entries of %d accounts played in %s: %d wrong\n",
					p.Entries, p.Accounts, p.Took.Round(time.Millisecond), len(p.Findings))
			}
			if err == nil && len(p.Findings) > 0 {
				err = exit(exitFailures)
			}
			return err
		})
	}
	return c
}

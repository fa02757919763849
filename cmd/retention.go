package cmd

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
)

func companyKeep() *cobra.Command {
	c := &cobra.Command{
		Use: "keep COMPANY", Short: "Say how long a company's results are kept", Args: usage(cobra.ExactArgs(1)),
		Long: "Say how long a company's results are kept. Days count from the creation of a run, and looking at its results never prolongs them.\n" +
			"Evidence goes first, later the run with everything it found. The ledger stays.",
	}
	evidence := c.Flags().Int("evidence-days", 30, "days after which evidence is deleted, at least 30")
	results := c.Flags().Int("result-days", 90, "days after which results are deleted, at least evidence-days")
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		return withApp(c, func(ctx context.Context, a *App) error {
			if err := a.Enrichment.SetRetention(ctx, args[0], *evidence, *results); err != nil {
				return err
			}
			if *asJSON {
				return printJSON(c.OutOrStdout(), map[string]any{"id": args[0], "evidenceDays": *evidence, "resultDays": *results})
			}
			fmt.Fprintf(c.OutOrStdout(), "%s keeps evidence for %d days and results for %d\n", args[0], *evidence, *results)
			return nil
		})
	}
	return c
}

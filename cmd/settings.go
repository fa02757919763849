package cmd

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/enrichd/enrichd/billing"
)

func companySet() *cobra.Command {
	c := &cobra.Command{
		Use: "set COMPANY", Short: "Change how a company is billed", Args: usage(cobra.ExactArgs(1)),
		Long: "Change how a company is billed; what is not named stays. The mode changes only while no run holds credits, and to postpaid\n" +
			"only when none are left, or with --credit-leftover. A new anchor or zone moves the end of the current period, always to a time\n" +
			"ahead, and never its begin.",
	}
	mode := c.Flags().String("mode", "", "prepaid or postpaid")
	leftover := c.Flags().Bool("credit-leftover", false, "with --mode postpaid: take the credits that are left off the next invoice, at the price of today")
	limit := c.Flags().Int64("credit-limit", -1, "most that a postpaid company may owe; -1 for no limit")
	anchor := c.Flags().Int("cycle-anchor", 1, "day of the month on which a billing period begins; 29 to 31 mean the last of shorter months")
	zone := c.Flags().String("time-zone", "UTC", "zone in which it begins at midnight, such as Europe/Berlin")
	low := c.Flags().Int64("low-credits", 0, "announce credits.low below this many; 0 for never")
	window := c.Flags().Int("repeat-window", 0, "days in which an unchanged repeat is free and served from store; 0 is off")
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		set := billing.Settings{Actor: "cli", CreditLeftover: *leftover}
		changed := c.Flags().Changed
		if changed("mode") {
			m := billing.Mode(strings.ToUpper(*mode))
			set.Mode = &m
		}
		if changed("credit-limit") {
			set.CreditLimit = limit
		}
		if changed("cycle-anchor") {
			set.CycleAnchor = anchor
		}
		if changed("time-zone") {
			set.TimeZone = zone
		}
		if changed("low-credits") {
			set.LowThreshold = low
		}
		return withApp(c, func(ctx context.Context, a *App) error {
			account, err := a.Ledger.Set(ctx, args[0], set)
			if err != nil {
				return err
			}
			if changed("repeat-window") {
				if err := a.Access.SetRepeatWindow(ctx, args[0], *window); err != nil {
					return err
				}
			}
			company, err := a.Access.Company(ctx, args[0])
			if err != nil {
				return err
			}
			if *asJSON {
				return printJSON(c.OutOrStdout(), map[string]any{
					"id": company.ID, "billing": account.Mode, "creditLimit": account.CreditLimit, "cycleAnchor": account.CycleAnchor,
					"timeZone": account.TimeZone, "periodStart": account.NextPeriodStart.UTC(), "periodEnd": account.NextPeriodEnd.UTC(),
					"lowCredits": account.LowThreshold, "repeatWindowDays": company.RepeatWindowDays,
				})
			}
			fmt.Fprintf(c.OutOrStdout(), "%s is %s; its period ends at %s\n", company.ID, strings.ToLower(string(account.Mode)),
				account.NextPeriodEnd.UTC().Format(time.RFC3339))
			return nil
		})
	}
	return c
}

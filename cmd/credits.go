package cmd

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/enrichd/enrichd/billing"
)

func creditsCommand() *cobra.Command {
	return group("credits", "Give, correct and take back credits", nil, creditsGrant(), creditsAdjust(), creditsRefund())
}

// keyFlag adds --idempotency-key; key makes a fresh one when it was left out.
func keyFlag(c *cobra.Command) (key func() string) {
	given := c.Flags().String("idempotency-key", "", "makes a repeat harmless; a fresh one when left out")
	return func() string {
		if *given == "" {
			*given = uuid.NewString()
		}
		return *given
	}
}

// moved is what the commands that move credits print.
func moved(c *cobra.Command, asJSON bool, e *billing.Entry, b *billing.CreditBalance, format string, args ...any) error {
	if asJSON {
		return printJSON(c.OutOrStdout(), map[string]any{"entry": e.ID(), "available": b.Available, "held": b.Held})
	}
	_, err := fmt.Fprintf(c.OutOrStdout(), format+"; %d available\n", append(args, b.Available)...)
	return err
}

func creditsGrant() *cobra.Command {
	c := &cobra.Command{
		Use: "grant", Short: "Give a company credits, or record a purchase of some", Args: usage(cobra.NoArgs),
		Long: "Give a company credits. With --payment-reference they are recorded as a purchase: the reference of the money that was taken\n" +
			"is credited once, however often the command is repeated.",
	}
	company := c.Flags().String("company", "", "the company's id (needed)")
	credits := c.Flags().Int64("credits", 0, "how many (needed)")
	memo := c.Flags().String("memo", "granted by hand", "why, as the ledger shall show it")
	reference := c.Flags().String("payment-reference", "", "the payment provider's reference, for a purchase")
	expires := c.Flags().Duration("expires-in", 0, "when what is left is lost, such as 8760h; never when left out")
	priority := c.Flags().Int("priority", 0, "credits of a lower priority are spent first")
	key := keyFlag(c)
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		if *company == "" || *credits == 0 {
			return usageError{fmt.Errorf("--company and --credits are needed")}
		}
		in := billing.Grant{
			CompanyID: *company, Credits: *credits, Kind: billing.KindGrant, Memo: *memo, Actor: "cli", Reference: *reference, Priority: *priority,
		}
		if *reference != "" {
			in.Kind = billing.KindPurchase
		}
		if *expires > 0 {
			at := time.Now().Add(*expires).UTC().Truncate(time.Second)
			in.ExpiresAt = &at
		}
		in.Key = key()
		return withApp(c, func(ctx context.Context, a *App) error {
			entry, balance, err := a.Ledger.Grant(ctx, in)
			if err != nil {
				return err
			}
			return moved(c, *asJSON, entry, balance, "%d credits granted", *credits)
		})
	}
	return c
}

func creditsAdjust() *cobra.Command {
	c := &cobra.Command{
		Use: "adjust", Short: "Correct a company's account by hand", Args: usage(cobra.NoArgs),
		Long: "Correct a company's account by hand. Credits above zero are in the company's favour: given to a prepaid one, taken off what a\n" +
			"postpaid one owes. Below zero is the reverse.",
	}
	company := c.Flags().String("company", "", "the company's id (needed)")
	credits := c.Flags().Int64("credits", 0, "how many, above or below zero (needed)")
	memo := c.Flags().String("memo", "", "why, as the ledger and the invoice shall show it (needed)")
	key := keyFlag(c)
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		if *company == "" || *credits == 0 || *memo == "" {
			return usageError{fmt.Errorf("--company, --credits and --memo are needed")}
		}
		in := billing.Adjust{CompanyID: *company, Credits: *credits, Memo: *memo, Actor: "cli", Key: key()}
		return withApp(c, func(ctx context.Context, a *App) error {
			entry, balance, err := a.Ledger.Adjust(ctx, in)
			if err != nil {
				return err
			}
			return moved(c, *asJSON, entry, balance, "adjusted by %d", *credits)
		})
	}
	return c
}

func creditsRefund() *cobra.Command {
	c := &cobra.Command{Use: "refund", Short: "Take one capture back", Args: usage(cobra.NoArgs)}
	company := c.Flags().String("company", "", "the company's id (needed)")
	run := c.Flags().String("run", "", "the run that captured (needed)")
	profile := c.Flags().String("profile", "", "the profile that was captured (needed)")
	memo := c.Flags().String("memo", "", "why, as the ledger shall show it (needed)")
	key := keyFlag(c)
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		if *company == "" || *run == "" || *profile == "" || *memo == "" {
			return usageError{fmt.Errorf("--company, --run, --profile and --memo are needed")}
		}
		in := billing.Refund{CompanyID: *company, RunID: *run, ProfileID: *profile, Memo: *memo, Actor: "cli", Key: key()}
		return withApp(c, func(ctx context.Context, a *App) error {
			entry, balance, err := a.Ledger.Refund(ctx, in)
			if err != nil {
				return err
			}
			return moved(c, *asJSON, entry, balance, "refunded %s", *profile)
		})
	}
	return c
}

func priceCommand() *cobra.Command {
	return group("price", "Set and list what a credit costs a company", []string{"prices"}, priceSet(), priceList())
}

func priceSet() *cobra.Command {
	c := &cobra.Command{Use: "set PRICE CURRENCY", Short: "Set what one credit costs a company, such as: set 0.05 EUR", Args: usage(cobra.ExactArgs(2))}
	company := c.Flags().String("company", "", "the company's id (needed)")
	from := c.Flags().String("from", "", "from when on, such as 2026-10-01 or 2026-10-01T00:00:00+02:00; now when left out")
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		if *company == "" {
			return usageError{fmt.Errorf("--company is needed; `enrichd company list` shows the ids")}
		}
		in := billing.SetPrice{CompanyID: *company, Price: args[0], Currency: strings.ToUpper(args[1]), Actor: "cli"}
		if *from != "" {
			at, err := parseInstant(*from)
			if err != nil {
				return usageError{fmt.Errorf("--from: %w", err)}
			}
			in.StartsAt = &at
		}
		return withApp(c, func(ctx context.Context, a *App) error {
			p, err := a.Ledger.SetPrice(ctx, in)
			if err != nil {
				return err
			}
			if *asJSON {
				return printJSON(c.OutOrStdout(), priceView(p))
			}
			fmt.Fprintf(c.OutOrStdout(), "a credit costs %s %s from %s on\n", p.Price, p.Currency, p.StartsAt.UTC().Format(time.RFC3339))
			return nil
		})
	}
	return c
}

func priceList() *cobra.Command {
	c := &cobra.Command{Use: "list", Short: "List a company's prices", Args: usage(cobra.NoArgs)}
	company := c.Flags().String("company", "", "the company's id (needed)")
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		if *company == "" {
			return usageError{fmt.Errorf("--company is needed; `enrichd company list` shows the ids")}
		}
		return withApp(c, func(ctx context.Context, a *App) error {
			prices, err := a.Ledger.Prices(ctx, *company)
			if err != nil {
				return err
			}
			rows := make([]map[string]any, len(prices))
			for i, p := range prices {
				rows[i] = priceView(p)
			}
			if *asJSON {
				return printJSON(c.OutOrStdout(), rows)
			}
			w := tabwriter.NewWriter(c.OutOrStdout(), 0, 4, 2, ' ', 0)
			fmt.Fprintln(w, "FROM\tPRICE\tCURRENCY")
			for _, p := range prices {
				fmt.Fprintf(w, "%s\t%s\t%s\n", p.StartsAt.UTC().Format(time.RFC3339), p.Price, p.Currency)
			}
			return w.Flush()
		})
	}
	return c
}

func priceView(p *billing.Price) map[string]any {
	return map[string]any{"price": p.Price, "currency": p.Currency, "startsAt": p.StartsAt.UTC()}
}

// parseInstant reads a day, which begins in UTC, or a moment with its zone.
func parseInstant(s string) (time.Time, error) {
	if at, err := time.Parse(time.DateOnly, s); err == nil {
		return at, nil
	}
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return at, fmt.Errorf("%q is neither a day nor a moment such as 2026-10-01T00:00:00Z", s)
	}
	return at.UTC(), nil
}

package cmd

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/enrichd/enrichd/billing"
	"github.com/enrichd/enrichd/internal/page"
)

func invoiceCommand() *cobra.Command {
	return group("invoice", "Close billing periods; list, show, correct and settle invoices", []string{"invoices"},
		invoiceClose(), invoiceList(), invoiceShow(),
		invoiceChange("pay", "Record that an invoice's money came in", "reference", "the payment's own reference", (*billing.Ledger).Pay),
		invoiceChange("void", "Declare an invoice void", "reason", "why (needed)", (*billing.Ledger).Void),
		invoiceCorrect(), invoiceLine())
}

func invoiceClose() *cobra.Command {
	c := &cobra.Command{
		Use: "close", Short: "Close every billing period that has ended", Args: usage(cobra.NoArgs),
		Long: "Close every billing period that has ended, as the server does by itself every hour, and print the invoices.\n" +
			"Closing twice changes nothing. With --company only its own periods are closed; with --period as well, the invoice of the\n" +
			"period that begins in that month is printed, whenever it was closed.",
	}
	company := c.Flags().String("company", "", "the company's id; every company when left out")
	month := c.Flags().String("period", "", "the month in which the period begins in the company's zone, such as 2026-10")
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		if *month != "" && *company == "" {
			return usageError{fmt.Errorf("--period needs --company")}
		}
		if _, err := time.Parse("2006-01", *month); *month != "" && err != nil {
			return usageError{fmt.Errorf("--period is a month such as 2026-10, not %q", *month)}
		}
		return withApp(c, func(ctx context.Context, a *App) error {
			closing := a.Ledger.CloseDue
			if *company != "" {
				closing = func(ctx context.Context) (billing.Closed, error) { return a.Ledger.CloseCompany(ctx, *company) }
			}
			done, err := closing(ctx)
			if err != nil {
				return err
			}
			invoices := done.Invoices
			if *month != "" {
				if invoices, err = a.invoicesOf(ctx, *company, *month); err != nil {
					return err
				}
			}
			fmt.Fprintf(c.ErrOrStderr(), "%d periods closed, %d of them empty; %d documents numbered\n",
				len(done.Invoices)+done.Empty, done.Empty, len(done.Numbered))
			return printInvoices(c.OutOrStdout(), *asJSON, invoices)
		})
	}
	return c
}

// invoicesOf finds the stored invoices of the company's period that begins in a month of its zone.
func (a *App) invoicesOf(ctx context.Context, companyID, month string) (found []*billing.Invoice, err error) {
	account, err := a.Ledger.Account(ctx, companyID)
	if err != nil {
		return nil, err
	}
	zone, err := time.LoadLocation(account.TimeZone)
	if err != nil {
		return nil, fmt.Errorf("time zone %s: %w", account.TimeZone, err)
	}
	err = a.eachInvoice(ctx, account.ID, 0, func(i *billing.Invoice) {
		if i.Status != billing.InvoiceOpen && i.PeriodStart.In(zone).Format("2006-01") == month {
			found = append(found, i)
		}
	})
	return found, err
}

// eachInvoice calls f for the account's invoices, newest first, up to limit of them (0: all).
func (a *App) eachInvoice(ctx context.Context, accountID string, limit int, f func(*billing.Invoice)) error {
	args := page.Args{First: page.MaxFirst}
	for n := 0; ; {
		list, err := a.Ledger.Invoices(ctx, accountID, args)
		if err != nil {
			return err
		}
		for _, i := range list.Nodes {
			if n++; limit > 0 && n > limit {
				return nil
			}
			f(i)
		}
		if !list.PageInfo.HasNextPage {
			return nil
		}
		args.After = *list.PageInfo.EndCursor
	}
}

func invoiceList() *cobra.Command {
	c := &cobra.Command{Use: "list", Short: "List a company's invoices, newest first; the first is the open period", Args: usage(cobra.NoArgs)}
	company := c.Flags().String("company", "", "the company's id (needed)")
	limit := c.Flags().Int("limit", 0, "how many; all when left out")
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		if *company == "" {
			return usageError{fmt.Errorf("--company is needed; `enrichd company list` shows the ids")}
		}
		return withApp(c, func(ctx context.Context, a *App) error {
			account, err := a.Ledger.Account(ctx, *company)
			if err != nil {
				return err
			}
			invoices := []*billing.Invoice{}
			if err := a.eachInvoice(ctx, account.ID, *limit, func(i *billing.Invoice) { invoices = append(invoices, i) }); err != nil {
				return err
			}
			return printInvoices(c.OutOrStdout(), *asJSON, invoices)
		})
	}
	return c
}

func invoiceShow() *cobra.Command {
	c := &cobra.Command{Use: "show ID_OR_NUMBER", Short: "Show one invoice: as text, as JSON, or as a page to print", Args: usage(cobra.ExactArgs(1))}
	asHTML := c.Flags().Bool("html", false, "print one page of HTML that loads nothing")
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		if *asHTML && *asJSON {
			return usageError{fmt.Errorf("--html or --json, not both")}
		}
		return withApp(c, func(ctx context.Context, a *App) error {
			i, err := a.Ledger.Invoice(ctx, args[0])
			switch {
			case err != nil:
				return err
			case *asJSON:
				return printJSON(c.OutOrStdout(), viewInvoice(i))
			case *asHTML:
				head, err := a.letterhead(ctx, i)
				if err != nil {
					return err
				}
				return i.WriteHTML(c.OutOrStdout(), head)
			}
			return printInvoice(c.OutOrStdout(), i)
		})
	}
	return c
}

// letterhead finds who bills and who is billed.
func (a *App) letterhead(ctx context.Context, i *billing.Invoice) (billing.Letterhead, error) {
	account, err := a.Ledger.AccountByID(ctx, i.AccountID)
	if err != nil {
		return billing.Letterhead{}, err
	}
	company, err := a.Access.Company(ctx, account.CompanyID)
	if err != nil {
		return billing.Letterhead{}, err
	}
	return billing.Letterhead{
		Issuer: strings.ReplaceAll(a.Config.InvoiceIssuer, "|", "\n"), Company: company.Name + " (" + company.ID + ")", TimeZone: account.TimeZone,
	}, nil
}

// invoiceChange is a command that ends an invoice with one word of explanation.
func invoiceChange(use, short, flag, help string, change func(*billing.Ledger, context.Context, string, string) (*billing.Invoice, error)) *cobra.Command {
	c := &cobra.Command{Use: use + " ID_OR_NUMBER", Short: short, Args: usage(cobra.ExactArgs(1))}
	word := c.Flags().String(flag, "", help)
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		return withApp(c, func(ctx context.Context, a *App) error {
			i, err := change(a.Ledger, ctx, args[0], *word)
			if err != nil {
				return err
			}
			return printInvoices(c.OutOrStdout(), *asJSON, []*billing.Invoice{i})
		})
	}
	return c
}

func invoiceCorrect() *cobra.Command {
	c := &cobra.Command{
		Use: "correct ID_OR_NUMBER", Short: "Draw up a new invoice in the place of a void one, at the prices set now", Args: usage(cobra.ExactArgs(1)),
	}
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		return withApp(c, func(ctx context.Context, a *App) error {
			i, err := a.Ledger.Correct(ctx, args[0])
			if err != nil {
				return err
			}
			return printInvoices(c.OutOrStdout(), *asJSON, []*billing.Invoice{i})
		})
	}
	return c
}

func invoiceLine() *cobra.Command {
	c := &cobra.Command{Use: "add-line ID", Short: "Add a line of money to an invoice in its grace period", Args: usage(cobra.ExactArgs(1))}
	description := c.Flags().String("description", "", "what for (needed)")
	amount := c.Flags().String("amount", "", "how much, in the invoice's currency, such as -12.50 (needed)")
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		return withApp(c, func(ctx context.Context, a *App) error {
			i, err := a.Ledger.AddLine(ctx, args[0], *description, *amount)
			if err != nil {
				return err
			}
			return printInvoices(c.OutOrStdout(), *asJSON, []*billing.Invoice{i})
		})
	}
	return c
}

// invoiceView is an invoice as JSON.
type invoiceView struct {
	ID          string                `json:"id"`
	Number      *string               `json:"number"`
	Kind        billing.InvoiceKind   `json:"kind"`
	Status      billing.InvoiceStatus `json:"status"`
	AccountID   string                `json:"account"`
	PeriodStart time.Time             `json:"periodStart"`
	PeriodEnd   time.Time             `json:"periodEnd"`
	FromEntry   int64                 `json:"fromEntry"`
	ToEntry     int64                 `json:"toEntry"`
	Revision    int                   `json:"revision"`
	Lines       []lineView            `json:"lines"`
	Total       billing.Money         `json:"total"`
	ClosedAt    *time.Time            `json:"closedAt"`
	FinaliseAt  *time.Time            `json:"finaliseAt"`
	FinalisedAt *time.Time            `json:"finalisedAt"`
	PaidAt      *time.Time            `json:"paidAt"`
	Payment     *string               `json:"payment"`
	VoidedAt    *time.Time            `json:"voidedAt"`
	VoidReason  *string               `json:"voidReason"`
}

type lineView struct {
	Kind        billing.LineKind `json:"kind"`
	Description string           `json:"description"`
	Quantity    int64            `json:"quantity"`
	UnitPrice   billing.Money    `json:"unitPrice"`
	Total       billing.Money    `json:"total"`
}

func viewInvoice(i *billing.Invoice) invoiceView {
	lines := make([]lineView, len(i.Lines))
	for n, l := range i.Lines {
		lines[n] = lineView{l.Kind, l.Description, l.Quantity, l.UnitPrice(), l.Total()}
	}
	return invoiceView{
		ID: i.ID, Number: i.Number, Kind: i.Kind, Status: i.Status, AccountID: i.AccountID, PeriodStart: i.PeriodStart.UTC(), PeriodEnd: i.PeriodEnd.UTC(),
		FromEntry: i.FromSeq, ToEntry: i.ToSeq, Revision: i.Revision, Lines: lines, Total: i.Total(), ClosedAt: i.ClosedAt, FinaliseAt: i.FinaliseAt,
		FinalisedAt: i.FinalisedAt, PaidAt: i.PaidAt, Payment: i.Payment, VoidedAt: i.VoidedAt, VoidReason: i.VoidReason,
	}
}

func printInvoices(w io.Writer, asJSON bool, invoices []*billing.Invoice) error {
	if asJSON {
		views := make([]invoiceView, len(invoices))
		for n, i := range invoices {
			views[n] = viewInvoice(i)
		}
		return printJSON(w, views)
	}
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tNUMBER\tSTATUS\tFROM\tTO\tCREDITS\tTOTAL")
	for _, i := range invoices {
		var credits int64
		for _, l := range i.Lines {
			if l.Kind != billing.LineManual {
				credits += l.Quantity
			}
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%d\t%s %s\n", i.ID, numberOf(i), strings.ToLower(string(i.Status)),
			i.PeriodStart.UTC().Format(time.RFC3339), i.PeriodEnd.UTC().Format(time.RFC3339), credits, i.Amount, i.Currency)
	}
	return t.Flush()
}

func printInvoice(w io.Writer, i *billing.Invoice) error {
	fmt.Fprintf(w, "%s %s (%s), %s to %s\n", strings.ToLower(string(i.Kind)), numberOf(i), strings.ToLower(string(i.Status)),
		i.PeriodStart.UTC().Format(time.RFC3339), i.PeriodEnd.UTC().Format(time.RFC3339))
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', tabwriter.AlignRight)
	for _, l := range i.Lines {
		fmt.Fprintf(t, "%d\t%s\t%s\t  %s\n", l.Quantity, l.Price, l.Amount, l.Description)
	}
	fmt.Fprintf(t, "\t\t%s\t  %s\n", i.Amount, i.Currency)
	return t.Flush()
}

func numberOf(i *billing.Invoice) string {
	if i.Number == nil {
		return "-"
	}
	return *i.Number
}

package billing

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"github.com/enrichd/enrichd/internal/fault"
	"github.com/enrichd/enrichd/internal/page"
	"github.com/enrichd/enrichd/internal/pg"
)

// InvoiceStatus is where an invoice is in its life.
type InvoiceStatus string

// OPEN: a period that is not closed, computed and never stored. CLOSED: its
// window is cut; once its grace period is over it has a number. PAID and VOID are final.
const (
	InvoiceOpen   InvoiceStatus = "OPEN"
	InvoiceClosed InvoiceStatus = "CLOSED"
	InvoicePaid   InvoiceStatus = "PAID"
	InvoiceVoid   InvoiceStatus = "VOID"
)

// InvoiceKind tells what is owed from what was paid for before.
type InvoiceKind string

// The kinds. Each has a series of numbers of its own.
const (
	// KindOwed is an invoice: something in it is owed.
	KindOwed InvoiceKind = "INVOICE"
	// KindStatement says what a prepaid account spent; its total is 0.
	KindStatement InvoiceKind = "STATEMENT"
)

// Money is an exact amount: a decimal number with the currency's own number of
// decimals, or a few more for the price of one credit.
type Money struct {
	Amount string `json:"amount"`
	// Currency is its ISO 4217 code; XXX (no currency) where no price was ever set.
	Currency string `json:"currency"`
}

// NoCurrency is ISO 4217's code for amounts without a currency.
const NoCurrency = "XXX"

// Invoice is what a company used in one period. What it is about is its window of
// entries: those numbered FromSeq to ToSeq. Times are the ledger's.
type Invoice struct {
	bun.BaseModel `bun:"table:billing_invoices,alias:i"`

	ID        string        `bun:"id,pk"`
	AccountID string        `bun:"account_id"`
	Kind      InvoiceKind   `bun:"kind"`
	Status    InvoiceStatus `bun:"status"`
	// Number is nil until the grace period is over, and for good when voided before.
	Number      *string   `bun:"number"`
	PeriodStart time.Time `bun:"period_start"`
	PeriodEnd   time.Time `bun:"period_end"`
	// Revision is above 1 when the invoice corrects an earlier one of its period, which is void.
	Revision int   `bun:"revision"`
	FromSeq  int64 `bun:"from_seq"`
	ToSeq    int64 `bun:"to_seq"`
	// Currency and Digits say what money is counted in, and with how many decimals.
	Currency string `bun:"currency"`
	Digits   int    `bun:"digits"`
	// Quantity is how many credits it takes off what is owed; Amount what they cost.
	Quantity int64  `bun:"quantity"`
	Amount   string `bun:"total"`

	ClosedAt *time.Time `bun:"closed_at"`
	// FinaliseAt is when the grace period ends and the invoice gets its number.
	FinaliseAt  *time.Time `bun:"finalise_at"`
	FinalisedAt *time.Time `bun:"finalised_at"`
	PaidAt      *time.Time `bun:"paid_at"`
	Payment     *string    `bun:"payment"`
	VoidedAt    *time.Time `bun:"voided_at"`
	VoidReason  *string    `bun:"void_reason"`

	Lines []*InvoiceLine `bun:"-"`
}

// Total is the sum of the lines.
func (i *Invoice) Total() Money { return Money{i.Amount, i.Currency} }

// IsNode marks Invoice as a GraphQL Node.
func (*Invoice) IsNode() {}

// LineKind says where a line's quantity comes from.
type LineKind string

// The kinds of lines, in the order in which they are shown.
const (
	LineUsage   LineKind = "USAGE"   // captures that are owed, by price
	LinePrepaid LineKind = "PREPAID" // captures that credits paid for
	LineRefund  LineKind = "REFUND"  // captures taken back
	LineAdjust  LineKind = "ADJUST"  // corrections by hand, each by itself
	LineManual  LineKind = "MANUAL"  // money: added or taken off in the grace period, or for credits that were left at the change to postpaid
)

// InvoiceLine is one line: Total = Quantity × UnitPrice, rounded half away from
// zero to the currency's decimals. Lines are rounded, sums are not: the invoice's
// total is what a reader gets who adds up the lines.
type InvoiceLine struct {
	bun.BaseModel `bun:"table:billing_invoice_lines,alias:l"`

	InvoiceID   string   `bun:"invoice_id,pk"`
	Position    int      `bun:"position,pk"`
	Kind        LineKind `bun:"kind"`
	Description string   `bun:"description"`
	// Quantity is in credits, negative where something is taken off; 1 for a line added by hand.
	Quantity int64  `bun:"quantity"`
	Price    string `bun:"unit_price"`
	Amount   string `bun:"total"`

	Currency string `bun:"currency,scanonly"`
}

// UnitPrice is what one credit costs.
func (l *InvoiceLine) UnitPrice() Money { return Money{l.Price, l.Currency} }

// Total is what the line costs.
func (l *InvoiceLine) Total() Money { return Money{l.Amount, l.Currency} }

// InvoiceEdge is one invoice and its place in the list.
type InvoiceEdge struct{ page.Edge[*Invoice] }

// InvoiceConnection is one page of an account's invoices.
type InvoiceConnection struct {
	page.Connection[InvoiceEdge, *Invoice]
}

// invoicePrefix begins the id of every invoice.
const invoicePrefix = "inv_"

// invoiceID names the invoice of a period, so that the open one keeps its id when it is closed.
func invoiceID(accountID string, start time.Time, revision int) string {
	id := invoicePrefix + strings.TrimPrefix(accountID, accountPrefix+"_") + "_" + strconv.FormatInt(start.Unix(), 10)
	if revision > 1 {
		id += "_" + strconv.Itoa(revision)
	}
	return id
}

// parseInvoiceID returns the account and the start of the period that an id names.
func parseInvoiceID(id string) (accountID string, start time.Time, ok bool) {
	parts := strings.Split(strings.TrimPrefix(id, invoicePrefix), "_")
	if !strings.HasPrefix(id, invoicePrefix) || len(parts) < 2 || fault.Text("id", id, 200) != nil {
		return "", time.Time{}, false
	}
	seconds, err := strconv.ParseInt(parts[1], 10, 64)
	return accountPrefix + "_" + parts[0], time.Unix(seconds, 0).UTC(), err == nil
}

// Invoices returns a page of an account's invoices, newest first. The first is
// the open one: what the current period comes to so far.
func (l *Ledger) Invoices(ctx context.Context, accountID string, a page.Args) (InvoiceConnection, error) {
	position, err := a.Position()
	if checked := a.Check(); checked != nil || err != nil {
		return InvoiceConnection{}, firstOf(checked, err)
	}
	var before time.Time
	revision, limit := 0, a.First+1
	if position != "" {
		var seconds int64
		if _, err := fmt.Sscanf(position, "%d.%d", &seconds, &revision); err != nil {
			return InvoiceConnection{}, fault.Invalid("after", "is not a cursor of this list")
		}
		before = time.Unix(seconds, 0).UTC()
	}
	var rows []*Invoice
	err = pg.Snapshot(ctx, l.DB, func(ctx context.Context, tx bun.Tx) error {
		if before.IsZero() {
			open, err := openInvoice(ctx, tx, accountID)
			if err != nil {
				return err
			}
			rows = append(rows, open)
			limit--
		}
		stored, err := invoicesBefore(ctx, tx, accountID, before, revision, limit)
		rows = append(rows, stored...)
		return err
	})
	if err != nil {
		return InvoiceConnection{}, fmt.Errorf("invoices of %s: %w", accountID, err)
	}
	return InvoiceConnection{page.Make(rows, a,
		func(i *Invoice) string { return fmt.Sprintf("%d.%d", i.PeriodStart.Unix(), i.Revision) },
		func(e page.Edge[*Invoice]) InvoiceEdge { return InvoiceEdge{e} },
	)}, nil
}

// Invoice returns one invoice, stored or open, by its id or its number; a NotFound when there is none.
func (l *Ledger) Invoice(ctx context.Context, idOrNumber string) (*Invoice, error) {
	var found *Invoice
	err := pg.Snapshot(ctx, l.DB, func(ctx context.Context, tx bun.Tx) (err error) {
		if fault.Text("id", idOrNumber, 200) != nil {
			return nil
		}
		if found, err = invoiceOf(ctx, tx, idOrNumber); found != nil || err != nil {
			return err
		}
		accountID, start, ok := parseInvoiceID(idOrNumber)
		if !ok {
			return nil
		}
		open, err := openInvoice(ctx, tx, accountID)
		if open != nil && open.PeriodStart.Equal(start) && open.ID == idOrNumber {
			found = open
		}
		return err
	})
	switch {
	case err != nil:
		return nil, fmt.Errorf("invoice %s: %w", idOrNumber, err)
	case found == nil:
		return nil, noInvoice(idOrNumber)
	}
	return found, nil
}

func noInvoice(id string) error {
	return fault.NotFound{Head: fault.Head{Message: "no such invoice", Field: []string{"id"}}, Type: "Invoice", ID: id}
}

// openInvoice computes what the account's current period comes to so far; nil without an account.
func openInvoice(ctx context.Context, tx bun.Tx, accountID string) (*Invoice, error) {
	a, err := accountByID(ctx, tx, accountID)
	if a == nil || err != nil {
		return nil, err
	}
	i, err := draw(ctx, tx, &a.Account)
	if err == nil {
		i.Status = InvoiceOpen
	}
	return i, err
}

// draw draws up the invoice of the account's first period that is not closed.
func draw(ctx context.Context, tx bun.Tx, a *Account) (*Invoice, error) {
	i := &Invoice{
		ID: invoiceID(a.ID, a.NextPeriodStart, 1), AccountID: a.ID, Status: InvoiceClosed, Revision: 1,
		PeriodStart: a.NextPeriodStart, PeriodEnd: a.NextPeriodEnd,
	}
	if err := windowOf(ctx, tx, i); err != nil {
		return nil, err
	}
	return i, i.price(ctx, tx)
}

// price computes the lines of the invoice's window at the prices that are set now.
func (i *Invoice) price(ctx context.Context, tx bun.Tx) error {
	if err := currencyOf(ctx, tx, i); err != nil {
		return err
	}
	if err := linesOf(ctx, tx, i); err != nil {
		return err
	}
	i.Kind, i.Quantity = KindStatement, 0
	for n, line := range i.Lines {
		line.InvoiceID, line.Position, line.Currency = i.ID, n+1, i.Currency
		if line.Kind != LinePrepaid {
			i.Kind = KindOwed
		}
		if line.Kind != LinePrepaid && line.Kind != LineManual {
			i.Quantity += line.Quantity
		}
		line.describe()
	}
	return nil
}

// describe writes what the line is for, unless an operator's memo says it.
func (l *InvoiceLine) describe() {
	since := ""
	if l.Description != "" && l.Kind != LineAdjust {
		since = ", price since " + l.Description
	}
	switch l.Kind {
	case LineUsage:
		l.Description = "Candidate enrichment" + since
	case LinePrepaid:
		l.Description = "Candidate enrichment, paid with credits"
	case LineRefund:
		l.Description = "Candidate enrichment, refunded" + since
	case LineManual:
		l.Description = "Credits left from prepayment" + since
	}
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

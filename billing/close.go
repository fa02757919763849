package billing

import (
	"context"
	"errors"
	"fmt"

	"github.com/uptrace/bun"

	"github.com/enrichd/enrichd/internal/fault"
	"github.com/enrichd/enrichd/internal/pg"
)

// An invoice is cut by number, not by clock. Once the account has been locked
// after the end of the period, whatever moves it later is dated at or after that
// end; so the entries dated before it are complete, and their numbers are the window.

// Closed is what CloseDue did.
type Closed struct {
	// Invoices are the documents that were drawn up, in order.
	Invoices []*Invoice
	// Empty counts periods that were closed without one.
	Empty int
	// Numbered are the ids of invoices that got their number, whether drawn up now or earlier.
	Numbered []string
}

// pageOfDue is how many accounts or invoices one look finds.
const pageOfDue = 100

// CloseDue closes every period of every account that has ended by the ledger's
// clock, in order, each in a transaction of its own, and gives numbers to the
// invoices whose grace period is over. Closing twice, or from two nodes at once,
// changes nothing. One account that fails does not stop the others.
func (l *Ledger) CloseDue(ctx context.Context) (Closed, error) {
	var done Closed
	var errs []error
	for after := ""; ; {
		ids, err := dueAccounts(ctx, l.DB, after, pageOfDue)
		if err != nil {
			return done, errors.Join(append(errs, fmt.Errorf("look for ended periods: %w", err))...)
		}
		for _, id := range ids {
			after = id
			errs = append(errs, l.closeAccount(ctx, id, &done))
		}
		if len(ids) < pageOfDue {
			break
		}
	}
	errs = append(errs, l.numberDue(ctx, &done))
	return done, errors.Join(errs...)
}

// CloseCompany is CloseDue for one company.
func (l *Ledger) CloseCompany(ctx context.Context, companyID string) (Closed, error) {
	var done Closed
	a, err := l.Account(ctx, companyID)
	if err != nil {
		return done, err
	}
	err = l.closeAccount(ctx, a.ID, &done)
	return done, err
}

// closeAccount closes the ended periods of one account. What was used is summed up
// between two short transactions, not under the lock: the first sees to it that
// whatever moves the account later is dated after the end, so that the sum cannot
// change any more; the second writes it, unless another node has.
func (l *Ledger) closeAccount(ctx context.Context, accountID string, done *Closed) error {
	for {
		var ended *standing
		err := pg.InTx(ctx, l.DB, func(ctx context.Context, tx bun.Tx) error {
			a, err := l.lockByID(ctx, tx, accountID)
			if err != nil || a == nil {
				return err
			}
			if a.due() {
				ended = a
				err = fence(ctx, tx, &a.Account, a.Now)
			}
			if err != nil {
				return err
			}
			return l.tellLow(ctx, tx, a)
		})
		if err == nil && ended == nil {
			return nil
		}
		if err == nil {
			err = l.closeFenced(ctx, ended, done)
		}
		if err != nil {
			return fmt.Errorf("close a period of %s: %w", accountID, err)
		}
	}
}

// closeFenced closes the first open period of an account, which has ended and is
// fenced, unless another node was quicker.
func (l *Ledger) closeFenced(ctx context.Context, ended *standing, done *Closed) error {
	var i *Invoice
	err := pg.Snapshot(ctx, l.DB, func(ctx context.Context, tx bun.Tx) (err error) {
		i, err = draw(ctx, tx, &ended.Account)
		return err
	})
	if err != nil {
		return err
	}
	written := false
	err = pg.InTx(ctx, l.DB, func(ctx context.Context, tx bun.Tx) error {
		a, err := l.lockByID(ctx, tx, ended.ID)
		if err != nil || a == nil || !a.NextPeriodStart.Equal(i.PeriodStart) || !a.NextPeriodEnd.Equal(i.PeriodEnd) {
			return err
		}
		written = true
		if err := l.write(ctx, tx, a, i); err != nil {
			return err
		}
		return l.tellLow(ctx, tx, a)
	})
	switch {
	case err != nil || !written:
		return err
	case len(i.Lines) == 0:
		done.Empty++
	default:
		done.Invoices = append(done.Invoices, i)
		if i.Number != nil {
			done.Numbered = append(done.Numbered, i.ID)
		}
	}
	return nil
}

// due reports whether the first period that is not closed has ended.
func (a *standing) due() bool { return !a.NextPeriodEnd.After(a.Now) }

// closePeriod closes the first open period, which has ended, of an account that
// is locked and in which nothing is overdue.
func (l *Ledger) closePeriod(ctx context.Context, tx bun.Tx, a *standing) error {
	i, err := draw(ctx, tx, &a.Account)
	if err != nil {
		return err
	}
	return l.write(ctx, tx, a, i)
}

// write closes the period of an invoice that was drawn up, with its number when
// there is no grace. Without lines there is no document.
func (l *Ledger) write(ctx context.Context, tx bun.Tx, a *standing, i *Invoice) error {
	if len(i.Lines) == 0 {
		return skipPeriod(ctx, tx, &a.Account, a.Now)
	}
	err := insertInvoice(ctx, tx, i, a.Now, l.Grace, systemActor)
	if err == nil && l.Grace <= 0 {
		err = numberInvoice(ctx, tx, i, a.Now)
	}
	return err
}

// lockClosed locks the company's account, ends what has expired in it and closes
// what has ended, so that a correction lands in the current period.
func (l *Ledger) lockClosed(ctx context.Context, tx bun.Tx, companyID string) (*standing, error) {
	a, err := lockCurrent(ctx, tx, companyID)
	for err == nil && a.due() {
		was := a.was
		if err = l.closePeriod(ctx, tx, a); err == nil {
			a, err = lockCurrent(ctx, tx, companyID)
		}
		if a != nil {
			a.was = was
		}
	}
	return a, err
}

// numberDue gives numbers to the invoices whose grace period is over.
func (l *Ledger) numberDue(ctx context.Context, done *Closed) error {
	for {
		ids, err := waitingInvoices(ctx, l.DB, pageOfDue)
		if err != nil {
			return fmt.Errorf("look for invoices to number: %w", err)
		}
		for _, id := range ids {
			err := l.onInvoice(ctx, id, func(ctx context.Context, tx bun.Tx, i *Invoice, a *standing) error {
				if i.Number != nil || i.Status != InvoiceClosed || i.FinaliseAt.After(a.Now) {
					return nil
				}
				done.Numbered = append(done.Numbered, id)
				return numberInvoice(ctx, tx, i, a.Now)
			})
			if err != nil {
				return err
			}
		}
		if len(ids) < pageOfDue {
			return nil
		}
	}
}

// Close closes the period of an invoice, and those before it, once it has
// ended, and returns the invoice; nil when nothing was used in it. Closing what
// is closed changes nothing. A period that runs is a Conflict.
func (l *Ledger) Close(ctx context.Context, id string) (*Invoice, error) {
	accountID, start, ok := parseInvoiceID(id)
	if !ok {
		return nil, noInvoice(id)
	}
	var done Closed
	if err := l.closeAccount(ctx, accountID, &done); err != nil {
		return nil, err
	}
	i, err := invoiceOf(ctx, l.DB, id)
	if i != nil || err != nil {
		return i, err
	}
	a, err := accountByID(ctx, l.DB, accountID)
	switch {
	case err != nil:
		return nil, fmt.Errorf("close %s: %w", id, err)
	case a == nil || id != invoiceID(accountID, start, 1) || start.After(a.NextPeriodStart):
		return nil, noInvoice(id)
	case start.Equal(a.NextPeriodStart):
		return nil, fault.Conflict{
			Head:  fault.Head{Message: "the period ends at " + a.NextPeriodEnd.UTC().Format("2006-01-02T15:04:05Z"), Field: []string{"id"}},
			State: string(InvoiceOpen),
		}
	}
	return nil, nil
}

// Pay records that the money of an invoice came in, under the payment's own
// reference. A second time with the same reference changes nothing.
func (l *Ledger) Pay(ctx context.Context, id, reference string) (*Invoice, error) {
	if err := fault.Text("reference", reference, 255); err != nil {
		return nil, err
	}
	return l.change(ctx, id, func(ctx context.Context, tx bun.Tx, i *Invoice, a *standing) error {
		switch {
		case i.Status == InvoicePaid && text(i.Payment) == reference:
			return nil
		case i.Status != InvoiceClosed:
			return invoiceIs(i, "cannot be paid")
		case i.Number == nil:
			return invoiceIs(i, "has no number yet: its grace period ends at "+i.FinaliseAt.UTC().Format("2006-01-02T15:04:05Z"))
		}
		return payInvoice(ctx, tx, i, reference, a.Now)
	})
}

// Void declares an invoice void, for a reason. It keeps its window and its
// number; Correct makes a new one in its place.
func (l *Ledger) Void(ctx context.Context, id, reason string) (*Invoice, error) {
	if reason == "" {
		return nil, fault.Invalid("reason", "must not be empty")
	}
	if err := fault.Text("reason", reason, 1000); err != nil {
		return nil, err
	}
	return l.change(ctx, id, func(ctx context.Context, tx bun.Tx, i *Invoice, a *standing) error {
		switch {
		case i.Status == InvoiceVoid && text(i.VoidReason) == reason:
			return nil
		case i.Status != InvoiceClosed:
			return invoiceIs(i, "cannot be voided")
		}
		return voidInvoice(ctx, tx, i, reason, a.Now)
	})
}

// Correct draws up a new invoice in the place of a void one: the same window, at
// the prices that are set now, with a grace period and a number of its own. What
// has a newer one in its place returns that.
func (l *Ledger) Correct(ctx context.Context, id string) (*Invoice, error) {
	var corrected *Invoice
	err := l.onInvoice(ctx, id, func(ctx context.Context, tx bun.Tx, i *Invoice, a *standing) (err error) {
		latest, err := latestOf(ctx, tx, i.AccountID, i.PeriodStart)
		switch {
		case err != nil:
			return err
		case latest.Revision > i.Revision:
			corrected = latest
			return nil
		case i.Status != InvoiceVoid:
			return invoiceIs(i, "is corrected only once it is void")
		}
		corrected = &Invoice{
			ID: invoiceID(i.AccountID, i.PeriodStart, i.Revision+1), AccountID: i.AccountID, Revision: i.Revision + 1,
			PeriodStart: i.PeriodStart, PeriodEnd: i.PeriodEnd, FromSeq: i.FromSeq, ToSeq: i.ToSeq,
		}
		if err := corrected.price(ctx, tx); err != nil {
			return err
		}
		return l.write(ctx, tx, a, corrected)
	})
	return corrected, err
}

// AddLine puts a line of money on an invoice in its grace period: amount is a
// decimal number in the invoice's currency, negative to take something off.
func (l *Ledger) AddLine(ctx context.Context, id, description, amount string) (*Invoice, error) {
	if description == "" {
		return nil, fault.Invalid("description", "must not be empty")
	}
	if err := fault.Text("description", description, 500); err != nil {
		return nil, err
	}
	if !moneyForm.MatchString(amount) {
		return nil, fault.Invalid("amount", "must be a decimal number such as -12.50")
	}
	err := l.onInvoice(ctx, id, func(ctx context.Context, tx bun.Tx, i *Invoice, _ *standing) error {
		switch {
		case i.Status != InvoiceClosed || i.Number != nil:
			return invoiceIs(i, "takes lines only in its grace period")
		case decimals(amount) > i.Digits:
			return fault.Invalid("amount", "%s has %d decimals", i.Currency, i.Digits)
		}
		return addLine(ctx, tx, i, description, amount)
	})
	if err != nil {
		return nil, err
	}
	return l.Invoice(ctx, id)
}

// change is onInvoice for a change that shows in the row itself.
func (l *Ledger) change(ctx context.Context, id string, f func(context.Context, bun.Tx, *Invoice, *standing) error) (*Invoice, error) {
	var changed *Invoice
	err := l.onInvoice(ctx, id, func(ctx context.Context, tx bun.Tx, i *Invoice, a *standing) error {
		changed = i
		return f(ctx, tx, i, a)
	})
	if err != nil {
		return nil, err
	}
	return changed, nil
}

// onInvoice runs f with a stored invoice and its account, which is locked: the
// account first, as everywhere, and the invoice is read after that.
func (l *Ledger) onInvoice(ctx context.Context, id string, f func(context.Context, bun.Tx, *Invoice, *standing) error) error {
	known, err := l.Invoice(ctx, id)
	if err != nil {
		return err
	}
	err = pg.InTx(ctx, l.DB, func(ctx context.Context, tx bun.Tx) error {
		a, err := l.lockByID(ctx, tx, known.AccountID)
		if err != nil {
			return err
		}
		i, err := invoiceOf(ctx, tx, known.ID)
		switch {
		case err != nil:
			return err
		case i == nil:
			return invoiceIs(known, "is not closed yet")
		}
		if err := f(ctx, tx, i, a); err != nil {
			return err
		}
		return l.tellLow(ctx, tx, a)
	})
	if err != nil {
		return fmt.Errorf("invoice %s: %w", id, err)
	}
	return nil
}

func invoiceIs(i *Invoice, what string) error {
	return fault.Conflict{Head: fault.Head{Message: "the invoice " + what, Field: []string{"id"}}, State: string(i.Status)}
}

package billing

import (
	"context"
	"math/big"
	"strconv"
	"strings"

	"github.com/uptrace/bun"
)

// window is an invoice and what the entries of its window come to.
type window struct {
	*Invoice
	owed, prepaid, leftover int64
	takenOff                bool
}

// windowsOf reads the account's invoices, oldest first.
func windowsOf(ctx context.Context, tx bun.Tx, accountID string) ([]*window, error) {
	var windows []*window
	invoices, err := allInvoices(ctx, tx, accountID)
	for _, i := range invoices {
		windows = append(windows, &window{Invoice: i})
	}
	return windows, err
}

// window adds the entry to the invoices whose window has it. Revisions of one
// period share a window; otherwise an entry is in one window or in none yet.
func (r *replay) window(e *Entry) {
	billed := false
	for _, w := range r.windows {
		switch {
		case e.Seq < w.FromSeq:
		case e.Seq > w.ToSeq:
			if e.OccurredAt.Before(w.PeriodEnd) {
				r.find("I8", e, "it is dated before the end of %s, which is not about it", w.ID)
			}
		default:
			billed = true
			if !e.OccurredAt.Before(w.PeriodEnd) {
				r.find("I8", e, "it is dated after the end of %s, which is about it", w.ID)
			}
			if e.Kind != KindInvoice {
				w.owed += e.OwedChange
			}
			switch {
			case e.Kind == KindCapture:
				w.prepaid += e.CapturedChange - e.OwedChange
			case e.Kind == KindAdjust && e.Amount < 0 && e.GrantID != nil:
				w.leftover += e.Amount
			}
		}
		if e.Kind == KindInvoice && text(e.InvoiceID) == w.ID {
			if w.takenOff || w.Revision > 1 || e.OwedChange != -w.Quantity || e.Seq <= w.ToSeq {
				r.find("I8", e, "it takes %d off what is owed for %s, which is worth %d", -e.OwedChange, w.ID, w.Quantity)
			}
			w.takenOff = true
		}
	}
	if e.Kind == KindInvoice && !r.names(text(e.InvoiceID)) {
		r.find("I8", e, "there is no invoice %s", text(e.InvoiceID))
	}
	if !billed && e.Kind != KindInvoice {
		r.sinceInvoice += e.OwedChange
	}
}

func (r *replay) names(invoiceID string) bool {
	for _, w := range r.windows {
		if w.ID == invoiceID {
			return true
		}
	}
	return false
}

// finishWindows looks that the windows follow each other, and that every invoice says what its window comes to.
func (r *replay) finishWindows(found func(string, string, ...any)) {
	var before *window
	for _, w := range r.windows {
		switch {
		case w.Revision > 1:
			if before == nil || before.Revision != w.Revision-1 || before.Status != InvoiceVoid || !before.PeriodStart.Equal(w.PeriodStart) ||
				before.FromSeq != w.FromSeq || before.ToSeq != w.ToSeq {
				found("I8", "%s corrects nothing that is void", w.ID)
			}
		case before == nil && w.FromSeq != 1, before != nil && (w.FromSeq != before.ToSeq+1 || w.PeriodStart.Before(before.PeriodEnd)):
			found("I8", "the window of %s does not follow the one before it", w.ID)
		}
		if w.Revision == 1 && !w.takenOff {
			found("I8", "no entry takes %s off what is owed", w.ID)
		}
		w.check(found)
		before = w
	}
}

// check compares the invoice with its window and its lines.
func (w *window) check(found func(string, string, ...any)) {
	var owed, prepaid, leftover int64
	sum := new(big.Rat)
	for _, l := range w.Lines {
		switch l.Kind {
		case LinePrepaid:
			prepaid += l.Quantity
		case LineManual: // one that was added by hand has the quantity 1
			leftover += min(0, l.Quantity)
		default:
			owed += l.Quantity
		}
		price, ok := new(big.Rat).SetString(l.Price)
		total, also := new(big.Rat).SetString(l.Amount)
		if !ok || !also {
			found("I8", "line %d of %s is no number", l.Position, w.ID)
			continue
		}
		if rounded(new(big.Rat).Mul(price, new(big.Rat).SetInt64(l.Quantity)), w.Digits).Cmp(total) != 0 {
			found("I8", "line %d of %s: %d at %s is not %s", l.Position, w.ID, l.Quantity, l.Price, l.Amount)
		}
		sum.Add(sum, total)
	}
	if owed != w.owed || prepaid != w.prepaid || owed != w.Quantity {
		found("I8", "%s: its window owes %d and captured %d for credits, its lines say %d and %d, of %d", w.ID, w.owed, w.prepaid, owed, prepaid, w.Quantity)
	}
	if leftover != w.leftover {
		found("I8", "%s: %d credits were left to take off in its window, its lines take off %d", w.ID, -w.leftover, -leftover)
	}
	if total, ok := new(big.Rat).SetString(w.Amount); !ok || total.Cmp(sum) != 0 {
		found("I8", "%s is worth %s, its lines %s", w.ID, w.Amount, sum.FloatString(w.Digits))
	}
}

// rounded rounds half away from zero to a number of decimals.
func rounded(r *big.Rat, digits int) *big.Rat {
	out, _ := new(big.Rat).SetString(r.FloatString(digits)) // FloatString rounds halves away from zero
	return out
}

// numbers looks that each series was given out without a gap.
func (p *proof) numbers(ctx context.Context, tx bun.Tx) error {
	series, err := numbersGiven(ctx, tx)
	if err != nil {
		return err
	}
	for _, s := range series {
		for n, number := range s.Numbers {
			digits := number[strings.LastIndexByte(number, '-')+1:]
			if v, err := strconv.Atoi(digits); err != nil || v != n+1 {
				p.find("I8", "", 0, "number %s is the %d-th of its series", number, n+1)
				break
			}
		}
		if int64(len(s.Numbers)) != s.Value {
			p.find("I8", "", 0, "%d numbers of %s were given, %d are on documents", s.Value, s.Name, len(s.Numbers))
		}
	}
	return nil
}

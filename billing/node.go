package billing

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/enrichd/enrichd/internal/fault"
)

// Entry returns the entry of a company's account with this id; nil when it is unknown, or another company's.
func (l *Ledger) Entry(ctx context.Context, companyID, id string) (*Entry, error) {
	rest, ours := strings.CutPrefix(id, entryPrefix)
	account, number, ok := strings.Cut(rest, "_")
	seq, err := strconv.ParseInt(number, 10, 64)
	if !ours || !ok || err != nil || seq < 1 || seq == 1<<63-1 {
		return nil, nil
	}
	a, err := accountOf(ctx, l.DB, companyID)
	if err != nil || a == nil || a.ID != accountPrefix+"_"+account {
		return nil, err
	}
	rows, err := entriesBefore(ctx, l.DB, a.ID, seq+1, EntryFilter{}, 1)
	if err != nil {
		return nil, fmt.Errorf("entry %s: %w", id, err)
	}
	if len(rows) == 0 || rows[0].Seq != seq {
		return nil, nil
	}
	return rows[0], nil
}

// InvoiceFor returns the invoice of a company's account with this id; nil when it is unknown, or another company's.
func (l *Ledger) InvoiceFor(ctx context.Context, companyID, id string) (*Invoice, error) {
	accountID, _, ok := parseInvoiceID(id)
	if !ok {
		return nil, nil
	}
	a, err := accountOf(ctx, l.DB, companyID)
	if err != nil || a == nil || a.ID != accountID {
		return nil, err
	}
	i, err := l.Invoice(ctx, id)
	return i, missing(err)
}

// CreditGrantFor returns the grant of a company's account with this id; nil when it is unknown, or another company's.
func (l *Ledger) CreditGrantFor(ctx context.Context, companyID, id string) (*CreditGrant, error) {
	if fault.Text("id", id, 200) != nil {
		return nil, nil
	}
	a, err := accountOf(ctx, l.DB, companyID)
	if err != nil || a == nil {
		return nil, err
	}
	g, err := grantByID(ctx, l.DB, a.ID, id)
	if err != nil {
		return nil, fmt.Errorf("grant %s: %w", id, err)
	}
	return g, nil
}

package billing

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/uptrace/bun"
)

// replay plays the entries of one account again.
type replay struct {
	p *proof
	a *Account
	// What the entries so far come to.
	seq                                                          int64
	at                                                           time.Time
	available, held, captured, owed                              int64
	granted, adjusted, refunded, expired, invoiced, sinceInvoice int64
	runs                                                         map[string]*runSums
	once                                                         map[[16]byte]bool
	grants                                                       map[string]*purse
	windows                                                      []*window
	chain                                                        []byte
}

// runSums are what the entries say of one run.
type runSums struct{ amount, captured, released int64 }

// purse is a grant: the row, and what the entries say of it.
type purse struct {
	CreditGrant
	came, drawn int64
}

// draft is one draw.
type draft struct {
	Seq     int64  `bun:"seq"`
	GrantID string `bun:"grant_id"`
	Amount  int64  `bun:"amount"`
}

func (r *replay) load(ctx context.Context, tx bun.Tx) error {
	grants, err := grantsOf(ctx, tx, r.a.ID)
	if err != nil {
		return err
	}
	r.grants = make(map[string]*purse, len(grants))
	for _, g := range grants {
		r.grants[g.ID] = &purse{CreditGrant: *g}
	}
	r.windows, err = windowsOf(ctx, tx, r.a.ID)
	return err
}

func (r *replay) find(invariant string, e *Entry, format string, args ...any) {
	r.p.find(invariant, r.a.ID, e.Seq, format, args...)
}

// entry plays one entry.
func (r *replay) entry(e *Entry, drawn []draft) {
	if e.Seq != r.seq+1 {
		r.find("I6", e, "it follows entry %d", r.seq)
	}
	if e.OccurredAt.Before(r.at) {
		r.find("I6", e, "it is dated %s, before the entry before it", e.OccurredAt)
	}
	r.seq, r.at = e.Seq, e.OccurredAt
	r.available += e.Amount
	r.held += e.HeldChange
	r.captured += e.CapturedChange
	r.owed += e.OwedChange
	if e.AvailableAfter != r.available || e.HeldAfter != r.held {
		r.find("I6", e, "it says %d available, %d held after it; the sums are %d, %d", e.AvailableAfter, e.HeldAfter, r.available, r.held)
	}
	if r.available < 0 || r.held < 0 || r.owed < 0 {
		r.find("I3", e, "it leaves %d available, %d held, %d owed", r.available, r.held, r.owed)
	}
	if !e.wellFormed() {
		r.find("I6", e, "a %s cannot move %d, %d, %d, %d", e.Kind, e.Amount, e.HeldChange, e.CapturedChange, e.OwedChange)
	}
	r.count(e)
	r.run(e)
	r.draws(e, drawn)
	r.window(e)
	r.link(e)
}

// count adds the entry to the totals of its kind.
func (r *replay) count(e *Entry) {
	switch e.Kind {
	case KindPurchase, KindGrant:
		r.granted += e.Amount
	case KindAdjust:
		r.adjusted += e.Amount
	case KindRefund:
		r.refunded += e.Amount
	case KindExpire:
		r.expired -= e.Amount
	}
	if e.Kind != KindCapture {
		r.invoiced -= e.OwedChange
	}
}

// run adds the entry to its run, and looks that it captures each profile once and no more than was held.
func (r *replay) run(e *Entry) {
	if e.Kind != KindReserve && e.Kind != KindCapture && e.Kind != KindRelease {
		return
	}
	s := r.runs[text(e.RunID)]
	if s == nil {
		s = &runSums{}
		r.runs[text(e.RunID)] = s
	}
	switch e.Kind {
	case KindReserve:
		s.amount += e.HeldChange
	case KindRelease:
		s.released -= e.HeldChange
	case KindCapture:
		s.captured += e.CapturedChange
		sum := sha256.Sum256([]byte(text(e.RunID) + "\x00" + text(e.ProfileID)))
		key := [16]byte(sum[:16])
		if r.once[key] {
			r.find("I5", e, "profile %s was captured before in run %s", text(e.ProfileID), text(e.RunID))
		}
		r.once[key] = true
	}
	if s.captured+s.released > s.amount {
		r.find("I5", e, "run %s has captured %d and released %d of %d reserved", text(e.RunID), s.captured, s.released, s.amount)
	}
}

// draws looks that the entry took its credits from grants that had them.
func (r *replay) draws(e *Entry, drawn []draft) {
	if e.Amount > 0 && e.Kind != KindRelease {
		g := r.grants[text(e.GrantID)]
		if g == nil || g.Amount != e.Amount || g.came > 0 {
			r.find("I12", e, "no grant of %d came with it", e.Amount)
		} else {
			g.came = e.Amount
		}
	}
	var spent, sum int64
	switch e.Kind {
	case KindCapture:
		spent = e.CapturedChange - e.OwedChange
	case KindExpire, KindAdjust:
		spent = max(0, -e.Amount)
	}
	for _, d := range drawn {
		sum += d.Amount
		g := r.grants[d.GrantID]
		if g == nil || g.drawn+d.Amount > g.came {
			r.find("I12", e, "it draws %d on grant %s, which does not have them", d.Amount, d.GrantID)
			continue
		}
		g.drawn += d.Amount
	}
	if sum != spent {
		r.find("I12", e, "it spent %d, %d was drawn for it", spent, sum)
	}
}

// link looks that the entry's digest covers it and the chain before it. A chain
// may begin at any entry, and never ends.
func (r *replay) link(e *Entry) {
	if e.Chain == nil {
		if r.chain != nil {
			r.find("I6", e, "the chain ends before it")
		}
		return
	}
	sum := sha256.Sum256(append(append([]byte{}, r.chain...), e.text()...))
	if string(sum[:]) != string(e.Chain) {
		r.find("I6", e, "the chain breaks at it: it, or what came before it, is not what was written")
	}
	r.chain = e.Chain
}

// text is what the chain's digest covers; the function billing_entry_text of the migration is its twin.
func (e *Entry) text() string {
	part := func(s *string) string {
		if s == nil {
			return "-"
		}
		return strconv.Itoa(len(*s)) + ":" + *s
	}
	return strings.Join([]string{
		e.AccountID, strconv.FormatInt(e.Seq, 10), string(e.Kind),
		strconv.FormatInt(e.Amount, 10), strconv.FormatInt(e.HeldChange, 10), strconv.FormatInt(e.CapturedChange, 10), strconv.FormatInt(e.OwedChange, 10),
		strconv.FormatInt(e.AvailableAfter, 10), strconv.FormatInt(e.HeldAfter, 10), strconv.FormatInt(e.OccurredAt.UnixMicro(), 10),
		part(e.RunID), part(e.ProfileID), part(e.GrantID), part(e.InvoiceID), part(e.Key), part(&e.Actor), part(e.Memo),
	}, "|")
}

// wellFormed reports whether an entry moves what its kind may move.
func (e *Entry) wellFormed() bool {
	a, h, c, o := e.Amount, e.HeldChange, e.CapturedChange, e.OwedChange
	switch e.Kind {
	case KindPurchase, KindGrant:
		return a > 0 && h == 0 && c == 0 && o == 0
	case KindReserve:
		return h > 0 && (a == 0 || a == -h) && c == 0 && o == 0 && e.RunID != nil
	case KindCapture:
		return a == 0 && h == -1 && c == 1 && (o == 0 || o == 1) && e.RunID != nil && e.ProfileID != nil
	case KindRelease:
		return h < 0 && (a == 0 || a == -h) && c == 0 && o == 0 && e.RunID != nil
	case KindExpire:
		return a < 0 && h == 0 && c == 0 && o == 0
	case KindAdjust:
		return h == 0 && c == 0 && (a == 0 || o == 0)
	case KindRefund:
		return a >= 0 && h == 0 && c == 0 && o <= 0 && (a == 0) != (o == 0)
	case KindInvoice:
		return a == 0 && h == 0 && c == 0 && o <= 0 && e.InvoiceID != nil
	}
	return false
}

// finish compares what the entries came to with what the ledger says.
func (r *replay) finish(ctx context.Context, tx bun.Tx) error {
	a := r.a
	found := func(invariant, format string, args ...any) { r.p.find(invariant, a.ID, 0, format, args...) }
	if a.LastSeq != r.seq || a.LastAt.Before(r.at) {
		found("I6", "the account counts %d entries until %s; there are %d until %s", a.LastSeq, a.LastAt, r.seq, r.at)
	}
	if got, want := fmt.Sprint(a.Available, a.Held, a.CapturedTotal, a.Owed), fmt.Sprint(r.available, r.held, r.captured, r.owed); got != want {
		found("I1", "the account says available, held, captured, owed are %s; its entries say %s", got, want)
	}
	got := fmt.Sprint(a.GrantedTotal, a.AdjustedTotal, a.RefundedTotal, a.ExpiredTotal, a.InvoicedTotal)
	if want := fmt.Sprint(r.granted, r.adjusted, r.refunded, r.expired, r.invoiced); got != want {
		found("I2", "the account says granted, adjusted, refunded, expired, invoiced are %s; its entries say %s", got, want)
	}
	left := r.available
	if a.Mode == Prepaid {
		left += r.held
	}
	if in, out := r.granted+r.adjusted+r.refunded, left+r.captured-r.owed-r.invoiced+r.expired; in != out {
		found("I2", "%d credits came in, %d are accounted for", in, out)
	}
	if r.sinceInvoice != r.owed {
		found("I8", "%d credits are owed, %d since the last invoice", r.owed, r.sinceInvoice)
	}
	r.finishGrants(left, found)
	r.finishWindows(found)
	return r.reservations(ctx, tx, found)
}

func (r *replay) finishGrants(left int64, found func(string, string, ...any)) {
	var remaining, expired int64
	for id, g := range r.grants {
		switch {
		case g.came == 0:
			found("I12", "grant %s came with no entry", id)
		case g.Remaining != g.Amount-g.drawn:
			found("I12", "grant %s has %d left, entries drew %d of its %d", id, g.Remaining, g.drawn, g.Amount)
		}
		remaining += g.Amount - g.drawn
		if g.ExpiresAt == nil || g.Amount == g.drawn {
			continue
		}
		if !g.ExpiresAt.After(r.a.LastAt) {
			expired += g.Amount - g.drawn
		} else if r.a.NextExpiryAt == nil || r.a.NextExpiryAt.After(*g.ExpiresAt) {
			found("I12", "grant %s expires before the account looks", id)
		}
	}
	if remaining != left {
		found("I12", "grants have %d left, the account %d", remaining, left)
	}
	if held := left - r.available; expired > held {
		found("I9", "expired grants have %d left, only %d is held", expired, held)
	}
}

// reservations compares the reservations of the account with the entries of their runs.
func (r *replay) reservations(ctx context.Context, tx bun.Tx, found func(string, string, ...any)) error {
	var held int64
	for after := ""; ; {
		rows, err := reservationsAfter(ctx, tx, r.a.ID, after, provePage)
		if err != nil {
			return err
		}
		for _, row := range rows {
			after = row.RunID
			s := r.runs[row.RunID]
			if s == nil {
				found("I4", "the reservation of run %s has no entry", row.RunID)
				continue
			}
			delete(r.runs, row.RunID)
			rest := row.Amount - row.Captured - row.Released
			if *s != (runSums{row.Amount, row.Captured, row.Released}) {
				found("I4", "run %s: reserved, captured, released are %d, %d, %d; its entries say %d, %d, %d",
					row.RunID, row.Amount, row.Captured, row.Released, s.amount, s.captured, s.released)
			}
			if row.State == "OPEN" {
				held += rest
			} else if rest != 0 {
				found("I4", "run %s is %s and holds %d", row.RunID, row.State, rest)
			}
		}
		if len(rows) < provePage {
			break
		}
	}
	for run := range r.runs {
		found("I4", "run %s has entries and no reservation", run)
	}
	if held != r.held {
		found("I10", "%d credits are held, open reservations hold %d", r.held, held)
	}
	return nil
}

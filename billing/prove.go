package billing

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"github.com/enrichd/enrichd/internal/pg"
)

// Finding is one broken invariant (README.md names them I1 to I13): the first
// entry of the account that breaks it, or 0 where no single entry does.
type Finding struct {
	Invariant string `json:"invariant"`
	// AccountID is "" for what concerns no single account.
	AccountID string `json:"account"`
	Entry     int64  `json:"entry"`
	Detail    string `json:"detail"`
}

// Proof is the result of proving the books.
type Proof struct {
	At       time.Time     `json:"at"`
	Took     time.Duration `json:"-"`
	Accounts int64         `json:"accounts"`
	Entries  int64         `json:"entries"`
	// Findings are empty when the books are right; by account, the earliest entry first.
	Findings []Finding `json:"findings"`
}

// proof collects what one pass over the books finds, at most one finding for each invariant of an account.
type proof struct {
	Proof
	seen map[[2]string]bool
}

func (p *proof) find(invariant, accountID string, entry int64, format string, args ...any) {
	key := [2]string{invariant, accountID}
	if p.seen[key] {
		return
	}
	p.seen[key] = true
	p.Findings = append(p.Findings, Finding{invariant, accountID, entry, fmt.Sprintf(format, args...)})
}

// Prove plays every entry of every account again, in Go, from the first to the
// last, and compares what comes out with everything else the ledger says:
// balances, totals, reservations, grants, draws, invoices, the chain. It believes
// none of the triggers, constraints and sums of the database. It reads one
// snapshot, in pages, and takes no locks; its memory grows with the captures of
// the largest account.
func (l *Ledger) Prove(ctx context.Context) (Proof, error) {
	began := time.Now()
	p := &proof{seen: map[[2]string]bool{}, Proof: Proof{Findings: []Finding{}}}
	err := pg.Snapshot(ctx, l.DB, func(inner context.Context, tx bun.Tx) error {
		if err := tx.NewRaw("SELECT billing_now()").Scan(inner, &p.At); err != nil {
			return err
		}
		for after := ""; ; {
			accounts, err := accountsAfter(inner, tx, after, provePage)
			if err != nil {
				return err
			}
			for _, a := range accounts {
				after = a.ID
				if err := ctx.Err(); err != nil {
					return err
				}
				if err := p.account(ctx, inner, tx, a); err != nil {
					return fmt.Errorf("account %s: %w", a.ID, err)
				}
			}
			if len(accounts) < provePage {
				break
			}
		}
		return p.strays(inner, tx)
	})
	slices.SortStableFunc(p.Findings, func(a, b Finding) int {
		first := func(f Finding) int64 {
			if f.Entry == 0 {
				return 1<<63 - 1
			}
			return f.Entry
		}
		return cmp.Or(cmp.Compare(a.AccountID, b.AccountID), cmp.Compare(first(a), first(b)))
	})
	p.Took = time.Since(began)
	if err != nil {
		return p.Proof, fmt.Errorf("prove the books: %w", err)
	}
	return p.Proof, nil
}

// provePage is how many rows one statement reads.
const provePage = 5000

// account proves one account.
func (p *proof) account(outer, ctx context.Context, tx bun.Tx, a *Account) error {
	p.Accounts++
	r := &replay{p: p, a: a, runs: map[string]*runSums{}, once: map[[16]byte]bool{}}
	if err := r.load(ctx, tx); err != nil {
		return err
	}
	for {
		entries, err := entriesAfter(ctx, tx, a.ID, r.seq, provePage)
		if err != nil || len(entries) == 0 {
			return firstOf(err, r.finish(ctx, tx))
		}
		draws, err := drawsBetween(ctx, tx, a.ID, entries[0].Seq, entries[len(entries)-1].Seq)
		if err != nil {
			return err
		}
		for _, e := range entries {
			drawn := []draft{}
			for len(draws) > 0 && draws[0].Seq <= e.Seq {
				if draws[0].Seq < e.Seq {
					p.find("I12", a.ID, draws[0].Seq, "a draw of %d on grant %s belongs to no entry", draws[0].Amount, draws[0].GrantID)
				} else {
					drawn = append(drawn, draws[0])
				}
				draws = draws[1:]
			}
			r.entry(e, drawn)
			p.Entries++
		}
		for _, d := range draws {
			p.find("I12", a.ID, d.Seq, "a draw of %d on grant %s belongs to no entry", d.Amount, d.GrantID)
		}
		if err := outer.Err(); err != nil {
			return err
		}
	}
}

// strays looks for what belongs to no account, and at what belongs to all.
func (p *proof) strays(ctx context.Context, tx bun.Tx) error {
	stray, err := strayEntries(ctx, tx)
	if err != nil {
		return err
	}
	for _, e := range stray {
		p.find("I6", e.AccountID, e.Seq, "the entry belongs to no account")
	}
	return p.numbers(ctx, tx)
}

// Record keeps the result of a proof, which is the metric of every node until the next.
func (l *Ledger) Record(ctx context.Context, p Proof) error {
	findings, err := json.Marshal(p.Findings)
	if err == nil {
		err = insertAudit(ctx, l.DB, p, findings)
	}
	if err != nil {
		return fmt.Errorf("record an audit: %w", err)
	}
	return nil
}

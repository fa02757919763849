package enrichment

import (
	"context"

	"github.com/uptrace/bun"

	"github.com/enrichd/enrichd/internal/access"
	"github.com/enrichd/enrichd/internal/pg"
)

// Quote says what a run would cost and touch.
// Eligible + Repeats + Suppressed + NotFound is the number of profiles asked about.
type Quote struct {
	Eligible   int
	Repeats    int
	Suppressed int
	NotFound   int
	// MaxCredits is the most that the run can cost: one for each eligible profile.
	MaxCredits int64
	// Affordable says that Start would be accepted now; it holds one credit for each profile until those that are free have settled.
	Affordable bool
}

// Quote says what Start would do with these profiles, without doing it. It
// refuses what Start would refuse as malformed.
func (s *Service) Quote(ctx context.Context, profileIDs []string) (*Quote, error) {
	in := StartInput{ProfileIDs: profileIDs}
	if err := in.check(); err != nil {
		return nil, err
	}
	p := access.From(ctx)
	a := s.accepting(p, in)
	q := &Quote{Affordable: true}
	err := pg.InTx(ctx, s.DB, func(ctx context.Context, tx bun.Tx) error {
		own, err := s.Store.resolve(ctx, tx, p.Company.ID, profileIDs)
		if err != nil {
			return err
		}
		a.name(own)
		known, err := a.known(ctx, tx)
		if err != nil {
			return err
		}
		repeats, err := a.repeats(ctx, tx)
		if err != nil {
			return err
		}
		for _, id := range a.distinct {
			_, again := repeats[id]
			switch suppressed, found := known[id]; {
			case !found:
				q.NotFound++
			case suppressed:
				q.Suppressed++
			case again:
				q.Repeats++
			default:
				q.Eligible++
			}
		}
		return nil
	})
	if err != nil || p.Key.Test {
		return q, err
	}
	q.MaxCredits = int64(q.Eligible)
	account, err := s.Ledger.Account(ctx, p.Company.ID)
	if err != nil {
		return nil, err
	}
	q.Affordable = account.Affords(int64(len(a.distinct)))
	return q, nil
}

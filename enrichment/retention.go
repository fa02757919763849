package enrichment

import (
	"context"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"github.com/enrichd/enrichd/enrichment/pipeline"
	"github.com/enrichd/enrichd/internal/fault"
	"github.com/enrichd/enrichd/internal/idem"
	"github.com/enrichd/enrichd/internal/pg"
)

// MinRetentionDays is the least that anything is kept.
const MinRetentionDays = 30

// maxRetentionDays bounds what a company may ask for.
const maxRetentionDays = 3650

// keeping is how long a company keeps evidence and results, from the creation of their run.
type keeping struct {
	ID           string `bun:"id"`
	EvidenceDays int    `bun:"evidence_days"`
	ResultDays   int    `bun:"result_days"`
}

// SetRetention says how many days after a run's creation a company's evidence
// and results are deleted: at least 30 both, and evidence no later than results.
func (s *Service) SetRetention(ctx context.Context, companyID string, evidenceDays, resultDays int) error {
	switch {
	case evidenceDays < MinRetentionDays || evidenceDays > maxRetentionDays:
		return fault.Invalid("evidenceDays", "must be between %d and %d, not %d", MinRetentionDays, maxRetentionDays, evidenceDays)
	case resultDays < evidenceDays || resultDays > maxRetentionDays:
		return fault.Invalid("resultDays", "must be between evidenceDays and %d, not %d", maxRetentionDays, resultDays)
	}
	found, err := s.Store.setKeeping(ctx, s.DB, keeping{companyID, evidenceDays, resultDays})
	if err == nil && !found {
		err = fault.NotFound{Head: fault.Head{Message: "no such company", Field: []string{"companyId"}}, Type: "Company", ID: companyID}
	}
	return err
}

// sweepRuns is how many runs one transaction of the sweep takes.
const sweepRuns = 200

// SweepRetention deletes everything whose time is over at now, however much that
// is: evidence first, later the results with their runs and webhook bodies,
// whole months of events, and idempotency keys after a day. It makes the
// partitions of the coming months as well. Time counts from a run's creation;
// looking at a result never prolongs it.
func (s *Service) SweepRetention(ctx context.Context, now time.Time) error {
	companies, err := s.Store.keeping(ctx, s.DB)
	if err != nil {
		return err
	}
	longest := 90
	for _, c := range companies {
		longest = max(longest, c.ResultDays)
		for _, test := range []bool{false, true} {
			if err := s.repeat(ctx, func(ctx context.Context, tx bun.Tx) (bool, error) { return s.dropEvidence(ctx, tx, c, test, now) }); err != nil {
				return fmt.Errorf("evidence of %s: %w", c.ID, err)
			}
			if err := s.repeat(ctx, func(ctx context.Context, tx bun.Tx) (bool, error) { return s.dropResults(ctx, tx, c, test, now) }); err != nil {
				return fmt.Errorf("results of %s: %w", c.ID, err)
			}
		}
	}
	if err := s.Store.partitions(ctx, s.DB, now, now.AddDate(0, 0, -longest)); err != nil {
		return err
	}
	return idem.Sweep(ctx, s.DB, now)
}

// repeat runs one transaction after the other until step says that nothing is left.
func (s *Service) repeat(ctx context.Context, step func(ctx context.Context, tx bun.Tx) (more bool, err error)) error {
	for more := true; more; {
		err := pg.InTx(ctx, s.DB, func(ctx context.Context, tx bun.Tx) (err error) {
			more, err = step(ctx, tx)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) dropEvidence(ctx context.Context, tx bun.Tx, c keeping, test bool, now time.Time) (more bool, err error) {
	ids, err := s.Store.agedRuns(ctx, tx, c.ID, test, now.AddDate(0, 0, -c.EvidenceDays), true, sweepRuns)
	if err != nil || len(ids) == 0 {
		return false, err
	}
	rows, err := s.Store.candidates(ctx, tx, ids)
	if err != nil {
		return false, err
	}
	for _, m := range rows {
		withoutEvidence(m.Candidate)
	}
	return len(ids) == sweepRuns, s.Store.writeCandidates(ctx, tx, c.ID, test, rows, ids[len(ids)-1])
}

func (s *Service) dropResults(ctx context.Context, tx bun.Tx, c keeping, test bool, now time.Time) (more bool, err error) {
	ids, err := s.Store.agedRuns(ctx, tx, c.ID, test, now.AddDate(0, 0, -c.ResultDays), false, sweepRuns)
	if err != nil || len(ids) == 0 {
		return false, err
	}
	if err := s.Dispatch.Erase(ctx, tx, c.ID, ids); err != nil {
		return false, err
	}
	return len(ids) == sweepRuns, s.Store.deleteRuns(ctx, tx, c.ID, ids)
}

// withoutEvidence takes from a candidate what its values rest on: excerpts,
// addresses of pages, hashes, and the records that identity was decided by.
func withoutEvidence(c *pipeline.Candidate) {
	none := []pipeline.Evidence{}
	for i := range c.AllFacts {
		c.AllFacts[i].Evidence, c.AllFacts[i].Conflicts = none, []pipeline.FactConflict{}
	}
	for i := range c.DetailedRationale {
		c.DetailedRationale[i].Evidence = none
	}
	for i := range c.Experience {
		c.Experience[i].Evidence, c.Experience[i].Highlights = none, []string{} // highlights are quotes
	}
	for i := range c.Emails {
		c.Emails[i].Evidence = none
	}
	for i := range c.Links {
		c.Links[i].Evidence = none
	}
	c.Identity = []pipeline.IdentityMatch{}
}

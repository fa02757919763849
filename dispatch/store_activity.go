package dispatch

import (
	"context"
	"fmt"

	"github.com/uptrace/bun"

	"github.com/enrichd/enrichd/internal/access"
	"github.com/enrichd/enrichd/internal/pg"
)

// announceSQL numbers the activities of one list. It has arguments, so that each connection plans it once.
var announceSQL = pg.Named(`
	WITH input AS (
		SELECT a.*, row_number() OVER (PARTITION BY a.company_id ORDER BY a.n) AS nth
		  FROM ROWS FROM (jsonb_to_recordset(:activities::jsonb) AS (
			company_id text, kind text, occurred_at timestamptz, summary text, subject_type text, subject_id text, test bool))
		  WITH ORDINALITY AS a(company_id, kind, occurred_at, summary, subject_type, subject_id, test, n)),
	counted AS (
		INSERT INTO company_activity_counters AS c (company_id, last)
		SELECT company_id, count(*) FROM input GROUP BY company_id ORDER BY company_id
		ON CONFLICT (company_id) DO UPDATE SET last = c.last + excluded.last
		RETURNING c.company_id, c.last)
	INSERT INTO company_activity (company_id, sequence, kind, occurred_at, summary, subject_type, subject_id, test)
	SELECT i.company_id, c.last - (SELECT count(*) FROM input o WHERE o.company_id = i.company_id) + i.nth,
	       i.kind, i.occurred_at, i.summary, i.subject_type, i.subject_id, i.test
	  FROM input i JOIN counted c ON c.company_id = i.company_id`, "activities")

// announce numbers and adds activities, given as a JSON list.
func (store) announce(ctx context.Context, tx bun.Tx, list string) error {
	if _, err := tx.Tx.ExecContext(ctx, announceSQL, list); err != nil {
		return fmt.Errorf("announce activity: %w", err)
	}
	return nil
}

func (store) activitySince(ctx context.Context, db bun.IDB, p *access.Principal, after int64, kinds []ActivityKind, limit int) (rows []*Activity, err error) {
	q := db.NewSelect().Model(&rows).Where("y.company_id = ?", p.Company.ID).Where("y.sequence > ?", after).
		Where("y.test = ?", p.Key.Test).OrderExpr("y.sequence").Limit(int64(limit))
	if len(kinds) > 0 {
		q = q.Where("y.kind IN (?)", bun.List(kinds))
	}
	if err := q.Scan(ctx); err != nil {
		return nil, fmt.Errorf("activity of company %s: %w", p.Company.ID, err)
	}
	return rows, nil
}

func (store) activityEnd(ctx context.Context, db bun.IDB, companyID string) (last int64, err error) {
	err = db.NewRaw(`SELECT coalesce((SELECT last FROM company_activity_counters WHERE company_id = ?), 0)`, companyID).Scan(ctx, &last)
	if err != nil {
		return 0, fmt.Errorf("activity of company %s: %w", companyID, err)
	}
	return last, nil
}

package enrichment

import (
	"context"
	"fmt"
	"strings"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"
)

// runs lists a company's runs in an order, from a place.
func (Store) runs(ctx context.Context, db bun.IDB, companyID string, test bool, f RunFilter, order RunOrder, after place, limit int) ([]*Run, error) {
	var runs []*Run
	q := filterRuns(db.NewSelect().Model(&runs), companyID, test, f, order).Limit(int64(limit))
	switch order {
	case OrderOldest:
		q = q.OrderExpr("r.id")
		if after.id != "" {
			q = q.Where("r.id > ?", after.id)
		}
	case OrderRecentlyFinished:
		q = q.OrderExpr("r.finished_at DESC, r.id DESC")
		if after.id != "" {
			q = q.Where("(r.finished_at, r.id) < (?, ?)", after.at, after.id)
		}
	default:
		q = q.OrderExpr("r.id DESC")
		if after.id != "" {
			q = q.Where("r.id < ?", after.id)
		}
	}
	if err := q.Scan(ctx); err != nil {
		return nil, fmt.Errorf("list runs: %w", err)
	}
	return runs, nil
}

func (Store) countRuns(ctx context.Context, db bun.IDB, companyID string, test bool, f RunFilter, order RunOrder) (int, error) {
	n, err := filterRuns(db.NewSelect().Model((*Run)(nil)), companyID, test, f, order).Count(ctx)
	if err != nil {
		return 0, fmt.Errorf("count runs: %w", err)
	}
	return int(n), nil
}

func filterRuns(q *bun.SelectQuery, companyID string, test bool, f RunFilter, order RunOrder) *bun.SelectQuery {
	q = q.Where("r.company_id = ? AND r.test = ?", companyID, test)
	if order == OrderRecentlyFinished {
		q = q.Where("r.finished_at IS NOT NULL")
	}
	if len(f.Status) > 0 {
		q = q.Where("r.status IN (?)", bun.List(f.Status))
	}
	if f.Label != nil {
		q = q.Where("r.label = ?", *f.Label)
	}
	if f.CreatedAfter != nil { // the id as well, because the list is indexed by it
		q = q.Where("r.created_at >= ?0 AND r.id >= run_id_floor(greatest(?0::timestamptz - interval '1 minute', 'epoch'))", *f.CreatedAfter)
	}
	if f.CreatedBefore != nil {
		q = q.Where("r.created_at < ?0 AND r.id < run_id_floor(greatest(?0::timestamptz + interval '1 minute', 'epoch'))", *f.CreatedBefore)
	}
	return q
}

func (Store) runsByID(ctx context.Context, db bun.IDB, companyID string, test bool, ids []string) (runs []*Run, err error) {
	if len(ids) == 0 {
		return nil, nil
	}
	err = db.NewSelect().Model(&runs).Where("r.id IN (?) AND r.company_id = ? AND r.test = ?", bun.List(ids), companyID, test).Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("read %d runs: %w", len(ids), err)
	}
	return runs, nil
}

// runsOf reads the newest runs of each profile, by profile.
func (Store) runsOf(ctx context.Context, db bun.IDB, companyID string, test bool, profileIDs []string, before string, limit int) (map[string][]*Run, error) {
	if len(profileIDs) == 0 {
		return nil, nil
	}
	var rows []struct {
		Run       `bun:",extend"`
		ProfileID string `bun:"of_profile,scanonly"`
	}
	err := db.NewSelect().Model(&rows).ColumnExpr("?TableColumns").ColumnExpr("x.profile_id AS of_profile").
		Join(`JOIN (SELECT p.id AS profile_id, m.run_id FROM unnest(?0::text[]) AS p (id)
			CROSS JOIN LATERAL (SELECT rp.run_id FROM run_profiles AS rp JOIN runs AS o ON o.id = rp.run_id
			 WHERE rp.profile_id = p.id AND rp.company_id = ?1 AND o.test = ?2 AND (?3 = '' OR rp.run_id < ?3)
			 ORDER BY rp.run_id DESC LIMIT ?4) AS m) AS x ON x.run_id = r.id`,
			pgdialect.Array(profileIDs), companyID, test, before, limit).
		Where("r.company_id = ?", companyID).OrderExpr("x.profile_id, r.id DESC").Scan(ctx)
	if err != nil {
		return nil, err
	}
	by := map[string][]*Run{}
	for i := range rows {
		by[rows[i].ProfileID] = append(by[rows[i].ProfileID], &rows[i].Run)
	}
	return by, nil
}

func (Store) countRunsOf(ctx context.Context, db bun.IDB, companyID string, test bool, profileIDs []string) (map[string]int, error) {
	var rows []struct {
		ProfileID string
		N         int
	}
	err := db.NewRaw(`SELECT rp.profile_id, count(*) AS n FROM run_profiles AS rp JOIN runs AS r ON r.id = rp.run_id
		WHERE rp.company_id = ? AND r.test = ? AND rp.profile_id IN (?) GROUP BY rp.profile_id`, companyID, test, bun.List(profileIDs)).Scan(ctx, &rows)
	if err != nil {
		return nil, fmt.Errorf("count runs of profiles: %w", err)
	}
	counts := make(map[string]int, len(rows))
	for _, r := range rows {
		counts[r.ProfileID] = r.N
	}
	return counts, nil
}

// results reads the profiles of runs in the order they were submitted, with
// their candidates; a suppressed person's candidate is left out. outcomes narrow it when given.
func (Store) results(ctx context.Context, db bun.IDB, runIDs []string, outcomes []Outcome, after int) ([]*RunProfile, error) {
	var rows []*RunProfile
	if len(runIDs) == 0 {
		return nil, nil
	}
	q := db.NewSelect().Model(&rows).ExcludeColumn("candidate").
		ColumnExpr(`CASE WHEN EXISTS (SELECT 1 FROM profiles p JOIN suppressions s
			ON s.company_id = p.company_id AND s.digest = ANY (p.person_digests)
			WHERE p.id = rp.profile_id AND p.company_id = rp.company_id) THEN NULL ELSE rp.candidate END AS candidate`).
		Where("rp.run_id IN (?) AND rp.ordinal > ?", bun.List(runIDs), after)
	if len(outcomes) > 0 {
		q = q.Where("rp.outcome IN (?)", bun.List(outcomes))
	}
	if err := q.OrderExpr("rp.run_id, rp.ordinal").Scan(ctx); err != nil {
		return nil, fmt.Errorf("read results of %d runs: %w", len(runIDs), err)
	}
	return rows, nil
}

// newestResults reads the newest successful results of each profile, newest first, at most limit of each.
func (Store) newestResults(ctx context.Context, db bun.IDB, companyID string, profileIDs []string, limit int) (rows []*RunProfile, err error) {
	if len(profileIDs) == 0 {
		return nil, nil
	}
	err = db.NewSelect().Model(&rows).
		Join(`JOIN (SELECT m.run_id, m.ordinal FROM unnest(?0::text[]) AS p (id)
			CROSS JOIN LATERAL (SELECT n.run_id, n.ordinal FROM run_profiles AS n
			 WHERE n.profile_id = p.id AND n.company_id = ?1 AND n.outcome IN ('ENRICHED', 'PARTIAL') AND n.candidate IS NOT NULL
			 ORDER BY n.finished_at DESC LIMIT ?2) AS m) AS x ON x.run_id = rp.run_id AND x.ordinal = rp.ordinal`,
			pgdialect.Array(profileIDs), companyID, limit).
		OrderExpr("rp.profile_id, rp.finished_at DESC").Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the newest results of %d profiles: %w", len(profileIDs), err)
	}
	return rows, nil
}

// eventsOf reads events of many runs after a sequence, in order, at most limit of each.
func (Store) eventsOf(ctx context.Context, db bun.IDB, runIDs []string, after, limit int) (rows []eventRow, err error) {
	if len(runIDs) == 0 {
		return nil, nil
	}
	// Sequences have no gaps, so the limit is a bound on the sequence.
	err = db.NewSelect().Model(&rows).Where("e.run_id IN (?) AND e.sequence > ? AND e.sequence <= ?", bun.List(runIDs), after, int64(after)+int64(limit)).
		OrderExpr("e.run_id, e.sequence").Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("read events of %d runs: %w", len(runIDs), err)
	}
	return rows, nil
}

func (s Store) profilesByID(ctx context.Context, db bun.IDB, companyID string, ids []string) ([]*Profile, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	return s.profiles(ctx, db, companyID, func(q *bun.SelectQuery) *bun.SelectQuery { return q.Where("p.id IN (?)", bun.List(ids)) })
}

func (s Store) listProfiles(ctx context.Context, db bun.IDB, companyID string, f ProfileFilter, after string, limit int) ([]*Profile, error) {
	return s.profiles(ctx, db, companyID, func(q *bun.SelectQuery) *bun.SelectQuery {
		if after != "" {
			q = q.Where("p.id > ?", after)
		}
		return filterProfiles(q, f).OrderExpr("p.id").Limit(int64(limit))
	})
}

func (Store) countProfiles(ctx context.Context, db bun.IDB, companyID string, f ProfileFilter) (int, error) {
	n, err := filterProfiles(db.NewSelect().Model((*Profile)(nil)).Where("p.company_id = ?", companyID), f).Count(ctx)
	if err != nil {
		return 0, fmt.Errorf("count profiles: %w", err)
	}
	return int(n), nil
}

var likeEscape = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)

// filterProfiles narrows a query of profiles. What is not shown of a suppressed
// person is not searched either.
func filterProfiles(q *bun.SelectQuery, f ProfileFilter) *bun.SelectQuery {
	if len(f.ExternalIDs) > 0 {
		q = q.Where("p.external_id IN (?)", bun.List(f.ExternalIDs))
	}
	if f.Search != nil && strings.TrimSpace(*f.Search) != "" {
		q = q.Where("(p.external_id ILIKE ?0 OR (concat_ws(chr(10), p.name, p.headline, p.current_company, p.current_title) ILIKE ?0 AND NOT "+isSuppressed+"))",
			"%"+likeEscape.Replace(strings.TrimSpace(*f.Search))+"%")
	}
	if f.MaxCompleteness != nil { // tolerant, because ninths have no exact form
		q = q.Where("p.completeness <= ?::float8 + 1e-9", *f.MaxCompleteness)
	}
	if f.NotEnrichedSince != nil {
		q = q.Where(`NOT EXISTS (SELECT 1 FROM run_profiles AS d WHERE d.profile_id = p.id AND d.outcome IN ('ENRICHED', 'PARTIAL') AND d.finished_at >= ?)`, *f.NotEnrichedSince)
	}
	if f.Suppressed != nil {
		q = q.Where(isSuppressed+" = ?", *f.Suppressed)
	}
	return q
}

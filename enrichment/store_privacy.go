package enrichment

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"

	"github.com/enrichd/enrichd/internal/pg"
)

// holders finds a company's profiles that have any of the digests, by import or
// because a run met it, and the digests that runs met about them.
func (s Store) holders(ctx context.Context, db bun.IDB, companyID string, digests [][]byte) (ps []*Profile, found [][]byte, err error) {
	if len(digests) == 0 {
		return nil, nil, nil
	}
	list := pgdialect.Array(digests)
	ps, err = s.profiles(ctx, db, companyID, func(q *bun.SelectQuery) *bun.SelectQuery {
		return q.Where(`p.id IN (
			SELECT o.id FROM profiles AS o WHERE o.company_id = ?1 AND o.person_digests && ?0::bytea[]
			UNION
			SELECT rp.profile_id FROM run_profiles AS rp
			 WHERE rp.company_id = ?1 AND rp.person_digests && ?0::bytea[] AND rp.person_digests <> '{}')`, list, companyID).OrderExpr("p.id")
	})
	if err != nil || len(ps) == 0 {
		return ps, nil, err
	}
	ids := make([]string, len(ps))
	for i, p := range ps {
		ids[i] = p.ID
	}
	err = db.NewRaw(`SELECT DISTINCT d.digest FROM run_profiles AS rp, unnest(rp.person_digests) AS d (digest)
		WHERE rp.company_id = ? AND rp.profile_id IN (?)`, companyID, bun.List(ids)).Scan(ctx, &found)
	if err != nil {
		return nil, nil, fmt.Errorf("read the digests of a person: %w", err)
	}
	return ps, found, nil
}

// insertSuppressions keeps objections by digest and returns the oldest's time.
// One already kept stays as it is, but for an erasure, which is noted on it.
func (Store) insertSuppressions(ctx context.Context, tx bun.IDB, rows []*Suppression) (at time.Time, err error) {
	erased := rows[0].Erased
	digests := make([][]byte, len(rows))
	for i, r := range rows {
		digests[i] = r.Digest
	}
	if _, err := tx.NewInsert().Model(&rows).On("CONFLICT (company_id, digest) DO UPDATE").
		Set("erased = true").Where("? AND NOT s.erased", erased).Returning("NULL").Exec(ctx); err != nil {
		return at, fmt.Errorf("keep an objection: %w", err)
	}
	err = tx.NewRaw("SELECT min(created_at) FROM suppressions WHERE company_id = ? AND digest IN (?)",
		rows[0].CompanyID, bun.List(digests)).Scan(ctx, &at)
	if err != nil {
		return at, fmt.Errorf("read an objection: %w", err)
	}
	return at, nil
}

// erasedAmong tells which of the digests belong to people who were erased, and since when.
func (Store) erasedAmong(ctx context.Context, db bun.IDB, companyID string, digests [][]byte) (map[string]time.Time, error) {
	var rows []struct {
		Digest    []byte
		CreatedAt time.Time
	}
	err := db.NewRaw("SELECT digest, created_at FROM suppressions WHERE company_id = ? AND erased AND digest = ANY (?::bytea[])",
		companyID, pgdialect.Array(digests)).Scan(ctx, &rows)
	if err != nil {
		return nil, fmt.Errorf("look for erased people: %w", err)
	}
	erased := make(map[string]time.Time, len(rows))
	for _, r := range rows {
		erased[string(r.Digest)] = r.CreatedAt
	}
	return erased, nil
}

// openRuns lists, in order, the runs in which any of the profiles has not ended.
func (Store) openRuns(ctx context.Context, tx bun.IDB, companyID string, profileIDs []string) (ids []string, err error) {
	if len(profileIDs) == 0 {
		return nil, nil
	}
	err = tx.NewRaw(`SELECT DISTINCT rp.run_id FROM run_profiles AS rp
		WHERE rp.company_id = ? AND rp.profile_id IN (?) AND rp.finished_at IS NULL ORDER BY rp.run_id`, companyID, bun.List(profileIDs)).Scan(ctx, &ids)
	if err != nil {
		return nil, fmt.Errorf("look for runs of a person: %w", err)
	}
	return ids, nil
}

// lockCompany keeps everybody from adding profiles or runs to the company until the transaction ends.
func (Store) lockCompany(ctx context.Context, tx bun.IDB, companyID string) error {
	if _, err := tx.NewRaw("SELECT FROM companies WHERE id = ? FOR UPDATE", companyID).Exec(ctx); err != nil {
		return fmt.Errorf("lock company %s: %w", companyID, err)
	}
	return nil
}

// holdCompany waits for an erasure under way, and lets none begin until the transaction ends.
func (Store) holdCompany(ctx context.Context, tx bun.IDB, companyID string) error {
	if _, err := tx.NewRaw("SELECT FROM companies WHERE id = ? FOR KEY SHARE", companyID).Exec(ctx); err != nil {
		return fmt.Errorf("hold company %s: %w", companyID, err)
	}
	return nil
}

// eraseProfiles deletes profiles and what runs found about them, takes the names
// off the labels of those runs, and returns the runs. Jobs hold ids only; those that are done go too.
func (Store) eraseProfiles(ctx context.Context, tx bun.Tx, companyID string, profileIDs, names []string) (runs []string, err error) {
	if len(profileIDs) == 0 {
		return nil, nil
	}
	ids := bun.List(profileIDs)
	err = tx.NewRaw(`UPDATE run_profiles AS rp
		SET candidate = NULL, fields_changed = '{}', missing = '{}', waiting_on = '{}', person_digests = '{}', fingerprint = NULL
		WHERE rp.company_id = ? AND rp.profile_id IN (?) RETURNING rp.run_id`, companyID, ids).Scan(ctx, &runs)
	if err != nil {
		return nil, fmt.Errorf("erase results: %w", err)
	}
	if len(runs) > 0 {
		const named = `EXISTS (SELECT FROM unnest(?2::text[]) AS n (name) WHERE position(n.name IN lower(%s)) > 0)`
		label, reason := fmt.Sprintf(named, "r.label"), fmt.Sprintf(named, "r.cancel_reason")
		if _, err := tx.NewRaw(`UPDATE runs AS r
			SET label = CASE WHEN `+label+` THEN NULL ELSE r.label END, cancel_reason = CASE WHEN `+reason+` THEN NULL ELSE r.cancel_reason END
			WHERE r.company_id = ?0 AND r.id IN (?1) AND (`+label+` OR `+reason+`)`, companyID, bun.List(runs), pgdialect.Array(names)).Exec(ctx); err != nil {
			return nil, fmt.Errorf("erase names in labels: %w", err)
		}
		if _, err := tx.NewRaw(`DELETE FROM river_job AS j WHERE j.kind = ? AND j.state IN ('completed', 'cancelled', 'discarded')
			AND j.args ->> 'profile' IN (?) AND j.args ->> 'run' IN (?)`, ProfileArgs{}.Kind(), ids, bun.List(runs)).Exec(ctx); err != nil {
			return nil, fmt.Errorf("erase jobs: %w", err)
		}
	}
	if _, err := tx.NewRaw("DELETE FROM profiles WHERE company_id = ? AND id IN (?)", companyID, ids).Exec(ctx); err != nil {
		return nil, fmt.Errorf("erase profiles: %w", err)
	}
	return runs, nil
}

func (Store) insertErasure(ctx context.Context, tx bun.IDB, e *Erasure) error {
	if _, err := tx.NewInsert().Model(e).Returning("NULL").Exec(ctx); err != nil {
		return fmt.Errorf("keep receipt %s: %w", e.ID, err)
	}
	return nil
}

func (Store) erasure(ctx context.Context, db bun.IDB, id string) (*Erasure, error) {
	e := new(Erasure)
	if err := db.NewSelect().Model(e).Where("er.id = ?", id).Scan(ctx); err != nil {
		return nil, fmt.Errorf("read receipt %s: %w", id, err)
	}
	return e, nil
}

func (Store) suppressions(ctx context.Context, db bun.IDB, companyID, before string, limit int) ([]*Suppression, error) {
	rows := []*Suppression{}
	q := db.NewSelect().Model(&rows).Where("s.company_id = ?", companyID)
	if before != "" {
		q = q.Where("s.id < ?", before)
	}
	if err := q.OrderExpr("s.id DESC").Limit(int64(limit)).Scan(ctx); err != nil {
		return nil, fmt.Errorf("list objections: %w", err)
	}
	return rows, nil
}

func (Store) suppression(ctx context.Context, db bun.IDB, companyID, id string) (*Suppression, error) {
	row := new(Suppression)
	err := db.NewSelect().Model(row).Where("s.id = ? AND s.company_id = ?", id, companyID).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read objection %s: %w", id, err)
	}
	return row, nil
}

// membersOf reads what runs found about profiles, newest run first, as it is stored.
func (Store) membersOf(ctx context.Context, db bun.IDB, companyID string, profileIDs []string) ([]*RunProfile, error) {
	var rows []*RunProfile
	err := db.NewSelect().Model(&rows).Where("rp.company_id = ? AND rp.profile_id IN (?)", companyID, bun.List(profileIDs)).
		OrderExpr("rp.run_id DESC, rp.ordinal").Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("read results of a person: %w", err)
	}
	return rows, nil
}

// suppressionsOf lists the objections with any of the digests.
func (Store) suppressionsOf(ctx context.Context, db bun.IDB, companyID string, digests [][]byte) ([]*Suppression, error) {
	var rows []*Suppression
	err := db.NewSelect().Model(&rows).Where("s.company_id = ? AND s.digest IN (?)", companyID, bun.List(digests)).OrderExpr("s.id").Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("read objections of a person: %w", err)
	}
	return rows, nil
}

// companies lists all companies with how long they keep evidence and results.
func (Store) keeping(ctx context.Context, db bun.IDB) (rows []keeping, err error) {
	err = db.NewRaw("SELECT id, evidence_days, result_days FROM companies ORDER BY id").Scan(ctx, &rows)
	if err != nil {
		return nil, fmt.Errorf("read how long companies keep results: %w", err)
	}
	return rows, nil
}

func (Store) setKeeping(ctx context.Context, db bun.IDB, k keeping) (found bool, err error) {
	res, err := db.NewRaw("UPDATE companies SET evidence_days = ?, result_days = ? WHERE id = ?", k.EvidenceDays, k.ResultDays, k.ID).Exec(ctx)
	if err != nil {
		return false, fmt.Errorf("set how long %s keeps results: %w", k.ID, err)
	}
	n, err := res.RowsAffected()
	return n > 0, err
}

// agedRuns lists a company's ended runs that were made before an instant, oldest
// first, behind the retention mark when marked.
func (Store) agedRuns(ctx context.Context, tx bun.IDB, companyID string, test bool, before time.Time, marked bool, limit int) (ids []string, err error) {
	err = tx.NewRaw(`SELECT r.id FROM runs AS r
		WHERE r.company_id = ?0 AND r.test = ?1 AND r.id < run_id_floor(?2) AND r.finished_at IS NOT NULL
		  AND (NOT ?3 OR r.id > coalesce((SELECT m.run_id FROM retention_marks AS m WHERE m.company_id = ?0 AND m.test = ?1), ''))
		ORDER BY r.id LIMIT ?4`, companyID, test, before, marked, limit).Scan(ctx, &ids)
	if err != nil {
		return nil, fmt.Errorf("look for old runs of %s: %w", companyID, err)
	}
	return ids, nil
}

// candidates reads what runs found, rows locked.
func (Store) candidates(ctx context.Context, tx bun.IDB, runIDs []string) (rows []*RunProfile, err error) {
	err = tx.NewSelect().Model(&rows).Column("run_id", "ordinal", "candidate").
		Where("rp.run_id IN (?) AND rp.candidate IS NOT NULL", bun.List(runIDs)).OrderExpr("rp.run_id, rp.ordinal").For("UPDATE").Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("read old results: %w", err)
	}
	return rows, nil
}

// writeCandidates stores candidates whose evidence was taken away, and moves the mark.
func (Store) writeCandidates(ctx context.Context, tx bun.IDB, companyID string, test bool, rows []*RunProfile, mark string) error {
	if len(rows) > 0 {
		_, err := tx.NewUpdate().With("v", tx.NewValues(&rows)).Model((*RunProfile)(nil)).TableExpr("v").
			Set("candidate = v.candidate").Where("rp.run_id = v.run_id AND rp.ordinal = v.ordinal").Exec(ctx)
		if err != nil {
			return fmt.Errorf("drop old evidence: %w", err)
		}
	}
	_, err := tx.NewRaw(`INSERT INTO retention_marks (company_id, test, run_id) VALUES (?, ?, ?)
		ON CONFLICT (company_id, test) DO UPDATE SET run_id = greatest(retention_marks.run_id, excluded.run_id)`, companyID, test, mark).Exec(ctx)
	if err != nil {
		return fmt.Errorf("move the retention mark of %s: %w", companyID, err)
	}
	return nil
}

func (Store) deleteRuns(ctx context.Context, tx bun.IDB, companyID string, ids []string) error {
	for _, statement := range []string{
		"DELETE FROM run_profiles WHERE company_id = ? AND run_id IN (?)", "DELETE FROM runs WHERE company_id = ? AND id IN (?)",
	} {
		if _, err := tx.NewRaw(statement, companyID, bun.List(ids)).Exec(ctx); err != nil {
			return fmt.Errorf("delete old runs of %s: %w", companyID, err)
		}
	}
	return nil
}

// partitions makes the event partitions of the coming months and drops those that ended before an instant.
func (Store) partitions(ctx context.Context, db *bun.DB, now, before time.Time) error {
	return pg.InTx(ctx, db, func(ctx context.Context, tx bun.Tx) error {
		_, err := tx.NewRaw("SELECT run_events_partitions((?::timestamptz AT TIME ZONE 'UTC')::date), run_events_drop(?)", now, before).Exec(ctx)
		if err != nil {
			return fmt.Errorf("keep the partitions of run events: %w", err)
		}
		return nil
	})
}

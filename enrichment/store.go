package enrichment

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/uptrace/bun"
)

// Store holds every SQL statement about this package's tables. Its methods
// take the database or a transaction, so that each joins the caller's.
type Store struct{}

// suppressedExpr tells whether the person of profile p objected.
const suppressedExpr = `EXISTS (SELECT 1 FROM suppressions s
	WHERE s.company_id = p.company_id AND s.digest = ANY (p.person_digests)) AS suppressed`

// known reads which of ids are profiles of the company, each with whether it is suppressed.
func (Store) known(ctx context.Context, db bun.IDB, companyID string, ids []string) (map[string]bool, error) {
	var rows []struct {
		ID         string
		Suppressed bool
	}
	err := db.NewSelect().TableExpr("profiles AS p").Column("p.id").ColumnExpr(suppressedExpr).
		Where("p.company_id = ?", companyID).Where("p.id IN (?)", bun.In(ids)).Scan(ctx, &rows)
	if err != nil {
		return nil, fmt.Errorf("read profiles of a run: %w", err)
	}
	found := make(map[string]bool, len(rows))
	for _, r := range rows {
		found[r.ID] = r.Suppressed
	}
	return found, nil
}

// insertRun writes a run, its profiles and its first events in one statement.
func (Store) insertRun(ctx context.Context, tx bun.IDB, run *Run, profiles []*RunProfile, events []eventRow) error {
	_, err := tx.NewInsert().Model(&events).Returning("NULL").
		With("run", tx.NewInsert().Model(run).Returning("NULL")).
		With("members", tx.NewInsert().Model(&profiles).Returning("NULL")).
		Exec(ctx)
	if err != nil {
		return fmt.Errorf("insert run %s: %w", run.ID, err)
	}
	return nil
}

// lock reads runs in id order and holds their rows until the transaction ends.
func (Store) lock(ctx context.Context, tx bun.IDB, ids []string) ([]*Run, error) {
	var runs []*Run
	err := tx.NewSelect().Model(&runs).Where("r.id IN (?)", bun.In(ids)).OrderExpr("r.id").For("UPDATE").Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("lock runs: %w", err)
	}
	return runs, nil
}

// members reads the profiles of runs without their candidates. Read after lock,
// what it gives cannot change until the transaction ends.
func (Store) members(ctx context.Context, db bun.IDB, runIDs []string) (map[string][]*RunProfile, error) {
	var rows []*RunProfile
	err := db.NewSelect().Model(&rows).ExcludeColumn("candidate").Where("rp.run_id IN (?)", bun.In(runIDs)).
		OrderExpr("rp.run_id, rp.ordinal").Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("read profiles of runs: %w", err)
	}
	members := map[string][]*RunProfile{}
	for _, rp := range rows {
		members[rp.RunID] = append(members[rp.RunID], rp)
	}
	return members, nil
}

// run reads one run of a company; test keys see test runs only, live keys live
// runs only. It returns nil when there is none.
func (Store) run(ctx context.Context, db bun.IDB, companyID string, test bool, id string) (*Run, error) {
	run := new(Run)
	err := db.NewSelect().Model(run).Where("r.id = ? AND r.company_id = ? AND r.test = ?", id, companyID, test).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read run %s: %w", id, err)
	}
	return run, nil
}

// runs lists a company's runs, newest first; one more than asked for, so that the caller sees whether there are more.
func (Store) runs(ctx context.Context, db bun.IDB, companyID string, test bool, before string, limit int) ([]*Run, error) {
	var runs []*Run
	q := db.NewSelect().Model(&runs).Where("r.company_id = ? AND r.test = ?", companyID, test)
	if before != "" {
		q = q.Where("r.id < ?", before)
	}
	if err := q.OrderExpr("r.id DESC").Limit(int64(limit)).Scan(ctx); err != nil {
		return nil, fmt.Errorf("list runs: %w", err)
	}
	return runs, nil
}

// results reads a run's profiles in the order they were submitted, with their
// candidates; a suppressed person's candidate is left out. outcomes narrow it when given.
func (Store) results(ctx context.Context, db bun.IDB, runID string, outcomes []Outcome, after, limit int) ([]*RunProfile, error) {
	var rows []*RunProfile
	q := db.NewSelect().Model(&rows).ExcludeColumn("candidate").
		ColumnExpr(`CASE WHEN EXISTS (SELECT 1 FROM profiles p JOIN suppressions s
			ON s.company_id = p.company_id AND s.digest = ANY (p.person_digests)
			WHERE p.id = rp.profile_id AND p.company_id = rp.company_id) THEN NULL ELSE rp.candidate END AS candidate`).
		Where("rp.run_id = ? AND rp.ordinal > ?", runID, after)
	if len(outcomes) > 0 {
		q = q.Where("rp.outcome IN (?)", bun.In(outcomes))
	}
	if err := q.OrderExpr("rp.ordinal").Limit(int64(limit)).Scan(ctx); err != nil {
		return nil, fmt.Errorf("read results of %s: %w", runID, err)
	}
	return rows, nil
}

// events reads a run's events after a sequence, in order.
func (Store) events(ctx context.Context, db bun.IDB, runID string, after, limit int) ([]eventRow, error) {
	var rows []eventRow
	err := db.NewSelect().Model(&rows).Where("e.run_id = ? AND e.sequence > ?", runID, after).
		OrderExpr("e.sequence").Limit(int64(limit)).Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("read events of %s: %w", runID, err)
	}
	return rows, nil
}

// tails reads the events of many runs, each after its own sequence, in one statement.
func (Store) tails(ctx context.Context, db bun.IDB, after map[string]int) ([]eventRow, error) {
	type cursor struct {
		RunID string
		Seq   int
	}
	cursors := make([]cursor, 0, len(after))
	for id, seq := range after {
		cursors = append(cursors, cursor{id, seq})
	}
	var rows []eventRow
	err := db.NewSelect().With("c", db.NewValues(&cursors)).Model(&rows).
		Join("JOIN c ON e.run_id = c.run_id AND e.sequence > c.seq").
		OrderExpr("e.run_id, e.sequence").Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the events of %d runs: %w", len(after), err)
	}
	return rows, nil
}

// write stores what a settled batch changed: runs, profiles and events, in one statement.
func (Store) write(ctx context.Context, tx bun.IDB, runs []*Run, profiles []*RunProfile, events []eventRow) error {
	ended := runs[:0:0]
	ended = append(ended, runs...)
	q := tx.NewInsert().Model(&events).Returning("NULL")
	q = q.With("runs_now", tx.NewUpdate().With("v", tx.NewValues(&ended)).Model((*Run)(nil)).TableExpr("v").
		Set("status = v.status, queued = v.queued, active = v.active, enriched = v.enriched, partial = v.partial").
		Set("no_match = v.no_match, not_found = v.not_found, suppressed = v.suppressed, timed_out = v.timed_out").
		Set("failed = v.failed, cancelled = v.cancelled, stages = v.stages, captured = v.captured, released = v.released").
		Set("last_sequence = v.last_sequence, failure = v.failure, started_at = v.started_at, finished_at = v.finished_at").
		Where("r.id = v.id"))
	if len(profiles) > 0 {
		q = q.With("profiles_now", tx.NewUpdate().With("v", tx.NewValues(&profiles)).Model((*RunProfile)(nil)).TableExpr("v").
			Set("outcome = v.outcome, stage = v.stage, attempt = v.attempt, candidate = v.candidate, failure = v.failure").
			Set("credits = v.credits, fields_changed = v.fields_changed, waiting_on = v.waiting_on, missing = v.missing").
			Set("started_at = v.started_at, finished_at = v.finished_at").
			Where("rp.run_id = v.run_id AND rp.ordinal = v.ordinal"))
	}
	if _, err := q.Exec(ctx); err != nil {
		return fmt.Errorf("write a settled batch: %w", err)
	}
	return nil
}

// work is what a worker needs to begin: the member, its profile (nil when it
// was erased) and whether the person objected meanwhile.
type work struct {
	member  *RunProfile
	profile *Profile
	status  Status
	test    bool
}

func (s Store) work(ctx context.Context, db bun.IDB, runID, profileID string) (*work, error) {
	var row struct {
		RunProfile `bun:",extend"`
		Status     Status `bun:"run_status,scanonly"`
		Test       bool   `bun:"run_test,scanonly"`
	}
	err := db.NewSelect().Model(&row).ExcludeColumn("candidate").ColumnExpr("r.status AS run_status, r.test AS run_test").
		Join("JOIN runs AS r ON r.id = rp.run_id").Where("rp.run_id = ? AND rp.profile_id = ?", runID, profileID).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s of %s: %w", profileID, runID, err)
	}
	w := &work{member: &row.RunProfile, status: row.Status, test: row.Test}
	w.profile, err = s.profile(ctx, db, row.CompanyID, profileID)
	return w, err
}

// orphans lists open profiles of runs older than age that no live job will settle.
func (Store) orphans(ctx context.Context, db bun.IDB, age time.Duration, limit int) ([]*RunProfile, error) {
	var rows []*RunProfile
	err := db.NewSelect().Model(&rows).ExcludeColumn("candidate").
		Join("JOIN runs AS r ON r.id = rp.run_id").
		Where("r.finished_at IS NULL AND rp.finished_at IS NULL").
		Where("r.created_at < now() - make_interval(secs => ?)", age.Seconds()).
		Where(`NOT EXISTS (SELECT 1 FROM river_job j WHERE j.kind = ? AND j.state IN ('available', 'running', 'retryable', 'scheduled', 'pending')
			AND j.args @> jsonb_build_object('run', rp.run_id, 'profile', rp.profile_id))`, ProfileArgs{}.Kind()).
		Limit(int64(limit)).Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("look for orphaned profiles: %w", err)
	}
	return rows, nil
}

// profile reads one profile of a company, with whether it is suppressed; nil when there is none.
func (s Store) profile(ctx context.Context, db bun.IDB, companyID, id string) (*Profile, error) {
	ps, err := s.profiles(ctx, db, companyID, func(q *bun.SelectQuery) *bun.SelectQuery { return q.Where("p.id = ?", id) })
	if err != nil || len(ps) == 0 {
		return nil, err
	}
	return ps[0], nil
}

// profiles reads profiles of a company, narrowed and ordered by narrow.
func (Store) profiles(ctx context.Context, db bun.IDB, companyID string, narrow func(*bun.SelectQuery) *bun.SelectQuery) ([]*Profile, error) {
	var ps []*Profile
	q := db.NewSelect().Model(&ps).ColumnExpr("p.*").ColumnExpr(suppressedExpr).
		ColumnExpr(`(SELECT max(rp.finished_at) FROM run_profiles rp WHERE rp.profile_id = p.id
			AND rp.outcome IN ('ENRICHED', 'PARTIAL')) AS last_enriched_at`).
		Where("p.company_id = ?", companyID)
	if err := narrow(q).Scan(ctx); err != nil {
		return nil, fmt.Errorf("read profiles: %w", err)
	}
	return ps, nil
}

// newestCandidate reads the newest successful member of a profile; nil when there is none.
func (Store) newestCandidate(ctx context.Context, db bun.IDB, companyID, profileID string) (*RunProfile, error) {
	rp := new(RunProfile)
	err := db.NewSelect().Model(rp).Where("rp.company_id = ? AND rp.profile_id = ?", companyID, profileID).
		Where("rp.outcome IN ('ENRICHED', 'PARTIAL')").OrderExpr("rp.finished_at DESC").Limit(1).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the newest candidate of %s: %w", profileID, err)
	}
	return rp, nil
}

// upsert writes imported profiles, matched on external id. It returns them as
// they stand, and which of their external ids were created and which changed.
func (Store) upsert(ctx context.Context, tx bun.IDB, ps []*Profile) (stored []*Profile, created, changed map[string]bool, err error) {
	var rows []struct {
		ID, ExternalID string
		CreatedAt      time.Time
		UpdatedAt      time.Time
		Created        bool
	}
	err = tx.NewInsert().Model(&ps).ExcludeColumn("created_at", "updated_at").
		On("CONFLICT (company_id, external_id) DO UPDATE").
		Set("name = EXCLUDED.name, headline = EXCLUDED.headline, location = EXCLUDED.location").
		Set("current_company = EXCLUDED.current_company, current_title = EXCLUDED.current_title").
		Set("skills = EXCLUDED.skills, emails = EXCLUDED.emails, links = EXCLUDED.links").
		Set("role_brief = EXCLUDED.role_brief, metadata = EXCLUDED.metadata").
		Set("fingerprint = EXCLUDED.fingerprint, person_digests = EXCLUDED.person_digests, updated_at = now()").
		Where("p.fingerprint <> EXCLUDED.fingerprint").
		Returning("id, external_id, created_at, updated_at, (xmax = 0) AS created").Scan(ctx, &rows)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("write profiles: %w", err)
	}
	created, changed = map[string]bool{}, map[string]bool{}
	for _, r := range rows {
		if r.Created {
			created[r.ExternalID] = true
		} else {
			changed[r.ExternalID] = true
		}
	}
	external := make([]string, len(ps))
	for i, p := range ps {
		external[i] = p.ExternalID
	}
	now, err := Store{}.profiles(ctx, tx, ps[0].CompanyID, func(q *bun.SelectQuery) *bun.SelectQuery {
		return q.Where("p.external_id IN (?)", bun.In(external))
	})
	if err != nil {
		return nil, nil, nil, err
	}
	byID := make(map[string]*Profile, len(now))
	for _, p := range now {
		byID[p.ExternalID] = p
	}
	for _, x := range external {
		stored = append(stored, byID[x])
	}
	return stored, created, changed, nil
}

// suppressedAny reports whether any of digests belongs to a person who objected.
func (Store) suppressedAny(ctx context.Context, db bun.IDB, companyID string, digests [][]byte) (bool, error) {
	if len(digests) == 0 {
		return false, nil
	}
	n, err := db.NewSelect().TableExpr("suppressions").Where("company_id = ? AND digest IN (?)", companyID, bun.In(digests)).Limit(1).Count(ctx)
	if err != nil {
		return false, fmt.Errorf("look for an objection: %w", err)
	}
	return n > 0, nil
}

// insertSuppressions keeps objections by digest; one already kept stays as it is.
func (Store) insertSuppressions(ctx context.Context, tx bun.IDB, rows []*Suppression) error {
	if _, err := tx.NewInsert().Model(&rows).On("CONFLICT (company_id, digest) DO NOTHING").Returning("NULL").Exec(ctx); err != nil {
		return fmt.Errorf("keep an objection: %w", err)
	}
	return nil
}

func (Store) insertImport(ctx context.Context, tx bun.IDB, im *Import) error {
	if _, err := tx.NewInsert().Model(im).Returning("NULL").Exec(ctx); err != nil {
		return fmt.Errorf("keep import %s: %w", im.ID, err)
	}
	return nil
}

func (Store) importOf(ctx context.Context, db bun.IDB, id string) (*Import, error) {
	im := new(Import)
	if err := db.NewSelect().Model(im).Where("i.id = ?", id).Scan(ctx); err != nil {
		return nil, fmt.Errorf("read import %s: %w", id, err)
	}
	return im, nil
}

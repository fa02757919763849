package enrichment

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"github.com/enrichd/enrichd/billing"
	"github.com/enrichd/enrichd/internal/idem"
	"github.com/enrichd/enrichd/internal/pg"
)

// Store holds every SQL statement about this package's tables. Its methods
// take the database or a transaction, so that each joins the caller's.
type Store struct{}

// isSuppressed tells whether the person of profile p objected.
const (
	isSuppressed = `EXISTS (SELECT 1 FROM suppressions s
	WHERE s.company_id = p.company_id AND s.digest = ANY (p.person_digests))`
	suppressedExpr = isSuppressed + ` AS suppressed`
)

// known reads which of ids are profiles of the company, each with whether it is suppressed.
func (Store) known(ctx context.Context, tx bun.Tx, companyID string, ids []string) (map[string]bool, error) {
	const query = `SELECT p.id, ` + suppressedExpr + ` FROM profiles AS p WHERE p.company_id = $1 AND p.id = ANY ($2::text[])`
	rows, err := tx.Tx.QueryContext(ctx, query, companyID, pg.Texts(ids))
	if err != nil {
		return nil, fmt.Errorf("read profiles of a run: %w", err)
	}
	defer rows.Close()
	found := make(map[string]bool, len(ids))
	for rows.Next() {
		var id string
		var suppressed bool
		if err := rows.Scan(&id, &suppressed); err != nil {
			return nil, fmt.Errorf("read profiles of a run: %w", err)
		}
		found[id] = suppressed
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read profiles of a run: %w", err)
	}
	return found, nil
}

// resolve finds profiles by their external ids; see Service.Resolve. An id of
// ours goes before an external id that looks the same.
func (Store) resolve(ctx context.Context, db bun.IDB, companyID string, given []string) (map[string]string, error) {
	var rows []struct{ ID, ExternalID string }
	err := db.NewRaw(`SELECT p.id, p.external_id FROM profiles AS p WHERE p.company_id = ?0 AND p.external_id IN (?1)
		AND NOT EXISTS (SELECT 1 FROM profiles AS o WHERE o.company_id = ?0 AND o.id = p.external_id)`, companyID, bun.List(given)).Scan(ctx, &rows)
	if err != nil {
		return nil, fmt.Errorf("resolve profiles: %w", err)
	}
	own := make(map[string]string, len(rows))
	for _, r := range rows {
		own[r.ExternalID] = r.ID
	}
	return own, nil
}

// runCTE is a run as it was accepted, its members and its first events, as part
// of a statement. The lists are the members' ids, outcomes and given ids, and the events' kinds and data.
const runCTE = `
	run AS (
		INSERT INTO runs (id, company_id, api_key_id, label, test, status, webhook_id, total, queued, enriched, not_found, suppressed,
		                  stages, reserved, released, last_sequence, created_at, finished_at)
		VALUES (:run, :company, :api_key, :label, :test, :status, :webhook, :total, :queued, :enriched, :not_found, :suppressed,
		        :stages, :reserved, :released, :last_sequence, :created_at, :finished_at)
	), members AS (
		INSERT INTO run_profiles (run_id, ordinal, company_id, profile_id, given_id, outcome, finished_at)
		SELECT :run, m.n, :company, m.id, nullif(m.given, ''), m.outcome, CASE WHEN m.outcome <> 'QUEUED' THEN :created_at::timestamptz END
		  FROM unnest(:profiles::text[], :outcomes::text[], :given::text[]) WITH ORDINALITY AS m (id, outcome, given, n)
	), events AS (
		INSERT INTO run_events (run_id, sequence, kind, occurred_at, data)
		SELECT :run, e.n, e.kind, :created_at, e.data::json
		  FROM unnest(:kinds::text[], :data::text[]) WITH ORDINALITY AS e (kind, data, n)
	)`

var runArgs = []string{
	"run", "company", "api_key", "label", "test", "status", "webhook", "total", "queued", "enriched", "not_found", "suppressed",
	"stages", "reserved", "released", "last_sequence", "created_at", "finished_at", "profiles", "outcomes", "given", "kinds", "data",
}

// insertRunSQL has arguments, so that each connection plans it once.
var insertRunSQL = pg.Named("WITH "+runCTE+" SELECT 1", runArgs...)

// insertRun writes a run as it was accepted, its profiles and its first events
// in one statement. Members are numbered in their order, events from 1.
func (Store) insertRun(ctx context.Context, tx bun.Tx, b *book) error {
	args, err := b.args()
	if err == nil {
		_, err = tx.Tx.ExecContext(ctx, insertRunSQL, args...)
	}
	if err != nil {
		return fmt.Errorf("insert run %s: %w", b.run.ID, err)
	}
	return nil
}

// args are the arguments of runCTE, in the order of runArgs.
func (b *book) args() ([]any, error) {
	run := b.run
	stages, err := json.Marshal(run.Stages)
	if err != nil {
		return nil, fmt.Errorf("stages: %w", err)
	}
	var ids, outcomes, given, kinds, data pg.Texts // given stays empty where nothing else than ids was
	for i, m := range b.members {
		ids, outcomes = append(ids, m.ProfileID), append(outcomes, string(m.Outcome))
		if m.GivenID != nil {
			given = append(given, make([]string, i-len(given))...)
			given = append(given, *m.GivenID)
		}
	}
	for _, e := range b.log.rows {
		kinds, data = append(kinds, e.Kind), append(data, string(e.Data))
	}
	p := run.Progress
	return []any{
		run.ID, run.CompanyID, run.APIKeyID, run.Label, run.Test, string(run.Status), run.WebhookID,
		p.Total, p.Queued, p.Enriched, p.NotFound, p.Suppressed, string(stages), run.Reserved, run.Released, run.LastSequence, run.CreatedAt, run.FinishedAt,
		ids, outcomes, given, kinds, data,
	}, nil
}

// acceptSQL is the whole accept of an ordinary run in one statement: claim, run
// and hold, with what must hold for it to count.
var acceptSQL = pg.Named("WITH "+idem.ClaimCTE+","+runCTE+","+billing.ReserveCTE+`
	SELECT (SELECT count(*) FROM taken),
	       (SELECT count(*) FROM profiles AS p WHERE p.company_id = :company AND p.id = ANY (:profiles::text[])
	           AND NOT EXISTS (SELECT 1 FROM suppressions s WHERE s.company_id = p.company_id AND s.digest = ANY (p.person_digests))),
	       (SELECT count(*) FROM entries)`,
	append(slices.Clone(runArgs), "operation", "key", "fingerprint", "resource", "hold", "settled", "required", "expires_at", "actor")...)

// accept writes a run all of whose profiles are open. It reports false when the
// claim was made before, a profile is unknown or suppressed, or the credits fall
// short: the caller then rolls back and finds out which, step by step.
func (Store) accept(ctx context.Context, tx bun.Tx, b *book, claim idem.Claim, r billing.Reservation) (bool, error) {
	args, err := b.args()
	if err != nil {
		return false, fmt.Errorf("accept run %s: %w", b.run.ID, err)
	}
	args = append(args, claim.Operation, claim.Key, claim.Fingerprint, claim.ResourceID, r.Hold, r.Settled, r.Required, r.ExpiresAt, r.Actor)
	var claimed, known, held int
	if err := tx.Tx.QueryRowContext(ctx, acceptSQL, args...).Scan(&claimed, &known, &held); err != nil {
		return false, fmt.Errorf("accept run %s: %w", b.run.ID, err)
	}
	return (claimed == 1 || claim.Key == "") && known == len(b.members) && held == 1, nil
}

// lock reads runs in id order and holds their rows until the transaction ends.
func (Store) lock(ctx context.Context, tx bun.IDB, ids []string) ([]*Run, error) {
	var runs []*Run
	err := tx.NewSelect().Model(&runs).Where("r.id IN (?)", bun.List(ids)).OrderExpr("r.id").For("UPDATE").Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("lock runs: %w", err)
	}
	return runs, nil
}

// members reads the profiles of runs without their candidates. Read after lock,
// what it gives cannot change until the transaction ends.
func (Store) members(ctx context.Context, db bun.IDB, runIDs []string) (map[string][]*RunProfile, error) {
	var rows []*RunProfile
	err := db.NewSelect().Model(&rows).ExcludeColumn("candidate").Where("rp.run_id IN (?)", bun.List(runIDs)).
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

// holdsEvent reports whether one event of a run is still there.
func (Store) holdsEvent(ctx context.Context, db bun.IDB, runID string, sequence int) (bool, error) {
	found, err := db.NewSelect().Model((*eventRow)(nil)).Where("e.run_id = ? AND e.sequence = ?", runID, sequence).Exists(ctx)
	if err != nil {
		return false, fmt.Errorf("look for event %d of %s: %w", sequence, runID, err)
	}
	return found, nil
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
		Set("reserved = v.reserved, cancel_reason = v.cancel_reason").
		Where("r.id = v.id"))
	if len(profiles) > 0 {
		q = q.With("profiles_now", tx.NewUpdate().With("v", tx.NewValues(&profiles)).Model((*RunProfile)(nil)).TableExpr("v").
			Set("outcome = v.outcome, stage = v.stage, attempt = v.attempt, candidate = v.candidate, failure = v.failure").
			Set("credits = v.credits, fields_changed = v.fields_changed, waiting_on = v.waiting_on, missing = v.missing").
			Set("person_digests = v.person_digests").
			Set("fingerprint = v.fingerprint, started_at = v.started_at, finished_at = v.finished_at").
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

// orphans lists open profiles of runs (of one run, unless runID is "") older than age that no live job will settle.
func (Store) orphans(ctx context.Context, db bun.IDB, runID string, age time.Duration, limit int) ([]*RunProfile, error) {
	var rows []*RunProfile
	q := db.NewSelect().Model(&rows).ExcludeColumn("candidate").
		Join("JOIN runs AS r ON r.id = rp.run_id").
		Where("r.finished_at IS NULL AND rp.finished_at IS NULL").
		Where("r.created_at < now() - make_interval(secs => ?)", age.Seconds()).
		Where(`NOT EXISTS (SELECT 1 FROM river_job j WHERE j.kind = ? AND j.state IN ('available', 'running', 'retryable', 'scheduled', 'pending')
			AND j.args @> jsonb_build_object('run', rp.run_id, 'profile', rp.profile_id))`, ProfileArgs{}.Kind()).
		Limit(int64(limit))
	if runID != "" {
		q = q.Where("r.id = ?", runID)
	}
	if err := q.Scan(ctx); err != nil {
		return nil, fmt.Errorf("look for orphaned profiles: %w", err)
	}
	return rows, nil
}

// jobs lists the jobs of members that have not ended.
func (Store) jobs(ctx context.Context, db bun.IDB, runID string, of []*RunProfile) ([]int64, error) {
	profiles := make([]string, len(of))
	for i, m := range of {
		profiles[i] = m.ProfileID
	}
	var ids []int64
	err := db.NewRaw(`SELECT j.id FROM river_job AS j
		 WHERE j.kind = ? AND j.state IN ('available', 'running', 'retryable', 'scheduled', 'pending')
		   AND j.args @> jsonb_build_object('run', ?::text) AND j.args ->> 'profile' IN (?) ORDER BY j.id`,
		ProfileArgs{}.Kind(), runID, bun.List(profiles)).Scan(ctx, &ids)
	if err != nil {
		return nil, fmt.Errorf("look for the jobs of %s: %w", runID, err)
	}
	return ids, nil
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
	q := db.NewSelect().Model(&ps).ColumnExpr("?TableColumns").ColumnExpr(suppressedExpr).
		ColumnExpr(`(SELECT max(rp.finished_at) FROM run_profiles rp WHERE rp.profile_id = p.id
			AND rp.outcome IN ('ENRICHED', 'PARTIAL')) AS last_enriched_at`).
		Where("p.company_id = ?", companyID)
	if err := narrow(q).Scan(ctx); err != nil {
		return nil, fmt.Errorf("read profiles: %w", err)
	}
	return ps, nil
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
		return q.Where("p.external_id IN (?)", bun.List(external))
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
	n, err := db.NewSelect().TableExpr("suppressions").Where("company_id = ? AND digest IN (?)", companyID, bun.List(digests)).Limit(1).Count(ctx)
	if err != nil {
		return false, fmt.Errorf("look for an objection: %w", err)
	}
	return n > 0, nil
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

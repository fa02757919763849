package jobs

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/riverdriver/riverdatabasesql"
	"github.com/riverqueue/river/rivertype"
)

// driver is River's own for database/sql, but for two things that a busy accept pays for.
//
// It keeps River from notifying inside the business transaction, where NOTIFY
// takes a lock for the whole server until the commit, and where the limit on
// River's own notifications drops the ones that come too soon; see announce.
//
// And it inserts jobs that differ in their arguments only with a statement that
// carries what they share once, not in twelve arrays, which were a third of what
// an accept cost the program.
type driver struct{ *riverdatabasesql.Driver }

func (driver) SupportsListenNotify() bool { return false }

func (d driver) UnwrapExecutor(tx *sql.Tx) riverdriver.ExecutorTx {
	return executor{d.Driver.UnwrapExecutor(tx), tx}
}

func (driver) UnwrapTx(e riverdriver.ExecutorTx) *sql.Tx { return e.(executor).tx }

type executor struct {
	riverdriver.ExecutorTx
	tx *sql.Tx
}

// alikeSQL writes the row that River would (contract_test.go compares them).
const alikeSQL = `
INSERT INTO river_job (args, kind, max_attempts, priority, queue, state, tags)
SELECT a.args, $2::text, $3::smallint, $4::smallint, $5::text, 'available', '{}'
  FROM jsonb_array_elements($1::jsonb) AS a (args)`

// JobInsertFastManyNoReturning implements riverdriver.Executor.
func (e executor) JobInsertFastManyNoReturning(ctx context.Context, params *riverdriver.JobInsertFastManyParams) (int, error) {
	if params.Schema != "" || !alike(params.Jobs) {
		return e.ExecutorTx.JobInsertFastManyNoReturning(ctx, params)
	}
	first := params.Jobs[0]
	args := []byte{'['}
	for i, job := range params.Jobs {
		if i > 0 {
			args = append(args, ',')
		}
		args = append(args, job.EncodedArgs...)
	}
	args = append(args, ']')
	res, err := e.tx.ExecContext(ctx, alikeSQL, string(args), first.Kind, first.MaxAttempts, first.Priority, first.Queue)
	if err != nil {
		return 0, fmt.Errorf("jobs that are alike: %w", err)
	}
	n, err := res.RowsAffected()
	return int(n), err
}

// alike reports whether jobs are due now, plain, and the same but for their arguments.
func alike(jobs []*riverdriver.JobInsertFastParams) bool {
	for _, j := range jobs {
		first := jobs[0]
		if j.Kind != first.Kind || j.Queue != first.Queue || j.MaxAttempts != first.MaxAttempts || j.Priority != first.Priority ||
			j.State != rivertype.JobStateAvailable || len(j.EncodedArgs) == 0 || j.ID != nil || j.CreatedAt != nil || j.ScheduledAt != nil ||
			len(j.Tags) > 0 || len(j.UniqueKey) > 0 || len(j.Metadata) > 0 && string(j.Metadata) != "{}" {
			return false
		}
	}
	return len(jobs) > 0
}

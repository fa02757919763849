package jobs_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/riverdriver/riverdatabasesql"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivertype"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/driver/pgdriver"

	"github.com/enrichd/enrichd/internal/jobs"
	"github.com/enrichd/enrichd/internal/pg"
	"github.com/enrichd/enrichd/internal/pgtest"
	"github.com/enrichd/enrichd/internal/wake"
)

// What we rely on from River, inserting on pgdriver inside a Bun transaction and
// working on pgx. pgdriver substitutes parameters itself and trips over an
// apostrophe in an SQL comment, so any release of River can break this silently:
// run it before every upgrade.

type contractArgs struct {
	Name string `json:"name" river:"unique"`
}

func (contractArgs) Kind() string { return "contract" }

type tickArgs struct{}

func (tickArgs) Kind() string { return "contract_tick" }

// contract is an inserting client on pgdriver over one migrated database.
type contract struct {
	db       *pgtest.DB
	inserter *river.Client[*sql.Tx]
}

func setup(t *testing.T) contract {
	t.Helper()
	db := pgtest.New(t)
	inserter, err := river.NewClient(riverdatabasesql.New(db.Bun.DB), &river.Config{FetchCooldown: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return contract{db, inserter}
}

var errUndo = errors.New("undo")

// inTx commits when keep, and rolls back otherwise.
func (c contract) inTx(t *testing.T, keep bool, f func(ctx context.Context, tx bun.Tx) error) {
	t.Helper()
	err := pg.InTx(t.Context(), c.db.Bun, func(ctx context.Context, tx bun.Tx) error {
		if err := f(ctx, tx); err != nil {
			return err
		}
		if !keep {
			return errUndo
		}
		return nil
	})
	if err != nil && (keep || !errors.Is(err, errUndo)) {
		t.Fatal(err)
	}
}

func (c contract) states(t *testing.T) map[rivertype.JobState]int {
	t.Helper()
	var rows []struct {
		State rivertype.JobState
		N     int
	}
	if err := c.db.Bun.NewRaw("SELECT state::text AS state, count(*) AS n FROM river_job GROUP BY state").Scan(t.Context(), &rows); err != nil {
		t.Fatal(err)
	}
	states := map[rivertype.JobState]int{}
	for _, r := range rows {
		states[r.State] = r.N
	}
	return states
}

func TestInsertingInABunTransaction(t *testing.T) {
	t.Parallel()
	for _, keep := range []bool{true, false} {
		name, want := "is undone by a rollback", 0
		if keep {
			name, want = "is kept by a commit", 1
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for what, insert := range map[string]struct {
				n  int
				do func(contract, context.Context, *sql.Tx) error
			}{
				"InsertTx": {1, func(c contract, ctx context.Context, tx *sql.Tx) error {
					_, err := c.inserter.InsertTx(ctx, tx, contractArgs{"one's own -- $1 ?"}, &river.InsertOpts{Tags: []string{"tag"}, MaxAttempts: 3})
					return err
				}},
				"InsertManyTx": {10, func(c contract, ctx context.Context, tx *sql.Tx) error {
					var params []river.InsertManyParams
					for i := range 10 {
						params = append(params, river.InsertManyParams{Args: contractArgs{string(rune('a' + i))}, InsertOpts: &river.InsertOpts{Queue: "other"}})
					}
					res, err := c.inserter.InsertManyTx(ctx, tx, params)
					if err == nil && (len(res) != 10 || res[9].Job.ID == 0) {
						return errors.New("the results do not name the jobs")
					}
					return err
				}},
				"a unique insert, twice": {1, func(c contract, ctx context.Context, tx *sql.Tx) error {
					opts := &river.InsertOpts{UniqueOpts: river.UniqueOpts{ByArgs: true}}
					first, err := c.inserter.InsertTx(ctx, tx, contractArgs{"only"}, opts)
					if err != nil {
						return err
					}
					second, err := c.inserter.InsertTx(ctx, tx, contractArgs{"only"}, opts)
					if err != nil {
						return err
					}
					if first.UniqueSkippedAsDuplicate || !second.UniqueSkippedAsDuplicate || first.Job.ID != second.Job.ID {
						return errors.New("the second was not recognised")
					}
					return nil
				}},
			} {
				c := setup(t)
				c.inTx(t, keep, func(ctx context.Context, tx bun.Tx) error { return insert.do(c, ctx, tx.Tx) })
				if got := c.states(t)[rivertype.JobStateAvailable]; got != insert.n*want {
					t.Errorf("%s: %d jobs, want %d", what, got, insert.n*want)
				}
			}
		})
		t.Run("and a cancellation "+name, func(t *testing.T) {
			t.Parallel()
			c := setup(t)
			job, err := c.inserter.Insert(t.Context(), contractArgs{"x"}, nil)
			if err != nil {
				t.Fatal(err)
			}
			c.inTx(t, keep, func(ctx context.Context, tx bun.Tx) error {
				_, err := c.inserter.JobCancelTx(ctx, tx.Tx, job.Job.ID)
				return err
			})
			if got := c.states(t)[rivertype.JobStateCancelled]; got != want {
				t.Fatalf("%d cancelled jobs, want %d", got, want)
			}
		})
	}
	t.Run("keeps its arguments exactly", func(t *testing.T) {
		t.Parallel()
		c := setup(t)
		const text = `it's "quoted" \ -- $1 ? ä 你`
		c.inTx(t, true, func(ctx context.Context, tx bun.Tx) error {
			_, err := c.inserter.InsertTx(ctx, tx.Tx, contractArgs{text}, nil)
			return err
		})
		var got string
		if err := c.db.Bun.NewRaw("SELECT args->>'name' FROM river_job").Scan(t.Context(), &got); err != nil || got != text {
			t.Fatalf("got %q, %v", got, err)
		}
	})
}

func TestJobsThatAreAlike(t *testing.T) {
	t.Parallel()
	c := setup(t)
	inserter, err := jobs.NewInserter(c.db.Bun, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	opts := func(o river.InsertOpts) *river.InsertOpts { return &o }
	const text = `it's "quoted" \ -- $1 ? ä 你`
	for name, params := range map[string][]river.InsertManyParams{
		"ten of a kind":    {{Args: contractArgs{text}, InsertOpts: opts(river.InsertOpts{Queue: "q", MaxAttempts: 3, Priority: 2})}, {Args: contractArgs{"b"}, InsertOpts: opts(river.InsertOpts{Queue: "q", MaxAttempts: 3, Priority: 2})}},
		"by their default": {{Args: contractArgs{"a"}}, {Args: contractArgs{"b"}}},
		"two queues":       {{Args: contractArgs{"a"}, InsertOpts: opts(river.InsertOpts{Queue: "q"})}, {Args: contractArgs{"b"}}},
		"two kinds":        {{Args: contractArgs{"a"}}, {Args: tickArgs{}}},
		"with a tag":       {{Args: contractArgs{"a"}, InsertOpts: opts(river.InsertOpts{Tags: []string{"tag"}})}},
		"with metadata":    {{Args: contractArgs{"a"}, InsertOpts: opts(river.InsertOpts{Metadata: []byte(`{"m": 1}`)})}},
		"for later":        {{Args: contractArgs{"a"}, InsertOpts: opts(river.InsertOpts{ScheduledAt: time.Now().Add(time.Hour)})}},
		"only once":        {{Args: contractArgs{"a"}, InsertOpts: opts(river.InsertOpts{UniqueOpts: river.UniqueOpts{ByArgs: true}})}},
	} {
		var rows [2]string
		for i, insert := range []func(context.Context, bun.Tx) error{
			func(ctx context.Context, tx bun.Tx) error {
				_, err := c.inserter.InsertManyFastTx(ctx, tx.Tx, params)
				return err
			},
			func(ctx context.Context, tx bun.Tx) error { return inserter.Add(ctx, tx, params) },
		} {
			c.inTx(t, false, func(ctx context.Context, tx bun.Tx) error {
				if err := insert(ctx, tx); err != nil {
					return err
				}
				// Every column that River has, but the id and the times, which come from another clock.
				return tx.NewRaw(`SELECT json_agg(to_jsonb(j) - 'id' - 'created_at' - 'scheduled_at' || jsonb_build_object(
					'due', scheduled_at <= now() + interval '1 minute', 'made', created_at BETWEEN now() - interval '1 minute' AND now() + interval '1 minute') ORDER BY j.id)
					FROM river_job AS j`).Scan(ctx, &rows[i])
			})
		}
		if rows[0] == "" || rows[0] != rows[1] {
			t.Errorf("%s: ours differs from what River writes:\n%s\n%s", name, rows[1], rows[0])
		}
	}
}

// seen collects what ran, and lets a test wait for it.
type seen struct {
	mu    sync.Mutex
	names []string
	news  chan struct{}
}

func (s *seen) add(name string) {
	s.mu.Lock()
	s.names = append(s.names, name)
	s.mu.Unlock()
	s.news <- struct{}{}
}

func (s *seen) count(name string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, seen := range s.names {
		if seen == name {
			n++
		}
	}
	return n
}

func (s *seen) wait(t *testing.T, name string, within time.Duration) {
	t.Helper()
	timeout := time.After(within)
	for s.count(name) == 0 {
		select {
		case <-s.news:
		case <-timeout:
			t.Fatalf("%s did not run within %s", name, within)
		}
	}
}

// work starts a working client whose poll is so slow that only a notification
// can explain a job that runs soon.
func (c contract) work(t *testing.T) *seen {
	t.Helper()
	ran := &seen{news: make(chan struct{}, 1000)}
	workers := river.NewWorkers()
	river.AddWorker(workers, river.WorkFunc(func(_ context.Context, job *river.Job[contractArgs]) error {
		ran.add(job.Args.Name)
		return nil
	}))
	river.AddWorker(workers, river.WorkFunc(func(context.Context, *river.Job[tickArgs]) error {
		ran.add("tick")
		return nil
	}))
	client, err := river.NewClient(riverpgxv5.New(c.db.Pool(t)), &river.Config{
		Queues:            map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 4}},
		Workers:           workers,
		FetchCooldown:     10 * time.Millisecond,
		FetchPollInterval: time.Minute,
		PeriodicJobs: []*river.PeriodicJob{
			river.NewPeriodicJob(river.PeriodicInterval(time.Hour), func() (river.JobArgs, *river.InsertOpts) { return tickArgs{}, nil },
				&river.PeriodicJobOpts{RunOnStart: true}),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Start(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
		defer cancel()
		if err := client.Stop(ctx); err != nil {
			t.Errorf("stop river: %v", err)
		}
	})
	return ran
}

func TestWorkingOnPgx(t *testing.T) {
	t.Parallel()
	t.Run("leads, and therefore runs periodic jobs", func(t *testing.T) {
		t.Parallel()
		c := setup(t)
		ran := c.work(t)
		ran.wait(t, "tick", 20*time.Second)
		var leaders int
		if err := c.db.Pool(t).QueryRow(t.Context(), "SELECT count(*) FROM river_leader").Scan(&leaders); err != nil || leaders != 1 {
			t.Fatalf("%d leaders, %v", leaders, err)
		}
	})
	t.Run("is woken by an insert on pgdriver, and never sees one rolled back", func(t *testing.T) {
		t.Parallel()
		c := setup(t)
		ran := c.work(t)
		// The periodic job also shows that the client listens by now.
		ran.wait(t, "tick", 20*time.Second)
		insert := func(keep bool, name string) {
			c.inTx(t, keep, func(ctx context.Context, tx bun.Tx) error {
				_, err := c.inserter.InsertTx(ctx, tx.Tx, contractArgs{name}, nil)
				return err
			})
		}
		insert(true, "first")
		ran.wait(t, "first", 10*time.Second)
		insert(false, "undone")
		c.waitOutCooldown(t)
		insert(true, "second")
		ran.wait(t, "second", 10*time.Second)
		if ran.count("undone") != 0 || ran.count("first") != 1 || ran.count("second") != 1 {
			t.Fatalf("ran %q", ran.names)
		}
	})
	t.Run("is woken by what our inserter announces behind the commit, each time and at once", func(t *testing.T) {
		t.Parallel()
		c := setup(t)
		ran := c.work(t)
		ran.wait(t, "tick", 20*time.Second)
		announcer := wake.NewPostgres(c.db.DSN, slog.New(slog.DiscardHandler))
		if err := announcer.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = announcer.Stop(context.Background()) }()
		inserter, err := jobs.NewInserter(c.db.Bun, announcer, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 20 { // sooner one behind the other than River itself would notify
			name := fmt.Sprint(i)
			job := river.InsertManyParams{Args: contractArgs{name}}
			c.inTx(t, false, func(ctx context.Context, tx bun.Tx) error {
				return inserter.Add(ctx, tx, []river.InsertManyParams{{Args: contractArgs{"undone"}}})
			})
			c.inTx(t, true, func(ctx context.Context, tx bun.Tx) error {
				if i%2 == 0 {
					return inserter.Add(pg.Last(ctx), tx, []river.InsertManyParams{job})
				}
				_, err := inserter.InsertMany(ctx, tx, []river.InsertManyParams{job})
				return err
			})
			ran.wait(t, name, 10*time.Second)
		}
		if ran.count("undone") != 0 {
			t.Fatal("a job that was rolled back ran")
		}
	})
	t.Run("runs a job inserted before it started", func(t *testing.T) {
		t.Parallel()
		c := setup(t)
		c.inTx(t, true, func(ctx context.Context, tx bun.Tx) error {
			_, err := c.inserter.InsertManyTx(ctx, tx.Tx, []river.InsertManyParams{{Args: contractArgs{"early"}}})
			return err
		})
		c.work(t).wait(t, "early", 20*time.Second)
	})
}

// waitOutCooldown waits until the inserting client may notify again: the insert
// that was rolled back has used up its turn.
func (c contract) waitOutCooldown(t *testing.T) {
	t.Helper()
	select {
	case <-time.After(30 * time.Millisecond):
	case <-t.Context().Done():
	}
}

// The election carries such a comment. On bare pgdriver nothing could work jobs:
// a client would look alive and never rescue, retry or schedule. The guard
// prepares what has arguments, so that the server itself reads the comment.
func TestLeadingOnPgdriver(t *testing.T) {
	t.Parallel()
	c := setup(t)
	elect := func(db *sql.DB) error {
		_, err := riverdatabasesql.New(db).GetExecutor().LeaderAttemptElect(t.Context(),
			&riverdriver.LeaderElectParams{LeaderID: "node", TTL: time.Minute})
		return err
	}
	if err := elect(c.db.Bun.DB); err != nil {
		t.Errorf("through the guard: %v", err)
	}
	socket, err := pgx.ParseConfig(c.db.DSN)
	if err != nil {
		t.Fatal(err)
	}
	bare := sql.OpenDB(pgdriver.NewConnector(pgdriver.WithNetwork("unix"),
		pgdriver.WithAddr(fmt.Sprintf("%s/.s.PGSQL.%d", socket.Host, socket.Port)), pgdriver.WithInsecure(true),
		pgdriver.WithUser(socket.User), pgdriver.WithPassword(socket.Password), pgdriver.WithDatabase(socket.Database)))
	defer bare.Close()
	if strings.HasPrefix(socket.Host, "/") {
		if err := elect(bare); pg.Code(err) != "42P02" {
			t.Errorf("bare: got %v, want 42P02: River has changed its election; read what else changed", err)
		}
	}
}

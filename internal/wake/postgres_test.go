package wake_test

import (
	"log/slog"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/enrichd/enrichd/internal/pgtest"
	"github.com/enrichd/enrichd/internal/wake"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T, dsn string) *wake.Postgres {
	t.Helper()
	p := wake.NewPostgres(dsn, slog.New(slog.DiscardHandler))
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	})
	return p
}

func TestPostgres(t *testing.T) {
	t.Parallel()
	t.Run("sends what was published right before it stopped", func(t *testing.T) {
		t.Parallel()
		db := pgtest.New(t)
		heard := make(chan []string, 100)
		defer start(t, db.DSN).Notify(func(ids []string) { heard <- ids })()
		for _, id := range []string{"key:1", "key:2", "key:3"} {
			brief := start(t, db.DSN)
			brief.Publish(id)
			if err := brief.Stop(t.Context()); err != nil {
				t.Fatal(err)
			}
			for got := []string(nil); !slices.Contains(got, id); {
				select {
				case got = <-heard:
				case <-time.After(20 * time.Second):
					t.Fatalf("%s was never heard of", id)
				}
			}
		}
	})
	t.Run("wakes its own readers without a round trip", func(t *testing.T) {
		t.Parallel()
		p := start(t, pgtest.New(t).DSN)
		heard := make(chan []string, 10)
		defer p.Notify(func(ids []string) { heard <- ids })()
		p.Publish("run")
		select {
		case <-heard:
		default:
			t.Error("they sleep on")
		}
	})
}

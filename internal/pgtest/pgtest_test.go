package pgtest_test

import (
	"testing"

	"github.com/enrichd/enrichd/internal/pgtest"
)

func TestNew(t *testing.T) {
	t.Parallel()
	t.Run("lends a migrated database", func(t *testing.T) {
		t.Parallel()
		db := pgtest.New(t)
		var companies int
		if err := db.Bun.NewRaw("SELECT count(*) FROM companies, river_job").Scan(t.Context(), &companies); err != nil {
			t.Fatal(err)
		}
		if err := db.Pool(t).Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

func BenchmarkNew(b *testing.B) {
	pgtest.New(b)
	for b.Loop() {
		pgtest.Empty(b)
	}
}

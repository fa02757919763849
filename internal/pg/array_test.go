package pg_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/enrichd/enrichd/internal/pg"
)

func TestTexts(t *testing.T) {
	t.Parallel()
	b := setup(t)
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.SliceOf(rapid.StringMatching(`[a-zà-ü"\\{}, ]*`)).Draw(t, "texts")
		rows, err := b.guarded.DB.Query("SELECT s FROM unnest($1::text[]) WITH ORDINALITY AS t (s, n) ORDER BY n", pg.Texts(want))
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		for i := 0; rows.Next(); i++ {
			var got string
			if err := rows.Scan(&got); err != nil || got != want[i] {
				t.Fatalf("element %d: %q, %v; want %q", i, got, err, want[i])
			}
		}
		if rows.Err() != nil {
			t.Fatal(rows.Err())
		}
	})
}

func TestNamed(t *testing.T) {
	t.Parallel()
	got := pg.Named("SELECT :a::text, :b, :a WHERE x::int = :b", "b", "a")
	if want := "SELECT $2::text, $1, $2 WHERE x::int = $1"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for name, f := range map[string]func(){
		"an unknown name": func() { pg.Named("SELECT :c", "a") },
		"an unused name":  func() { pg.Named("SELECT :a", "a", "b") },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s is taken", name)
				}
			}()
			f()
		}()
	}
}

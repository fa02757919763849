package dispatch

import (
	"context"
	"net/http"
	"testing"

	"github.com/uptrace/bun"

	"github.com/enrichd/enrichd/internal/pg"
)

func TestErase(t *testing.T) {
	t.Parallel()
	b := setup(t)
	e := b.event(nil)
	answer := func(w http.ResponseWriter) { _, _ = w.Write([]byte("you said: somebody's name")) }
	erase := func() {
		err := pg.InTx(context.Background(), b.DB, func(ctx context.Context, tx bun.Tx) error {
			return b.Erase(ctx, tx, e.CompanyID, []string{e.RunID})
		})
		if err != nil {
			t.Error(err)
		}
	}
	traces := func() int {
		return b.count(`SELECT (SELECT count(*) FROM deliveries WHERE body IS NOT NULL)
			+ (SELECT count(*) FROM delivery_attempts WHERE response_body IS NOT NULL OR response_sha256 IS NOT NULL OR response_headers IS NOT NULL)`)
	}
	meanwhile := false
	hook := b.receive(false, func(w http.ResponseWriter, _ *http.Request, _ int) {
		if meanwhile {
			erase()
		}
		answer(w)
	})
	b.webhook(hook.URL, nil)
	b.work()

	t.Run("destroys what was sent and answered", func(t *testing.T) {
		b.publish(e)
		b.ended(1)
		if traces() != 2 {
			t.Fatalf("%d traces before", traces())
		}
		erase()
		if n := traces(); n != 0 {
			t.Errorf("%d traces are left", n)
		}
	})
	t.Run("keeps nothing of an answer that comes meanwhile", func(t *testing.T) {
		meanwhile = true
		b.publish(e)
		b.ended(2)
		if n := traces(); n != 0 {
			t.Errorf("%d traces are left", n)
		}
	})
}

package trail

import (
	"context"
	"log/slog"
	"testing"
)

func TestTrail(t *testing.T) {
	t.Parallel()
	if Add(context.Background(), slog.Int("a", 1)) || Known(context.Background()) != nil {
		t.Error("something is gathered without a request")
	}
	ctx, trail := Begin(t.Context())
	if !Add(ctx, slog.String("key_id", "k"), slog.Int("n", 1)) || !Add(ctx, slog.Int("n", 2)) {
		t.Error("what is learned on the way is not gathered")
	}
	if got := trail.End(); len(got) != 2 || got[0].Value.String() != "k" || got[1].Value.Int64() != 2 {
		t.Errorf("%v", got)
	}
	if Add(ctx, slog.Int("late", 1)) {
		t.Error("a line that was written still grows")
	}
	if len(Known(ctx)) != 3 {
		t.Error("a socket's operation does not know whose it is")
	}
}

package fault_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/enrichd/enrichd/internal/fault"
)

func TestUsers(t *testing.T) {
	t.Parallel()
	one, two, broken := fault.Invalid("a", "bad"), fault.NotFound{}, errors.New("broken")
	for name, c := range map[string]struct {
		err      error
		refusals int
		rest     bool
	}{
		"nothing":                  {nil, 0, false},
		"a refusal":                {one, 1, false},
		"a wrapped refusal":        {fmt.Errorf("transaction: %w", one), 1, false},
		"joined refusals":          {errors.Join(one, two), 2, false},
		"joined, then wrapped":     {fmt.Errorf("transaction: %w", errors.Join(one, fmt.Errorf("again: %w", two))), 2, false},
		"a refusal beside a fault": {fmt.Errorf("transaction: %w", errors.Join(one, broken)), 1, true},
		"a fault":                  {fmt.Errorf("read: %w", broken), 0, true},
		"joined faults":            {errors.Join(broken, broken), 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			refusals, rest := fault.Users(c.err)
			if len(refusals) != c.refusals || (rest != nil) != c.rest || c.rest && !errors.Is(rest, broken) {
				t.Errorf("%v, rest %v", refusals, rest)
			}
		})
	}
}

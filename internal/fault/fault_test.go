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

func TestCharacters(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"": "", "abcde": "", "äöüßé": "", "日本語日本": "", "😀😀😀😀😀": "", "e\u0301e\u0301e": "",
		"abcdef": "must be at most 5 characters long, not 6", "äöüßéè": "must be at most 5 characters long, not 6", "😀😀😀😀😀😀": "must be at most 5 characters long, not 6",
		"a\x00": "must not contain NUL bytes", "a\xff": "must be valid UTF-8",
	} {
		got := ""
		if err := fault.Characters("name", text, 5); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q: %q", text, got)
		}
	}
}

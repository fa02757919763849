package scalar_test

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/99designs/gqlgen/graphql"

	"github.com/enrichd/enrichd/graph/scalar"
	"github.com/enrichd/enrichd/internal/fault"
)

func wire(m graphql.Marshaler) string {
	var b strings.Builder
	m.MarshalGQL(&b)
	return b.String()
}

// check runs a reader over values it must take, with what they become, and values it must refuse.
func check[T comparable](t *testing.T, read func(any) (T, error), good map[any]T, bad ...any) {
	t.Helper()
	for in, want := range good {
		if got, err := read(in); err != nil || got != want {
			t.Errorf("%#v: %v, %v; not %v", in, got, err, want)
		}
	}
	for _, in := range bad {
		var refusal fault.InvalidInput
		if got, err := read(in); !errors.As(err, &refusal) {
			t.Errorf("%#v: %v, %v; not refused", in, got, err)
		}
	}
}

func TestScalars(t *testing.T) {
	t.Parallel()
	t.Run("strings and ids are UTF-8 without NUL", func(t *testing.T) {
		t.Parallel()
		check(t, scalar.UnmarshalString, map[any]string{"": "", "наука 🙂": "наука 🙂"}, "a\x00", "\xff", 1, nil, true, map[string]any{})
		check(t, scalar.UnmarshalID, map[any]string{"x": "x", 7: "7", int64(-7): "-7", json.Number("9223372036854775807"): "9223372036854775807"}, "a\x00", "\xff", json.Number("1.5"), 1.0, nil)
		if got := wire(scalar.MarshalString("a\"\n")); got != `"a\"\n"` {
			t.Error(got)
		}
	})
	t.Run("timestamps are RFC 3339, written in UTC to the millisecond", func(t *testing.T) {
		t.Parallel()
		check(t, scalar.UnmarshalDateTime, map[any]time.Time{
			"2026-01-31T12:00:00Z":              time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC),
			"2026-01-31T12:00:00.9999999+02:00": time.Date(2026, 1, 31, 10, 0, 0, 999e6, time.UTC),
		}, "", "yesterday", "2026-01-31", "2026-01-31 12:00:00", "0000-01-01T00:00:00Z", "9999-12-31T23:59:59-01:00", 5, nil)
		if got := wire(scalar.MarshalDateTime(time.Date(2026, 1, 31, 12, 0, 0, 5e6+1, time.FixedZone("", 3600)))); got != `"2026-01-31T11:00:00.005Z"` {
			t.Error(got)
		}
		if got := wire(scalar.MarshalDateTime(time.Time{})); got != "null" {
			t.Error(got)
		}
	})
	t.Run("credits are whole numbers of 64 bits", func(t *testing.T) {
		t.Parallel()
		check(t, scalar.UnmarshalCredits, map[any]int64{
			5: 5, int64(math.MaxInt64): math.MaxInt64, json.Number("9223372036854775807"): math.MaxInt64, json.Number("1e3"): 1000, 10.0: 10, json.Number("-3"): -3,
		}, 1.5, json.Number("9223372036854775808"), json.Number("1e400"), "5", nil, math.NaN(), math.Inf(1))
		if got := wire(scalar.MarshalCredits(math.MaxInt64)); got != "9223372036854775807" {
			t.Error(got)
		}
	})
	t.Run("decimals are exact", func(t *testing.T) {
		t.Parallel()
		check(t, scalar.UnmarshalDecimal, map[any]string{"12.50": "12.50", "0": "0", "-0.001": "-0.001"}, "", "1e3", "01", "+1", "1.", ".5", 1.5, strings.Repeat("9", 41))
	})
	t.Run("URLs are absolute, http or https, without user information", func(t *testing.T) {
		t.Parallel()
		check(t, scalar.UnmarshalURL, map[any]string{"https://example.org/a?b#c": "https://example.org/a?b#c", "http://[::1]:80": "http://[::1]:80"},
			"", "example.org", "/path", "ftp://example.org", "javascript:alert(1)", "https://", "https://user:pw@example.org", "https://example.org/\x00", "https://example.org/"+strings.Repeat("x", 2048), 5)
	})
	t.Run("cursors are opaque and short", func(t *testing.T) {
		t.Parallel()
		check(t, scalar.UnmarshalCursor, map[any]string{"abc": "abc"}, "a\x00", strings.Repeat("x", 513), 1)
	})
	t.Run("JSON is any value whose strings can be stored", func(t *testing.T) {
		t.Parallel()
		for _, bad := range []any{"\x00", []any{map[string]any{"a": "\x00"}}, map[string]any{"\xff": 1}} {
			if _, err := scalar.UnmarshalJSON(bad); err == nil {
				t.Errorf("%#v: not refused", bad)
			}
			if _, err := scalar.UnmarshalRawJSON(bad); err == nil {
				t.Errorf("%#v: not refused raw", bad)
			}
		}
		raw, err := scalar.UnmarshalRawJSON(map[string]any{"n": json.Number("9223372036854775807"), "l": []any{nil, true}})
		if err != nil || string(raw) != `{"l":[null,true],"n":9223372036854775807}` {
			t.Error(string(raw), err)
		}
		if got := wire(scalar.MarshalJSON(json.RawMessage(`{"a": 1}`))); got != `{"a":1}` {
			t.Error(got)
		}
		if got := wire(scalar.MarshalRawJSON(nil)); got != "null" {
			t.Error(got)
		}
	})
}

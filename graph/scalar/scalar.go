// Package scalar reads and writes the schema's scalars, in pairs that gqlgen
// binds by name. What comes in is checked here, so that no resolver meets a
// string the database would refuse; each error is a fault.InvalidInput.
package scalar

import (
	"encoding/json"
	"io"
	"math"
	"net/url"
	"regexp"
	"strconv"
	"time"

	"github.com/99designs/gqlgen/graphql"

	"github.com/enrichd/enrichd/internal/fault"
)

// Bounds of what comes in, in bytes.
const (
	maxURL     = 2048
	maxCursor  = 512
	maxDecimal = 40
)

func text(v any, max int) (string, error) {
	s, ok := v.(string)
	if !ok {
		return "", fault.Invalid("", "must be a string")
	}
	return s, fault.Text("", s, max)
}

func write(s string) graphql.Marshaler {
	return graphql.WriterFunc(func(w io.Writer) { _, _ = io.WriteString(w, s) })
}

// MarshalString writes a String.
func MarshalString(s string) graphql.Marshaler { return graphql.MarshalString(s) }

// UnmarshalString reads a String: valid UTF-8 without NUL bytes. Unlike
// gqlgen's own, it takes no numbers for strings (GraphQL §3.5.3).
func UnmarshalString(v any) (string, error) { return text(v, 0) }

// MarshalID writes an ID.
func MarshalID(s string) graphql.Marshaler { return graphql.MarshalString(s) }

// UnmarshalID reads an ID: a string as String has it, or an integer (GraphQL §3.5.5).
func UnmarshalID(v any) (string, error) {
	switch v := v.(type) {
	case int:
		return strconv.Itoa(v), nil
	case int64:
		return strconv.FormatInt(v, 10), nil
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return strconv.FormatInt(n, 10), nil
		}
		return "", fault.Invalid("", "must be a string or an integer")
	}
	return text(v, 0)
}

// MarshalDateTime writes RFC 3339 in UTC with milliseconds; the zero time is null.
func MarshalDateTime(t time.Time) graphql.Marshaler {
	if t.IsZero() {
		return graphql.Null
	}
	return write(strconv.Quote(t.UTC().Format("2006-01-02T15:04:05.000Z")))
}

// UnmarshalDateTime reads RFC 3339 with any offset and returns it in UTC, cut to milliseconds.
// Years outside 1..9999, which PostgreSQL or RFC 3339 could not hold, are refused.
func UnmarshalDateTime(v any) (time.Time, error) {
	s, err := text(v, 64)
	if err != nil {
		return time.Time{}, err
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil || t.UTC().Year() < 1 || t.UTC().Year() > 9999 {
		return time.Time{}, fault.Invalid("", "must be a timestamp as RFC 3339 has it, such as 2026-01-31T12:00:00Z")
	}
	return t.UTC().Truncate(time.Millisecond), nil
}

// MarshalCursor writes a Cursor.
func MarshalCursor(s string) graphql.Marshaler { return graphql.MarshalString(s) }

// UnmarshalCursor reads a Cursor. Whether it is one of the list at hand, the list decides.
func UnmarshalCursor(v any) (string, error) { return text(v, maxCursor) }

// MarshalCredits writes a whole number of credits.
func MarshalCredits(n int64) graphql.Marshaler { return write(strconv.FormatInt(n, 10)) }

// UnmarshalCredits reads a whole number of 64 bits, also written as 1e3 or 10.0,
// as JSON of some languages has it.
func UnmarshalCredits(v any) (int64, error) {
	refused := fault.Invalid("", "must be a whole number of 64 bits")
	switch v := v.(type) {
	case int:
		return int64(v), nil
	case int32:
		return int64(v), nil
	case int64:
		return v, nil
	case float64:
		// Above 2^53 a float no longer says which whole number was meant.
		if v != math.Trunc(v) || math.Abs(v) > 1<<53 {
			return 0, refused
		}
		return int64(v), nil
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n, nil
		}
		f, err := v.Float64()
		if err != nil {
			return 0, refused
		}
		return UnmarshalCredits(f)
	}
	return 0, refused
}

var decimal = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?$`)

// MarshalDecimal writes an exact decimal number, as a string.
func MarshalDecimal(s string) graphql.Marshaler { return graphql.MarshalString(s) }

// UnmarshalDecimal reads a decimal number written out as a string: no exponent, no leading zeros or plus sign.
func UnmarshalDecimal(v any) (string, error) {
	s, err := text(v, maxDecimal)
	if err == nil && !decimal.MatchString(s) {
		err = fault.Invalid("", `must be a decimal number in a string, such as "12.50"`)
	}
	return s, err
}

// MarshalURL writes a URL.
func MarshalURL(s string) graphql.Marshaler { return graphql.MarshalString(s) }

// UnmarshalURL reads an absolute http or https URL with a host and without
// user information, and returns it as it was written.
func UnmarshalURL(v any) (string, error) {
	s, err := text(v, maxURL)
	if err != nil {
		return "", err
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil {
		return "", fault.Invalid("", "must be an absolute http or https URL")
	}
	return s, nil
}

package rest

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares b with testdata/golden/name, byte for byte.
func golden(t *testing.T, name string, b []byte) {
	t.Helper()
	path := filepath.Join("testdata", "golden", name)
	if *update {
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, b, 0o644))
		return
	}
	want, err := os.ReadFile(path)
	must(t, err)
	if !bytes.Equal(want, b) {
		t.Errorf("%s differs.\nis:\n%s\nwas:\n%s", path, b, want)
	}
}

// golden compares an answer with its file: status, headers and body. What no
// two runs have in common is replaced by something of the same form.
func (r reply) golden(t *testing.T, name string) {
	t.Helper()
	var out strings.Builder
	fmt.Fprintf(&out, "%s %s\n\n%d\n", r.method, r.path, r.status)
	var names []string
	for n := range r.header {
		if n != "Date" {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	for _, n := range names {
		value := r.header.Get(n)
		switch {
		case n == "Content-Length", n == "X-Request-Id", strings.HasSuffix(n, "Ratelimit-Reset-Minute"), strings.HasSuffix(n, "Ratelimit-Reset-Hour"),
			strings.Contains(n, "Ratelimit-Remaining"), n == "Ratelimit":
			value = "…" // differs from run to run
		}
		fmt.Fprintf(&out, "%s: %s\n", n, value)
	}
	out.WriteString("\n")
	out.Write(r.body)
	golden(t, name+".http", []byte(stable(out.String())))
}

var changing = []struct {
	find *regexp.Regexp
	// as makes the n-th distinct find, from 1.
	as func(n int) string
}{
	{regexp.MustCompile(`\b20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z`), func(int) string { return "2025-01-01T00:00:00.000Z" }},
	{regexp.MustCompile(`\b20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ`), func(int) string { return "2024-01-15T10:30:00Z" }},
	{regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`), func(n int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", n) }},
	{regexp.MustCompile(`\b[0-9a-f]{64}\b`), func(n int) string { return fmt.Sprintf("%064x", n) }},
	{regexp.MustCompile(`\b(prof|imp)_[0-9a-z]{26}`), func(n int) string { return fmt.Sprintf("prof_%026d", n) }},
	{regexp.MustCompile(`\breq_[0-9a-z]{26}`), func(n int) string { return fmt.Sprintf("req_%026d", n) }},
	{regexp.MustCompile(`127\.0\.0\.1:\d+`), func(int) string { return "127.0.0.1:80" }},
	{regexp.MustCompile(`"durationMs":\d+`), func(int) string { return `"durationMs":156` }},
	{regexp.MustCompile(`"reset":\d+`), func(int) string { return `"reset":1705320120` }},
	{regexp.MustCompile(`"retryAfter":\d+`), func(int) string { return `"retryAfter":30` }},
	{regexp.MustCompile(`Retry-After: \d\d+`), func(int) string { return "Retry-After: 30" }},
	{regexp.MustCompile(`again in \d+ seconds`), func(int) string { return "again in 30 seconds" }},
}

// stable replaces ids and times; equal ones stay equal.
func stable(s string) string {
	for _, c := range changing {
		seen := map[string]int{}
		s = c.find.ReplaceAllStringFunc(s, func(found string) string {
			if seen[found] == 0 {
				seen[found] = len(seen) + 1
			}
			return c.as(seen[found])
		})
	}
	return s
}

func jsonReader(b []byte) *bytes.Reader { return bytes.NewReader(b) }

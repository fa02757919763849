package graph

import (
	"strings"
	"testing"

	"github.com/99designs/gqlgen/graphql"

	"github.com/enrichd/enrichd/graph/internal/testschema"
	"github.com/enrichd/enrichd/graph/transport"
)

func TestPersistedOnly(t *testing.T) {
	t.Parallel()
	const text = "query Greet { hello }"
	known, err := ParseOperations([]byte(`{"` + strings.ToUpper(hashOf(text)) + `":"` + text + `"}`))
	if err != nil {
		t.Fatal(err)
	}
	ask := func(only bool, query, hash string) string {
		e := NewServer(Options{Schema: testschema.New(), Operations: known, PersistedOnly: only}).engine
		p := &graphql.RawParams{Query: query}
		if hash != "" {
			p.Extensions = map[string]any{"persistedQuery": map[string]any{"version": 1, "sha256Hash": hash}}
		}
		_, errs := e.resolve(p)
		if len(errs) == 0 {
			return ""
		}
		return transport.CodeOf(errs[0])
	}
	other := hashOf("{hello}")
	for _, c := range []struct {
		name, query, hash, locked, open string
	}{
		{"a known hash", "", hashOf(text), "", ""},
		{"an unknown hash", "", other, transport.CodePersistedQueryOnly, transport.CodePersistedQueryNotFound},
		{"a text", "{hello}", "", transport.CodePersistedQueryOnly, ""},
		{"a text with its hash", "{hello}", other, transport.CodePersistedQueryOnly, ""},
		{"the known text itself", text, "", transport.CodePersistedQueryOnly, ""},
		{"the known text with its hash", text, hashOf(text), transport.CodePersistedQueryOnly, ""},
		{"nothing", "", "", transport.CodePersistedQueryOnly, transport.CodeParseFailed},
		{"a malformed hash", "", "abc", transport.CodePersistedQueryOnly, transport.CodeValidationFailed},
	} {
		if got := ask(true, c.query, c.hash); got != c.locked {
			t.Errorf("locked down, %s: %q", c.name, got)
		}
		if got := ask(false, c.query, c.hash); c.query+c.hash != "" && got != c.open {
			t.Errorf("open, %s: %q", c.name, got)
		}
	}
	t.Run("refuses a list whose hashes do not fit, and names operations that cannot run", func(t *testing.T) {
		if _, err := ParseOperations([]byte(`{"` + other + `":"{ hello }"}`)); err == nil {
			t.Error("a wrong hash was taken")
		}
		if _, err := ParseOperations([]byte(`[]`)); err == nil {
			t.Error("a list was taken")
		}
		bad := Operations{hashOf("{nope}"): "{nope}", hashOf(text): text}
		if err := NewServer(Options{Schema: testschema.New(), Operations: bad}).CheckOperations(); err == nil || !strings.Contains(err.Error(), hashOf("{nope}")[:12]) {
			t.Errorf("%v", err)
		}
	})
}

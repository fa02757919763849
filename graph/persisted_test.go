package graph

import (
	"strings"
	"testing"

	"github.com/99designs/gqlgen/graphql"

	"github.com/enrichd/enrichd/graph/internal/testschema"
	"github.com/enrichd/enrichd/graph/transport"
	"github.com/enrichd/enrichd/internal/access"
)

func persistedBy(hash string) map[string]any {
	return map[string]any{"persistedQuery": map[string]any{"version": 1, "sha256Hash": hash}}
}

func TestPersistedOnly(t *testing.T) {
	t.Parallel()
	const text = "query Greet { hello }"
	known, err := ParseOperations([]byte(`{"` + strings.ToUpper(hashOf(text)) + `":"` + text + `"}`))
	if err != nil {
		t.Fatal(err)
	}
	type lock struct{ server, key bool }
	ask := func(only lock, query, hash string) string {
		e := NewServer(Options{Schema: testschema.New(), Operations: known, PersistedOnly: only.server}).engine
		// Somebody else has made the server remember {hello}, for as long as it does.
		if _, errs := e.resolve(t.Context(), &graphql.RawParams{Query: "{hello}", Extensions: persistedBy(hashOf("{hello}"))}); len(errs) > 0 && !only.server {
			t.Fatal(errs)
		}
		p := &graphql.RawParams{Query: query}
		if hash != "" {
			p.Extensions = persistedBy(hash)
		}
		ctx := access.With(t.Context(), &access.Principal{Key: access.Key{PersistedOnly: only.key}})
		_, errs := e.resolve(ctx, p)
		if len(errs) == 0 {
			return ""
		}
		return transport.CodeOf(errs[0])
	}
	other, unknown := hashOf("{hello}"), hashOf("{node{id}}")
	for _, c := range []struct {
		name, query, hash, locked, open string
	}{
		{"a known hash", "", hashOf(text), "", ""},
		{"an unknown hash", "", unknown, transport.CodePersistedQueryOnly, transport.CodePersistedQueryNotFound},
		{"a hash that others had remembered", "", other, transport.CodePersistedQueryOnly, ""},
		{"a text", "{hello}", "", transport.CodePersistedQueryOnly, ""},
		{"a text with its hash", "{hello}", other, transport.CodePersistedQueryOnly, ""},
		{"the known text itself", text, "", transport.CodePersistedQueryOnly, ""},
		{"the known text with its hash", text, hashOf(text), transport.CodePersistedQueryOnly, ""},
		{"nothing", "", "", transport.CodePersistedQueryOnly, transport.CodeParseFailed},
		{"a malformed hash", "", "abc", transport.CodePersistedQueryOnly, transport.CodeValidationFailed},
	} {
		for name, only := range map[string]lock{"the server": {server: true}, "the key": {key: true}, "both": {true, true}} {
			if got := ask(only, c.query, c.hash); got != c.locked {
				t.Errorf("%s locked down, %s: %q", name, c.name, got)
			}
		}
		if got := ask(lock{}, c.query, c.hash); c.query+c.hash != "" && got != c.open {
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

package cmd_test

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"testing"
)

// TestPersistedOnlyKey holds one key to the operations that the servers know, while others send what they like.
func TestPersistedOnlyKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const known, unknown = "query Runs { enrichmentRuns(first: 1) { nodes { requestId } } }", "{ viewer { company { name } } }"
	hash := func(text string) map[string]any {
		sum := sha256.Sum256([]byte(text))
		return map[string]any{"persistedQuery": map[string]any{"version": 1, "sha256Hash": hex.EncodeToString(sum[:])}}
	}
	sum := hash(known)["persistedQuery"].(map[string]any)["sha256Hash"].(string)
	path := file(t, "operations.json", marshal(t, map[string]string{sum: known}))
	nodes := []*node{w.serve(t, "ENRICHD_GRAPHQL_OPERATIONS="+path), w.serve(t, "ENRICHD_GRAPHQL_OPERATIONS="+path)}
	free := w.tenant(t, nodes[0], 1)
	id, bound := newKey(t, w.env, nodes[0], free.company, "--label", "in an app", "--persisted-only")

	code := func(c caller, n *node, body map[string]any) string {
		var e envelope
		caller{n.url, c.key}.send(t, "POST", "/graphql", marshal(t, body)).decode(t, &e)
		if len(e.Errors) == 0 {
			return ""
		}
		return e.Errors[0].Extensions.Code
	}
	byHash, byText, remembered := map[string]any{"extensions": hash(known)}, map[string]any{"query": known}, map[string]any{"extensions": hash(unknown)}
	held := func(t *testing.T) {
		t.Helper()
		for _, n := range nodes {
			if got := code(bound, n, byHash); got != "" {
				t.Errorf("a known operation: %q", got)
			}
			for name, body := range map[string]map[string]any{
				"a text": {"query": unknown}, "a known text": byText, "a hash that another key has made the server remember": remembered,
			} {
				if got := code(bound, n, body); got != "PERSISTED_QUERY_ONLY" {
					t.Errorf("%s: %q", name, got)
				}
			}
		}
	}
	for _, n := range nodes {
		for _, body := range []map[string]any{{"query": unknown, "extensions": hash(unknown)}, remembered, byText, byHash} {
			if got := code(free.caller, n, body); got != "" {
				t.Errorf("another key: %q", got)
			}
		}
	}
	held(t)
	shown := func(t *testing.T, want bool) {
		t.Helper()
		var all []struct {
			ID            string
			PersistedOnly bool
		}
		must(t, w.env, &all, "keys", "list", "--company", free.company)
		at := slices.IndexFunc(all, func(k struct {
			ID            string
			PersistedOnly bool
		}) bool {
			return k.ID == id
		})
		if len(all) != 2 || at < 0 || all[at].PersistedOnly != want || all[1-at].PersistedOnly {
			t.Errorf("%+v", all)
		}
	}
	shown(t, true)
	if s := w.cli(t, "keys", "list", "--company", free.company); !strings.Contains(s.stdout, "OPERATIONS") || !strings.Contains(s.stdout, "known") {
		t.Errorf("%+v", s)
	}
	manage := func(t *testing.T, want bool, flag string) {
		t.Helper()
		var done struct {
			ID            string
			PersistedOnly bool
		}
		must(t, w.env, &done, "keys", "manage", id, flag)
		if done.ID != id || done.PersistedOnly != want {
			t.Errorf("%+v", done)
		}
		shown(t, want)
	}
	manage(t, false, "--persisted-only=false")
	for _, n := range nodes {
		eventually(t, patience, "it sends what it likes", func() bool { return code(bound, n, map[string]any{"query": unknown}) == "" })
	}
	var viewer struct {
		Viewer struct{ APIKey struct{ PersistedOnly bool } }
	}
	bound.ask(t, `{ viewer { apiKey { persistedOnly } } }`, nil, &viewer)
	if viewer.Viewer.APIKey.PersistedOnly {
		t.Error("the key is shown as held")
	}
	sockets := []socket{caller{nodes[0].url, bound.key}.socket(t), caller{nodes[1].url, bound.key}.socket(t)}
	manage(t, true, "--persisted-only")
	for _, s := range sockets {
		s.expectClose(t, 4403) // it signed in when the key was free
	}
	held(t)
	for _, args := range [][]string{{id}, {id, "--persisted-only", "--company", free.company}, {id, "--persisted-only", "--remove"}, {id, "--remove"}} {
		if s := w.cli(t, append([]string{"keys", "manage"}, args...)...); s.status != 2 {
			t.Errorf("%q: %+v", args, s)
		}
	}
}

package cmd_test

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"
)

// TestPersistedOnly runs a server that knows two operations and takes no others.
func TestPersistedOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	list := map[string]string{}
	known := func(text string) string {
		sum := sha256.Sum256([]byte(text))
		hash := hex.EncodeToString(sum[:])
		list[hash] = text
		return hash
	}
	query := known("query Runs { enrichmentRuns(first: 1) { nodes { requestId } } }")
	follow := known(followQuery)
	path := file(t, "operations.json", marshal(t, list))
	n := w.serve(t, "ENRICHD_GRAPHQL_PERSISTED_ONLY=true", "ENRICHD_GRAPHQL_OPERATIONS="+path)
	me := w.tenant(t, n, 1, "--mode", "test")

	persisted := func(hash string) map[string]any {
		return map[string]any{"persistedQuery": map[string]any{"version": 1, "sha256Hash": hash}}
	}
	code := func(body map[string]any) string {
		var e envelope
		me.send(t, "POST", "/graphql", marshal(t, body)).decode(t, &e)
		if len(e.Errors) == 0 {
			return ""
		}
		return e.Errors[0].Extensions.Code
	}
	if got := code(map[string]any{"extensions": persisted(query)}); got != "" {
		t.Errorf("a known operation is refused: %s", got)
	}
	for name, body := range map[string]map[string]any{
		"a text":                 {"query": "{ __typename }"},
		"a text it knows":        {"query": followQuery},
		"an unknown hash":        {"extensions": persisted(strings.Repeat("0", 64))},
		"a text with its hash":   {"query": list[query], "extensions": persisted(query)},
		"a text that is no text": {"query": "{"},
	} {
		if got := code(body); got != "PERSISTED_QUERY_ONLY" {
			t.Errorf("%s: %q", name, got)
		}
	}
	t.Run("follows a run by hash", func(t *testing.T) {
		id := me.started(t, []string{"profile_test_success"}, "")
		s := me.socket(t)
		s.send(t, frame{ID: "1", Type: "subscribe", Payload: marshal(t, map[string]any{
			"extensions": persisted(follow), "variables": map[string]any{"run": id, "after": 0},
		})})
		for {
			f, err := s.read()
			if err != nil || f.Type == "error" {
				t.Fatalf("%v %s", err, f.Payload)
			}
			if f.Type == "complete" {
				break
			}
		}
	})
	t.Run("does not start with a list that cannot run", func(t *testing.T) {
		for content, says := range map[string]string{
			`{"` + strings.Repeat("0", 64) + `":"{ __typename }"}`:               "another hash",
			string(marshal(t, map[string]string{known("{ nope }"): "{ nope }"})): "nope",
			"[]": "JSON object",
		} {
			bad := file(t, "bad.json", []byte(content))
			s := command(t, append(w.env, "ENRICHD_GRAPHQL_OPERATIONS="+bad), "serve")
			if s.status == 0 || !strings.Contains(s.stderr, says) {
				t.Errorf("%s: status %d, %s", content, s.status, s.stderr)
			}
		}
	})
}

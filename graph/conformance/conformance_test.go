// Package conformance runs other people's suites and clients against the
// server: the audits of npm graphql-http, and the graphql-ws, graphql-sse and
// Apollo clients; first a server of a small schema in this process, then the built program.
package conformance

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/enrichd/enrichd/graph"
	"github.com/enrichd/enrichd/graph/internal/testschema"
	"github.com/enrichd/enrichd/internal/access"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const key = "sk_test_conformance"

// install makes the packages of package-lock.json available, or skips.
func install(t *testing.T) {
	t.Helper()
	for _, tool := range []string{"node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed: the Node suites are not run", tool)
		}
	}
	if _, err := os.Stat("node_modules/@apollo/client/package.json"); err == nil {
		return
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if out, err := exec.CommandContext(ctx, "npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts").CombinedOutput(); err != nil {
		t.Skipf("npm ci: %v: the Node suites are not run\n%s", err, out)
	}
}

func serve(t *testing.T) string {
	t.Helper()
	s := graph.NewServer(graph.Options{
		Schema: testschema.New(), Dev: true, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Authenticate: func(ctx context.Context, token string, _ *http.Request) (context.Context, error) {
			if token != key {
				return nil, graph.Unauthenticated("an API key is needed")
			}
			return access.With(ctx, &access.Principal{Company: access.Company{ID: "acme"}, Key: access.Key{ID: "key"}}), nil
		},
	})
	hs := httptest.NewServer(s)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		hs.Close()
	})
	return hs.URL
}

// TestNode runs the scripts one after the other: they share two cores with everybody.
func TestNode(t *testing.T) {
	install(t)
	for name, script := range map[string]string{
		"passes all 61 audits of graphql-http": "audits.mjs",
		"serves the graphql-ws client":         "ws.mjs",
		"serves the graphql-sse client":        "sse.mjs",
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, "node", script)
			cmd.Env = append(os.Environ(), "GRAPHQL_URL="+serve(t), "GRAPHQL_KEY="+key)
			out, err := cmd.CombinedOutput()
			t.Log(strings.TrimSpace(string(out)))
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}

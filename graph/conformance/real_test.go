package conformance

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/enrichd/enrichd/internal/pgtest"
)

// server is the built program, serving a database of its own.
type server struct {
	program, url string
	env          []string
}

// startServer builds the program and runs it until the test ends.
func startServer(t *testing.T) *server {
	t.Helper()
	s := &server{program: filepath.Join(t.TempDir(), "enrichd")}
	if out, err := exec.Command("go", "build", "-o", s.program, "../..").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	// Introspection is asked for by one of the audits; rate limits would slow a suite that asks a hundred things at once.
	s.env = append(os.Environ(), "DATABASE_URL="+pgtest.New(t).DSN, "ENRICHD_ADDR=127.0.0.1:0", "ENRICHD_ADMIN_ADDR=off",
		"ENRICHD_DEV=true", "ENRICHD_RATE_LIMITS=false", "ENRICHD_AUTH_FAILURES=100000")
	cmd := exec.Command(s.program, "serve")
	cmd.Env = s.env
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	addr, done := make(chan string, 1), make(chan struct{})
	go func() {
		defer close(done)
		serving := regexp.MustCompile(`msg=serving addr=(\S+)`)
		for lines := bufio.NewScanner(io.TeeReader(log, &said)); lines.Scan(); {
			if m := serving.FindStringSubmatch(lines.Text()); m != nil {
				addr <- m[1]
			}
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		late := time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Kill() })
		<-done
		if err := cmd.Wait(); err != nil {
			t.Errorf("the server ended with %v", err)
		}
		late.Stop()
		if t.Failed() {
			t.Log(said.String())
		}
	})
	select {
	case a := <-addr:
		s.url = "http://" + a + "/graphql"
	case <-done:
		t.Fatal("the server does not start")
	case <-time.After(time.Minute):
		t.Fatal("the server is not up within a minute")
	}
	return s
}

// command runs one command of the program and decodes what it prints.
func (s *server) command(t *testing.T, v any, args ...string) {
	t.Helper()
	cmd := exec.Command(s.program, append(args, "--json")...)
	cmd.Env = s.env
	out, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(out, v)
	}
	if err != nil {
		t.Fatalf("enrichd %s: %v %s", strings.Join(args, " "), err, out)
	}
}

// TestServer runs other people's suites and clients, and raw probes, against the program itself.
func TestServer(t *testing.T) {
	install(t)
	s := startServer(t)
	var company struct{ ID string }
	s.command(t, &company, "company", "create", "--name", "Conformance", "--billing", "prepaid", "--plan", "enterprise")
	type key struct{ ID, Secret string }
	var main, spare key
	s.command(t, &main, "keys", "create", "--company", company.ID, "--mode", "test", "--label", "main")
	s.command(t, &spare, "keys", "create", "--company", company.ID, "--mode", "test", "--label", "spare")
	revoke, err := json.Marshal([]string{s.program, "keys", "revoke", spare.ID})
	if err != nil {
		t.Fatal(err)
	}
	for _, suite := range []struct{ name, script string }{
		{"passes all 61 audits of graphql-http", "audits.mjs"},
		{"passes the probes", "real_probes.mjs"},
		{"serves the graphql-ws client", "real_ws.mjs"},
		{"serves the graphql-sse client", "real_sse.mjs"},
		{"serves Apollo Client", "real_apollo.mjs"},
	} {
		t.Run(suite.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, "node", suite.script)
			cmd.Env = append(s.env, "GRAPHQL_URL="+s.url, "GRAPHQL_KEY="+main.Secret, "GRAPHQL_SPARE_KEY="+spare.Secret, "GRAPHQL_REVOKE="+string(revoke))
			out, err := cmd.CombinedOutput()
			t.Log(strings.TrimSpace(string(out)))
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}

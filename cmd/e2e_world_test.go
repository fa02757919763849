package cmd_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/enrichd/enrichd/internal/pgtest"
	"github.com/enrichd/enrichd/internal/sandbox"
)

// world is what one test lives in: a database, a web to visit, and the settings that name both.
type world struct {
	db  *pgtest.DB
	web *sandbox.Sandbox
	env []string
}

// newWorld makes a world with a migrated database; hooks are the receivers that may be reached.
func newWorld(t *testing.T, hooks ...*receiver) *world {
	t.Helper()
	return worldOn(t, pgtest.New(t), hooks...)
}

func worldOn(t *testing.T, db *pgtest.DB, hooks ...*receiver) *world {
	t.Helper()
	w := &world{db: db, web: newWeb(t)}
	w.env = append(settings(w.web, hooks...), "DATABASE_URL="+db.DSN)
	return w
}

func newWeb(t *testing.T) *sandbox.Sandbox {
	t.Helper()
	web, err := sandbox.Start(t.Context(), sandbox.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := web.Close(); err != nil {
			t.Error(err)
		}
	})
	return web
}

// settings are what a server needs to live in the sandbox and to reach the receivers.
func settings(web *sandbox.Sandbox, hooks ...*receiver) []string {
	env := append(web.Settings().Environ(),
		"ENRICHD_ADDR=127.0.0.1:0", "ENRICHD_ADMIN_ADDR=off", "ENRICHD_WEBHOOK_ALLOW_HTTP=true", "ENRICHD_DB_CONNS=10",
		"ENRICHD_AUTH_FAILURES=1000") // all callers are at one address here, and many try keys that do not hold
	for i, pair := range env {
		if strings.HasPrefix(pair, "ENRICHD_EGRESS_PORTS=") {
			for _, h := range hooks {
				env[i] += "," + h.port
			}
		}
	}
	return env
}

// node is one running server.
type node struct {
	*process
	url string
}

// serve starts a server and returns once it answers. Whatever the test does
// with it, a server that still runs at the test's end must stop as asked.
func (w *world) serve(t *testing.T, env ...string) *node {
	t.Helper()
	return serve(t, slices.Concat(w.env, env))
}

func serve(t *testing.T, env []string, args ...string) *node {
	t.Helper()
	n := &node{process: spawn(t, env, append([]string{"serve"}, args...)...)}
	n.ready(t)
	t.Cleanup(func() {
		select {
		case <-n.done:
		default:
			n.stop(t)
		}
	})
	return n
}

func (n *node) ready(t *testing.T) {
	t.Helper()
	n.url = "http://" + n.await(t, &n.log, `msg=serving addr=(\S+)`)
	if r := (caller{url: n.url}).send(t, "GET", "/readyz", nil); r.status != 200 {
		t.Fatalf("not ready: %d %s", r.status, r.body)
	}
}

// stop asks the server to end and expects it to, with status 0.
func (n *node) stop(t *testing.T) {
	t.Helper()
	n.signal(t, syscall.SIGTERM)
	if status := n.wait(t, 30*time.Second); status != 0 {
		t.Errorf("the server ended with status %d", status)
	}
}

// addr is the host and port to start the next server on, so that clients find it again.
func (n *node) addr() string { return "ENRICHD_ADDR=" + strings.TrimPrefix(n.url, "http://") }

// cli runs a command beside the servers.
func (w *world) cli(t *testing.T, args ...string) said {
	t.Helper()
	return command(t, w.env, args...)
}

// must runs a command that has to succeed and decodes its JSON.
func must(t *testing.T, env []string, v any, args ...string) {
	t.Helper()
	s := command(t, env, append(args, "--json")...)
	if s.status != 0 {
		t.Fatalf("enrichd %s: status %d: %s", strings.Join(args, " "), s.status, s.stderr)
	}
	s.decode(t, v)
}

// tenant is a company with one key.
type tenant struct {
	company string
	keyID   string
	caller
}

// tenant makes a company with credits and a key with every scope but ADMIN.
func (w *world) tenant(t *testing.T, n *node, credits int, keyFlags ...string) *tenant {
	t.Helper()
	return newTenant(t, w.env, n, credits, keyFlags...)
}

func newTenant(t *testing.T, env []string, n *node, credits int, keyFlags ...string) *tenant {
	t.Helper()
	var company struct{ ID string }
	must(t, env, &company, "company", "create", "--name", t.Name(), "--billing", "prepaid", "--credits", strconv.Itoa(credits), "--plan", "scale")
	out := &tenant{company: company.ID}
	out.keyID, out.caller = newKey(t, env, n, company.ID, keyFlags...)
	return out
}

func newKey(t *testing.T, env []string, n *node, company string, flags ...string) (id string, c caller) {
	t.Helper()
	var key struct{ ID, Secret string }
	must(t, env, &key, append([]string{"keys", "create", "--company", company}, flags...)...)
	return key.ID, caller{n.url, key.Secret}
}

// people are profile ids by external id.
type people map[string]string

// importAll brings the sandbox's candidates into a company.
func (w *world) importAll(t *testing.T, company string) people {
	t.Helper()
	return importFile(t, w.env, company, "people.csv", w.web.Profiles())
}

func importFile(t *testing.T, env []string, company, name string, content []byte) people {
	t.Helper()
	var out struct {
		Created  int
		Profiles []struct{ ID, ExternalID string }
	}
	must(t, env, &out, "import", file(t, name, content), "--company", company)
	ids := people{}
	for _, p := range out.Profiles {
		ids[p.ExternalID] = p.ID
	}
	if out.Created != len(ids) || len(ids) == 0 {
		t.Fatalf("%d created, %d profiles", out.Created, len(ids))
	}
	return ids
}

func file(t *testing.T, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// pick returns the ids of the named, in that order.
func (p people) pick(t *testing.T, names ...string) []string {
	t.Helper()
	var ids []string
	for _, name := range names {
		if p[name] == "" {
			t.Fatalf("nobody is called %s", name)
		}
		ids = append(ids, p[name])
	}
	return ids
}

// clones are n candidates who all have the same site, as JSON Lines.
func (w *world) clones(t *testing.T, n int) []byte {
	t.Helper()
	var lines []byte
	for i := range n {
		line, err := json.Marshal(map[string]any{
			"externalId": fmt.Sprintf("freja-%d", i+1), "name": "Freja Dahl", "currentCompany": "Kattegat Acoustics",
			"links": []string{w.site("freja-dahl")},
		})
		if err != nil {
			t.Fatal(err)
		}
		lines = append(append(lines, line...), '\n')
	}
	return lines
}

func (w *world) site(name string) string {
	return fmt.Sprintf("http://%s.test:%d/", name, w.web.Settings().EgressPorts[0])
}

// behave changes how the sites of the named answer.
func behave(web *sandbox.Sandbox, b sandbox.Behaviour, names ...string) {
	for _, name := range names {
		web.Behave(name+".test", b)
	}
}

// count runs one SQL query that answers a number.
func (w *world) count(t *testing.T, query string, args ...any) (n int) {
	t.Helper()
	if err := w.db.Bun.NewRaw(query, args...).Scan(t.Context(), &n); err != nil {
		t.Fatal(err)
	}
	return n
}

package rest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestOpenAPI walks the document against the routes, both ways.
func TestOpenAPI(t *testing.T) {
	t.Parallel()
	described := map[string]bool{}
	for path, item := range spec.Paths.Map() {
		for method := range item.Operations() {
			described[method+" "+path] = true
		}
	}
	for _, r := range routes {
		name := r.method + " " + r.path
		if !described[name] {
			t.Errorf("%s is served and not described", name)
			continue
		}
		delete(described, name)
		op := spec.Paths.Value(r.path).GetOperation(r.method)
		var scopes []string
		for _, s := range r.scopes {
			scopes = append(scopes, string(s))
		}
		if want, got := fmt.Sprint(scopes), fmt.Sprint(op.Extensions["x-scopes"]); got != want {
			t.Errorf("%s needs %s and the document says %s", name, want, got)
		}
		media := "application/json"
		if r.style == problem {
			media = "application/problem+json"
		}
		for _, status := range []string{"401", "403", "429", "500", "503"} {
			if res := op.Responses.Value(status); res == nil || res.Value.Content.Get(media) == nil {
				t.Errorf("%s does not describe its %s", name, status)
			}
		}
	}
	for name := range described {
		t.Errorf("%s is described and not served", name)
	}
}

// TestErrorCodes finds every code that the package can answer in the document, and the other way round.
func TestErrorCodes(t *testing.T) {
	t.Parallel()
	var doc document
	must(t, json.Unmarshal(theReference().openapi, &doc))
	found := map[string]bool{}
	files, err := filepath.Glob("*.go")
	must(t, err)
	for _, f := range files {
		if strings.HasSuffix(f, "_test.go") {
			continue
		}
		src, err := os.ReadFile(f)
		must(t, err)
		for _, m := range regexp.MustCompile(`code(?::|\s*:?=) "([A-Z_]+)"`).FindAllStringSubmatch(string(src), -1) {
			found[m[1]] = true
		}
	}
	for code := range found {
		if doc.Codes[code] == "" {
			t.Errorf("%s is not described", code)
		}
	}
	for code := range doc.Codes {
		if !found[code] {
			t.Errorf("%s is described and never answered", code)
		}
	}
}

func TestReference(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	get := func(path string) (string, http.Header) {
		res, err := http.Get(h.server.URL + path)
		must(t, err)
		defer res.Body.Close()
		var b strings.Builder
		_, err = fmt.Fprint(&b, readAll(t, res))
		must(t, err)
		if res.StatusCode != 200 {
			t.Errorf("%s: %d", path, res.StatusCode)
		}
		return b.String(), res.Header
	}
	doc, header := get("/openapi.json")
	if !json.Valid([]byte(doc)) || !strings.HasPrefix(doc, `{"openapi": "3.0.3"`) && !strings.HasPrefix(doc, `{"openapi":"3.0.3"`) || header.Get("Content-Type") != "application/json; charset=utf-8" {
		t.Errorf("%.100s", doc)
	}
	page, header := get("/docs")
	if header.Get("Content-Security-Policy") == "" {
		t.Error("the page may load anything")
	}
	for _, r := range routes {
		if !strings.Contains(page, `id="`+r.method+r.path+`"`) {
			t.Errorf("the page lacks %s %s", r.method, r.path)
		}
	}
	// Works offline: nothing is loaded, and no address leads away.
	for _, bad := range []string{"<script", "<link", "src=", "@import", "url("} {
		if strings.Contains(page, bad) {
			t.Errorf("the page has %s", bad)
		}
	}
	for _, m := range regexp.MustCompile(`href="([^"]*)"`).FindAllStringSubmatch(page, -1) {
		if !strings.HasPrefix(m[1], "#") && m[1] != "/openapi.json" {
			t.Errorf("the page leads to %s", m[1])
		}
	}
}

// TestReadme keeps the two tables of what is ours in README.md.
func TestReadme(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("README.md")
	must(t, err)
	want := string(readme)
	for name, table := range map[string]string{"open": openTable(), "further": furtherTable()} {
		begin, end := "<!-- "+name+": begin -->\n", "<!-- "+name+": end -->\n"
		head, rest, found := strings.Cut(want, begin)
		_, tail, closed := strings.Cut(rest, end)
		if !found || !closed {
			t.Fatalf("README.md has no place for the table %s", name)
		}
		want = head + begin + table + end + tail
	}
	if *update {
		must(t, os.WriteFile("README.md", []byte(want), 0o644))
	} else if want != string(readme) {
		t.Error("README.md is not what open.go says; run go test ./rest -run TestReadme -update")
	}
	if len(openRows) != 58 {
		t.Errorf("%d rows", len(openRows))
	}
}

// documented are the error codes and the headers that the original service documents.
var documented = []string{
	"INVALID_API_KEY", "API_KEY_SUSPENDED", "INSUFFICIENT_PERMISSIONS", "RESOURCE_ACCESS_DENIED", "RESOURCE_NOT_FOUND", "REQUEST_NOT_FOUND", "PROFILE_NOT_FOUND", "AGENT_ERROR",
	"Content-Type", "Retry-After",
	"X-Ratelimit-Limit-Minute", "X-Ratelimit-Limit-Hour", "X-Ratelimit-Remaining-Minute", "X-Ratelimit-Remaining-Hour", "X-Ratelimit-Reset-Minute", "X-Ratelimit-Reset-Hour",
}

// TestReadmeIsComplete looks in every golden file for error codes and headers
// that the original does not document: README.md must name each as ours.
func TestReadmeIsComplete(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("README.md")
	must(t, err)
	files, err := filepath.Glob(filepath.Join("testdata", "golden", "*"))
	must(t, err)
	named := strings.ToLower(string(readme))
	ours := regexp.MustCompile(`(?m)"code":"([A-Z_]+)"|^([A-Z][A-Za-z-]+): `)
	seen := map[string]bool{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		must(t, err)
		for _, m := range ours.FindAllStringSubmatch(string(b), -1) {
			seen[m[1]+m[2]] = true
		}
	}
	if len(seen) < 20 {
		t.Fatalf("only %d codes and headers in the golden files", len(seen))
	}
	for name := range seen {
		if name != "Content-Length" && name != "Connection" && !slices.Contains(documented, name) && !strings.Contains(named, strings.ToLower(name)) {
			t.Errorf("README.md does not name %s, which is ours", name)
		}
	}
}

// run runs a program of the outside and returns what it printed; without the
// program the test is skipped.
func run(t *testing.T, dir string, env []string, name string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("%s is not installed, so this part is not tested", name)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s\n%s", name, strings.Join(args, " "), err, out, stderr.String())
	}
	return string(out)
}

// TestNodeClient runs the client that an integrator would write, in Node without
// dependencies: a poller and a receiver that know the contract page alone, over a run
// with successes, a no-match, an unknown id and a time-out.
func TestNodeClient(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("node is not installed, so the client in examples/node-client is not tested")
	}
	h := newHouse(t, nil)
	c := h.tenant(10)
	ids := []string{c.person("Jane Smith"), c.person("Nobody Known"), "profile_unknown", c.person("Hang Forever"), c.person("Ada Berg")}
	env := []string{"ENRICHD_URL=" + h.server.URL + "/v1", "ENRICHD_API_KEY=" + c.token}
	dir := filepath.Join("..", "examples", "node-client")
	var saw struct {
		Outcomes             []string
		Credits, Cards, Used int
	}
	must(t, json.Unmarshal([]byte(run(t, dir, env, "node", append([]string{"main-job.mjs"}, ids...)...)), &saw))
	if !slices.Equal(saw.Outcomes, []string{"OK", "NO_MATCH", "PROFILE_NOT_FOUND", "ENRICHMENT_TIMEOUT", "OK"}) || saw.Credits != 2 || saw.Cards != 4 || saw.Used != 2 {
		t.Errorf("%+v", saw)
	}
	// The receiver knows the older header and none of the newer ones, and the client nothing that is ours alone.
	for _, name := range []string{"enrich.mjs", "main-job.mjs"} {
		source, err := os.ReadFile(filepath.Join(dir, name))
		must(t, err)
		text := strings.ReplaceAll(strings.ToLower(string(source)), "x-webhook-signature", "")
		if found := regexp.MustCompile("webhook-(id|timestamp|signature)|/events|/cancel|/profiles").FindAllString(text, -1); found != nil {
			t.Errorf("%s knows more than the contract page: %q", name, found)
		}
	}
	out := run(t, dir, append(env, "POLL_EVERY_MS=200"), "node", "enrich.mjs", ids[0])
	if !strings.HasPrefix(out, `{"profileId":"`+ids[0]+`","success":true,"candidate":{`) {
		t.Errorf("%s", out)
	}
}

// TestGoClient makes a client of the document with oapi-codegen and does the main job with it.
func TestGoClient(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("generating and compiling a client takes a while; run without -short")
	}
	h := newHouse(t, nil)
	c := h.tenant(10)
	ids := []string{c.person("Jane Smith"), "profile_unknown"}
	dir := t.TempDir()
	root, err := filepath.Abs("..")
	must(t, err)
	must(t, os.Mkdir(filepath.Join(dir, "client"), 0o755))
	config := filepath.Join(dir, "config.yaml")
	must(t, os.WriteFile(config, []byte("package: client\ngenerate: {client: true, models: true}\noutput: "+filepath.Join(dir, "client", "client.go")+"\n"), 0o644))
	run(t, root, nil, "go", "tool", "oapi-codegen", "-config", config, filepath.Join(root, "rest", "openapi.yaml"))
	// The same requirements under another name, so that nothing is fetched.
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "go.mod"), []byte(strings.Replace(string(mod), "module github.com/enrichd/enrichd", "module example", 1)), 0o644))
	sum, err := os.ReadFile(filepath.Join(root, "go.sum"))
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "go.sum"), sum, 0o644))
	program, err := os.ReadFile(filepath.Join("testdata", "goclient.go.txt"))
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "main.go"), program, 0o644))
	out := run(t, dir, []string{"GOFLAGS=-mod=mod", "GOWORK=off", "ENRICHD_URL=" + h.server.URL, "ENRICHD_API_KEY=" + c.token}, "go", append([]string{"run", "."}, ids...)...)
	if out != "Jane Smith [me@jane-smith.test]\nPROFILE_NOT_FOUND\n1 credits\n1 used\n404 REQUEST_NOT_FOUND\n" {
		t.Errorf("%s", out)
	}
}

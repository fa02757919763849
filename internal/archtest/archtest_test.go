// Package archtest holds who may import whom, and fails the build otherwise.
package archtest

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/enrichd/enrichd"

// rule says that packages under from (a path in the module; "" is the root)
// must not import any path that begins with one of banned.
type rule struct {
	from   string
	banned []string
	except []string // files of from that may
	why    string
}

// Paths of banned that begin with / lie in the module.
var rules = []rule{
	{from: "internal", banned: []string{"/enrichment", "/billing", "/dispatch", "/graph", "/resolvers", "/rest", "/cmd", "/web"},
		why: "internal is the ground floor: nothing in it knows a domain, a surface or cmd"},
	{from: "dispatch", banned: []string{"/billing", "/enrichment", "/graph", "/resolvers", "/rest", "/cmd"},
		why: "the import arrow is the walk of a run: dispatch knows nothing of what it announces"},
	{from: "billing", banned: []string{"/enrichment", "/graph", "/resolvers", "/rest", "/cmd"},
		why: "the import arrow is the walk of a run: billing may announce, and knows nothing of runs but their ids"},
	{from: "enrichment", banned: []string{"/graph", "/resolvers", "/rest", "/cmd"}, why: "domains do not know their surfaces"},
	{from: "rest", banned: []string{"/graph", "/resolvers", "/cmd"}, why: "the two surfaces do not know each other"},
	{from: "resolvers", banned: []string{"/rest", "/cmd"}, why: "the two surfaces do not know each other"},
	{from: "graph", banned: []string{"/rest", "/resolvers", "/cmd"}, why: "the server takes a schema; who fills it is wired in cmd"},

	{from: "enrichment", banned: []string{"net/http", "github.com/99designs/gqlgen"}, except: []string{"enrichment/source/"},
		why: "a domain speaks no transport; it reaches out through internal/egress"},
	{from: "billing", banned: []string{"net/http", "github.com/99designs/gqlgen"}, why: "a domain speaks no transport"},
	{from: "dispatch", banned: []string{"net/http", "github.com/99designs/gqlgen"}, why: "a domain reaches out only through internal/egress"},
	{from: "enrichment/source", banned: []string{"net/http", "net"}, why: "a source reaches out only through internal/egress"},
	{from: "enrichment/pipeline", banned: []string{"net/http", "net", "os", "database/sql", "github.com/uptrace", "github.com/riverqueue", "github.com/jackc", "/internal"},
		why: "the pipeline is pure: its stages are functions from what is known to what was found"},
	{from: "enrichment/extract", banned: []string{"net/http", "net", "os", "database/sql", "/internal"}, why: "bytes in, facts out"},

	{from: "", banned: []string{"github.com/riverqueue"},
		except: []string{
			"internal/jobs/", "enrichment/worker.go", "dispatch/worker.go", "billing/cycle.go", "cmd/app.go", "migrations/", "bench/",
			"dispatch/event.go", "dispatch/attempt.go",
		},
		why: "River is met in internal/jobs and in the files that hold worker types"},
	{from: "resolvers", banned: []string{"github.com/uptrace", "database/sql"}, why: "surfaces hold no SQL"},
	{from: "rest", banned: []string{"github.com/uptrace", "database/sql"}, why: "surfaces hold no SQL"},
	{from: "graph", banned: []string{"github.com/uptrace", "database/sql"}, why: "surfaces hold no SQL"},
}

// TestImports parses the files inside the test: a test that asked the go
// command would get a cached pass over a real violation.
func TestImports(t *testing.T) {
	t.Parallel()
	root := filepath.Join("..", "..")
	used := make([]int, len(rules))
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); name == "node_modules" || name == "testdata" || (strings.HasPrefix(name, ".") && path != root) {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		file = filepath.ToSlash(file)
		imports, err := importsOf(path)
		if err != nil {
			return err
		}
		for i, r := range rules {
			if !under(file, r.from) {
				continue
			}
			used[i]++
			if excepted(file, r.except) {
				continue
			}
			for _, imported := range imports {
				if bad := banned(imported, r.banned); bad {
					t.Errorf("%s imports %s: %s", file, imported, r.why)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range rules {
		if used[i] == 0 {
			t.Errorf("the rule about %q holds for no file: %s", r.from, r.why)
		}
	}
}

func TestABreachIsSeen(t *testing.T) {
	t.Parallel()
	if !banned(module+"/enrichment/pipeline", []string{"/enrichment"}) || banned(module+"/enrichmentx", []string{"/enrichment"}) ||
		!banned("net/http", []string{"net/http"}) || banned("net/netip", []string{"net"}) || !banned("github.com/uptrace/bun", []string{"github.com/uptrace"}) {
		t.Error("paths are compared wrongly")
	}
}

func importsOf(path string) ([]string, error) {
	src, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	f, err := parser.ParseFile(token.NewFileSet(), path, src, parser.ImportsOnly)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, i := range f.Imports {
		p, err := strconv.Unquote(i.Path.Value)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

func under(file, dir string) bool { return dir == "" || strings.HasPrefix(file, dir+"/") }

func excepted(file string, except []string) bool {
	for _, e := range except {
		if file == e || (strings.HasSuffix(e, "/") && strings.HasPrefix(file, e)) {
			return true
		}
	}
	return false
}

// banned compares whole path elements; "net" and "os" of the standard library are meant exactly.
func banned(imported string, list []string) bool {
	for _, b := range list {
		if strings.HasPrefix(b, "/") {
			b = module + b
		}
		if imported == b || (strings.Contains(b, "/") && strings.HasPrefix(imported, b+"/")) {
			return true
		}
	}
	return false
}

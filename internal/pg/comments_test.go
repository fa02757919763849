package pg_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// pgdriver looks for quotes without knowing comments: an apostrophe inside a
// comment swallows every parameter up to the next one (TestApostropheInAComment).
func TestSQLComments(t *testing.T) {
	t.Parallel()
	statements := 0
	check := func(at, sql string) {
		statements++
		for _, comment := range commentsWithApostrophes(sql) {
			t.Errorf("%s: an apostrophe in an SQL comment: %s", at, comment)
		}
	}
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); name == "node_modules" || name != ".." && strings.HasPrefix(name, ".") && path != root {
				return filepath.SkipDir
			}
			return nil
		}
		switch {
		case strings.HasSuffix(path, ".sql"):
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			check(path, string(text))
		case strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") && !strings.HasSuffix(path, ".gen.go"):
			return sqlIn(path, check)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if statements == 0 {
		t.Fatal("found no SQL at all: the test looks in the wrong place")
	}
	t.Logf("%d statements", statements)
}

func TestCommentsWithApostrophes(t *testing.T) {
	t.Parallel()
	for sql, want := range map[string]int{
		"SELECT 1 -- it isn't":               1,
		"SELECT '--', 'it''s' -- fine":       0,
		"SELECT 1 -- fine\nWHERE a = 'x'":    0,
		"SELECT 1 /* it isn't */":            1,
		"SELECT \"odd'name\" -- fine":        0,
		"-- one's\nSELECT 1\n-- two's":       2,
		"SELECT $q$ -- it's text $q$ AS x":   1,
		"SELECT 'a\n--it', 2 -- not in here": 0,
	} {
		if got := commentsWithApostrophes(sql); len(got) != want {
			t.Errorf("%q: found %q, want %d", sql, got, want)
		}
	}
}

var looksLikeSQL = regexp.MustCompile(`(?i)\b(SELECT|INSERT|UPDATE|DELETE|WITH|CREATE|ALTER|DROP|LOCK|VALUES)\b`)

// sqlIn hands every string literal of a Go file that may be SQL to check.
func sqlIn(path string, check func(at, sql string)) error {
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
	if err != nil {
		return nil // not compiling is another test's finding
	}
	ast.Inspect(file, func(n ast.Node) bool {
		literal, ok := n.(*ast.BasicLit)
		if !ok || literal.Kind != token.STRING {
			return true
		}
		text, err := strconv.Unquote(literal.Value)
		if err == nil && looksLikeSQL.MatchString(text) {
			check(files.Position(literal.Pos()).String(), text)
		}
		return true
	})
	return nil
}

// commentsWithApostrophes returns the comments of an SQL text that hold one.
// Dollar-quoted bodies are the server's business, but pgdriver scans them as
// well, so their own comments count too when they are whole lines.
func commentsWithApostrophes(sql string) (found []string) {
	for i := 0; i < len(sql); {
		rest := sql[i:]
		end := 1
		switch {
		case strings.HasPrefix(rest, "--"):
			if end = strings.IndexByte(rest, '\n'); end < 0 {
				end = len(rest)
			}
		case strings.HasPrefix(rest, "/*"):
			if end = strings.Index(rest, "*/"); end < 0 {
				end = len(rest)
			}
		case rest[0] == '\'' || rest[0] == '"':
			if closing := strings.IndexByte(rest[1:], rest[0]); closing >= 0 {
				i += closing + 2
				continue
			}
			return found // unbalanced: a fragment
		case rest[0] == '$':
			if tag := dollarTag.FindString(rest); tag != "" {
				if closing := strings.Index(rest[len(tag):], tag); closing >= 0 {
					found = append(found, lineComments(rest[len(tag):len(tag)+closing])...)
					i += closing + 2*len(tag)
					continue
				}
			}
		}
		if end > 1 && strings.Contains(rest[:end], "'") {
			found = append(found, rest[:end])
		}
		i += end
	}
	return found
}

var dollarTag = regexp.MustCompile(`^\$[A-Za-z_]*\$`)

func lineComments(body string) (found []string) {
	for line := range strings.Lines(body) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "--") && strings.Contains(line, "'") {
			found = append(found, line)
		}
	}
	return found
}

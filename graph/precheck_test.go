package graph

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/lexer"
	"github.com/vektah/gqlparser/v2/parser"

	"github.com/enrichd/enrichd/graph/internal/testschema"
	"github.com/enrichd/enrichd/graph/transport"
)

// hostile are documents that cost their sender little and a careless server much.
var hostile = map[string]string{
	"one field 8,000 times (48 KB)":          "{" + strings.Repeat("hello ", 8000) + "}",
	"one field 900 times, under the tokens":  "{" + strings.Repeat("hello ", 900) + "}",
	"one field through inline fragments":     "{" + strings.Repeat("...{hello} ", 8000) + "}",
	"inline fragments under the tokens":      "{" + strings.Repeat("...{hello hello hello} ", 200) + "}",
	"one field through spreads":              "{...A ...B ...C} " + manyFragments("ABC", strings.Repeat("hello ", 8)),
	"repeats that only meet when merged":     "{" + strings.Repeat("node{"+strings.Repeat("name ", 9)+"}", 9) + "}",
	"repeats merged three levels down":       "{" + strings.Repeat("node{child{child{name name}}}", 9) + "}",
	"20,000 aliases":                         "{" + numbered("a%d:hello ", 20_000) + "}",
	"31 aliases at the root":                 "{" + numbered("a%d:hello ", 31) + "}",
	"31 aliases at the root, in a fragment":  "{...{" + numbered("a%d:hello ", 31) + "}}",
	"300 fields in one set":                  "{node{" + numbered("a%d:name ", 300) + "}}",
	"20,000 directives":                      "{hello " + strings.Repeat("@d ", 20_000) + "}",
	"51 directives":                          "{" + strings.Repeat("...@skip(if:false){hello} ", 9) + strings.Repeat("...{...@a @b @c @d{hello}} ", 11) + "}",
	"6 directives on one field":              "{hello @a @b @c @d @e @f}",
	"depth 500":                              "{node" + strings.Repeat("{child", 499) + "{id}" + strings.Repeat("}", 499) + "}",
	"depth 13":                               "{node" + strings.Repeat("{child", 11) + "{id}" + strings.Repeat("}", 11) + "}",
	"depth 13 through fragments":             "{node{...A}} fragment A on Item{child{child{child{child{...B}}}}} fragment B on Item{child{child{child{child{...C}}}}} fragment C on Item{child{child{child{id}}}}",
	"a fragment that spreads itself":         "{node{...A}} fragment A on Item{child{...A}}",
	"a cycle of three fragments":             "{node{...A}} fragment A on Item{...B} fragment B on Item{...C} fragment C on Item{...A}",
	"a cycle that nobody spreads":            "{hello} fragment A on Item{...B} fragment B on Item{...A}",
	"fragments that double at every level":   "{node{...F0}} " + doubling(11),
	"doubling fragments that nobody spreads": "{hello} " + doubling(11),
	"an unused fragment with repeats":        "{hello} fragment A on Item{" + strings.Repeat("name ", 900) + "}",
	"lists nested in an argument":            "{json(value:" + strings.Repeat("[", 900) + strings.Repeat("]", 900) + ")}",
	"a string of 200 KB":                     `{hello(name:"` + strings.Repeat("x", 200<<10) + `")}}`,
	"comments only":                          strings.Repeat("#\n", 100_000),
	"parentheses that never close":           strings.Repeat("{a(", 5000),
}

func manyFragments(names, body string) string {
	var b strings.Builder
	for _, n := range names {
		fmt.Fprintf(&b, "fragment %c on Query{%s}", n, body)
	}
	return b.String()
}

func numbered(format string, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}

func doubling(levels int) string {
	var b strings.Builder
	for i := range levels {
		fmt.Fprintf(&b, "fragment F%d on Item{a:children{...F%d} b:children{...F%d}c:children{...F%d}}", i, i+1, i+1, i+1)
	}
	fmt.Fprintf(&b, "fragment F%d on Item{id}", levels)
	return b.String()
}

func testEngine(tb testing.TB) *engine {
	tb.Helper()
	return NewServer(Options{
		Schema: testschema.New(), Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}).engine
}

func TestPrecheck(t *testing.T) {
	t.Parallel()
	e := testEngine(t)
	for name, doc := range hostile {
		t.Run("refuses "+name, func(t *testing.T) {
			if _, errs := e.load(doc); len(errs) == 0 {
				t.Fatal("it was accepted")
			} else if code := transport.CodeOf(errs[0]); code != transport.CodeParseFailed && code != transport.CodeValidationFailed {
				t.Fatalf("code %q", code)
			}
			bounded(t, doc) // what it takes in time, the bench named hostile tells
		})
	}
	for name, doc := range map[string]string{
		"ten of one field":                 "{" + strings.Repeat("hello ", 10) + "}",
		"thirty aliases":                   "{" + numbered("a%d:hello ", 30) + "}",
		"depth 12":                         "{node" + strings.Repeat("{child", 10) + "{id}" + strings.Repeat("}", 10) + "}",
		"a fragment spread in ten places":  "{" + numbered("a%d:node{...A} ", 10) + "} fragment A on Item{id name child{id name}}",
		"a fragment spread twice in a set": "{node{...A ...A ...A ...A ...A ...A ...A ...A ...A ...A ...A}} fragment A on Item{id}",
		"several operations":               "query A{hello} query B{hello} mutation C{touch(name:\"x\")}",
	} {
		t.Run("accepts "+name, func(t *testing.T) {
			t.Parallel()
			if _, errs := e.load(doc); len(errs) > 0 {
				t.Fatal(errs)
			}
		})
	}
	t.Run("cuts the list of errors to ten", func(t *testing.T) {
		t.Parallel()
		if _, errs := e.load("{" + numbered("nope%d ", 100) + "}"); len(errs) != maxErrors {
			t.Fatalf("%d errors", len(errs))
		}
	})
	t.Run("the most expensive documents that pass give validation little to compare", func(t *testing.T) {
		t.Parallel()
		for name, doc := range map[string]string{
			"wide":   "{" + numbered("a%d:items{id name child{id name}} ", 25) + "}",
			"merged": "{" + strings.Repeat("node{"+numbered("a%d:child{id} ", 20)+"}", 9) + "}",
			"tokens": "{" + strings.Repeat("node{...A ...B ...C ...D} ", 9) + "}" + manyItemFragments("ABCD", 45),
		} {
			if _, errs := e.load(doc); len(errs) > 0 {
				t.Fatalf("%s: %v", name, errs)
			}
			bounded(t, doc)
		}
	})
}

// bounded holds that the walk over a document looks at each of its tokens a few
// times at most, however fragments multiply them, and stops at the limits; and
// that of what it lets pass validation, whose cost is in comparing fields of one response key, compares few.
func bounded(t *testing.T, text string) {
	t.Helper()
	doc, err := parser.ParseQueryWithTokenLimit(&ast.Source{Input: text}, DefaultLimits.Tokens)
	if err != nil {
		return // the parser stops at its limit of tokens
	}
	tokens := 0
	for l := lexer.New(&ast.Source{Input: text}); ; tokens++ {
		if token, err := l.ReadToken(); err != nil || token.Kind == lexer.EOF {
			break
		}
	}
	if tokens > DefaultLimits.Tokens {
		t.Errorf("%d tokens were parsed", tokens)
	}
	shape, refused := precheck(doc, DefaultLimits)
	// Each token as it is written and once for cycles; each selection once written out, and the group it is in.
	if most := 2*tokens + 2*(DefaultLimits.Expanded+1); shape.steps > most {
		t.Errorf("%d steps for %d tokens, more than %d", shape.steps, tokens, most)
	}
	if most := DefaultLimits.Expanded * DefaultLimits.Repeats / 2; refused == nil && shape.pairs > most {
		t.Errorf("%d pairs of fields are left to compare, more than %d", shape.pairs, most)
	}
}

func manyItemFragments(names string, fields int) string {
	var b strings.Builder
	for _, n := range names {
		fmt.Fprintf(&b, "fragment %c on Item{%s}", n, numbered(string(n|0x20)+"%d:child{id name} ", fields))
	}
	return b.String()
}

func TestPrepare(t *testing.T) {
	t.Parallel()
	prepare := func(e *engine, query string, vars map[string]any) (*graphql.OperationContext, string) {
		op, errs := e.CreateOperationContext(context.Background(), &graphql.RawParams{Query: query, Variables: vars})
		if len(errs) == 0 {
			return op, ""
		}
		return op, transport.CodeOf(errs[0])
	}
	t.Run("refuses NUL bytes in variables and literals", func(t *testing.T) {
		t.Parallel()
		e := testEngine(t)
		for _, vars := range []map[string]any{{"v": "a\x00b"}, {"v": []any{map[string]any{"k": "\x00"}}}, {"v": map[string]any{"\x00": 1}}} {
			if _, code := prepare(e, "query($v:JSON){json(value:$v)}", vars); code != transport.CodeValidationFailed {
				t.Errorf("%v: code %q", vars, code)
			}
		}
		if _, code := prepare(e, `{json(value:{a:["\u0000"]})}`, nil); code != transport.CodeValidationFailed {
			t.Errorf("literal: code %q", code)
		}
	})
	t.Run("allows introspection to whom the callback allows it, and names it", func(t *testing.T) {
		t.Parallel()
		for _, dev := range []bool{false, true} {
			e := NewServer(Options{Schema: testschema.New(), Dev: dev}).engine
			for _, q := range []string{"{__schema{types{name}}}", "{...A} fragment A on Query{x:__type(name:\"Query\"){name}}"} {
				op, code := prepare(e, q, nil)
				if want := map[bool]string{false: transport.CodeForbidden}[dev]; code != want {
					t.Errorf("dev %v, %s: code %q", dev, q, code)
				}
				if dev == op.DisableIntrospection {
					t.Errorf("dev %v: introspection disabled is %v", dev, op.DisableIntrospection)
				}
			}
			if _, code := prepare(e, "{__typename}", nil); code != "" {
				t.Errorf("__typename: code %q", code)
			}
		}
	})
	t.Run("suggests names in development only", func(t *testing.T) {
		t.Parallel()
		for _, dev := range []bool{false, true} {
			e := NewServer(Options{Schema: testschema.New(), Dev: dev}).engine
			for _, q := range []string{"{hellp}", "{hello(nam:1)}", "{node}"} {
				_, errs := e.load(q)
				said := fmt.Sprint(errs)
				if strings.Contains(said, "Did you mean") != dev {
					t.Errorf("dev %v: %s", dev, said)
				}
			}
		}
	})
	t.Run("keeps documents that passed and shares their text", func(t *testing.T) {
		t.Parallel()
		e := testEngine(t)
		a, _ := e.load("{hello}")
		b, _ := e.load("{hello}")
		if a != b {
			t.Error("parsed twice")
		}
		if _, errs := e.load("{nope}"); len(errs) == 0 {
			t.Error("accepted")
		}
		if _, kept := e.documents.get("{nope}"); kept {
			t.Error("a refused document was kept")
		}
	})
}

// FuzzPrecheck holds that no document makes the walk panic or work much, and
// that what the walk lets pass validates without harm.
func FuzzPrecheck(f *testing.F) {
	for _, doc := range hostile {
		if len(doc) < 4096 {
			f.Add(doc)
		}
	}
	f.Add("query Q($a:Int=1 @d){node @skip(if:$a){...on Item{id}...A}} fragment A on Item{children(first:$a){id}}")
	e := testEngine(f)
	f.Fuzz(func(t *testing.T, doc string) {
		if len(doc) > 16<<10 {
			return
		}
		bounded(t, doc)
		d, errs := e.load(doc)
		if len(errs) > 0 {
			return
		}
		for _, op := range d.doc.Operations {
			if n, err := cost(op, nil, e.lim); err == nil && (n < 1 || n > e.lim.Cost) {
				t.Errorf("cost %d", n)
			}
		}
	})
}

func BenchmarkHostile(b *testing.B) {
	e := testEngine(b)
	for name, doc := range hostile {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(doc)))
			for b.Loop() {
				e.load(doc)
			}
		})
	}
}

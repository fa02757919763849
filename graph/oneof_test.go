package graph

import (
	"testing"

	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/validator"
)

func TestOneOf(t *testing.T) {
	t.Parallel()
	schema := gqlparser.MustLoadSchema(&ast.Source{Input: `
		input One @oneOf { a: Int b: String deep: Deep }
		input Deep { ones: [One!] }
		type Query { f(one: One, deep: Deep): Int }`})
	doc, errs := gqlparser.LoadQueryWithRules(schema, `query($one: One, $deep: Deep) { f(one: $one, deep: $deep) }`, nil)
	if errs != nil {
		t.Fatal(errs)
	}
	one := func(fields map[string]any) map[string]any { return map[string]any{"one": fields} }
	for name, c := range map[string]struct {
		vars map[string]any
		ok   bool
	}{
		"nothing":            {nil, true},
		"null":               {map[string]any{"one": nil}, true},
		"one":                {one(map[string]any{"a": 1}), true},
		"none":               {one(map[string]any{}), false},
		"two":                {one(map[string]any{"a": 1, "b": "x"}), false},
		"one and a null":     {one(map[string]any{"a": 1, "b": nil}), false},
		"a null":             {one(map[string]any{"a": nil}), false},
		"one in a list":      {map[string]any{"deep": map[string]any{"ones": []any{map[string]any{"a": 1}}}}, true},
		"two in a list":      {map[string]any{"deep": map[string]any{"ones": []any{map[string]any{"a": 1}, map[string]any{"a": 1, "b": ""}}}}, false},
		"none inside of one": {one(map[string]any{"deep": map[string]any{"ones": []any{map[string]any{}}}}), false},
	} {
		vars, err := validator.VariableValues(schema, doc.Operations[0], c.vars)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := oneOf(schema, doc.Operations[0], vars); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

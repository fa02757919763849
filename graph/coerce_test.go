package graph

import (
	"encoding/json"
	"testing"

	"github.com/99designs/gqlgen/graphql"
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
	number := json.Number("1")
	one := func(fields map[string]any) map[string]any { return map[string]any{"one": fields} }
	for name, c := range map[string]struct {
		vars map[string]any
		ok   bool
	}{
		"nothing":            {nil, true},
		"null":               {map[string]any{"one": nil}, true},
		"one":                {one(map[string]any{"a": number}), true},
		"none":               {one(map[string]any{}), false},
		"two":                {one(map[string]any{"a": number, "b": "x"}), false},
		"one and a null":     {one(map[string]any{"a": number, "b": nil}), false},
		"a null":             {one(map[string]any{"a": nil}), false},
		"one in a list":      {map[string]any{"deep": map[string]any{"ones": []any{map[string]any{"a": number}}}}, true},
		"two in a list":      {map[string]any{"deep": map[string]any{"ones": []any{map[string]any{"a": number}, map[string]any{"a": number, "b": ""}}}}, false},
		"none inside of one": {one(map[string]any{"deep": map[string]any{"ones": []any{map[string]any{}}}}), false},
	} {
		vars, err := validator.VariableValues(schema, doc.Operations[0], c.vars)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := coercible(schema, doc.Operations[0], vars); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// wrong are values, as a request's variables hold them, that a type does not take.
var wrong = map[string][]any{
	"Int":      {"1", json.Number("1.5"), json.Number("2147483648"), true, map[string]any{}},
	"Boolean":  {"true", json.Number("1"), map[string]any{}},
	"String":   {json.Number("5"), true, map[string]any{}, "a\x00b"},
	"ID":       {json.Number("1.5"), true, map[string]any{}},
	"DateTime": {"yesterday", json.Number("5"), map[string]any{}},
	"Cursor":   {json.Number("5"), true, map[string]any{}},
	"Credits":  {"5", json.Number("1.5"), true, map[string]any{}},
	"Decimal":  {json.Number("1"), "1e3", "one", map[string]any{}},
	"URL":      {"ftp://example.org", json.Number("5"), map[string]any{}},
	"JSON":     {"a\x00b"},
	"Upload":   {"file", map[string]any{}},
}

// TestCoercion puts a wrong value into every place of every input of our schema, and one that is right.
func TestCoercion(t *testing.T) {
	t.Parallel()
	schema := contract(t)
	for _, def := range ours(schema) {
		if def.Kind == ast.Scalar && (readers[def.Name] == nil || wrong[def.Name] == nil) {
			t.Errorf("the scalar %s has no reader, or no wrong values", def.Name)
		}
	}
	places := 0
	refused := func(typ *ast.Type, v any) bool {
		op := &ast.OperationDefinition{VariableDefinitions: ast.VariableDefinitionList{{Variable: "v", Type: typ, Definition: schema.Types[typ.Name()]}}}
		vars, err := validator.VariableValues(schema, op, map[string]any{"v": v})
		return err != nil || coercible(schema, op, vars) != nil
	}
	for _, root := range []*ast.Definition{schema.Query, schema.Mutation, schema.Subscription} {
		for _, field := range fields(root) {
			for _, arg := range field.Arguments {
				if v := rightOf(schema, arg.Type); refused(arg.Type, v) {
					t.Errorf("%s.%s(%s:) refuses %#v", root.Name, field.Name, arg.Name, v)
				}
				for at, v := range wrongOnce(schema, arg.Type, 6) {
					places++
					if !refused(arg.Type, v) {
						t.Errorf("%s.%s(%s:) takes %#v at %s", root.Name, field.Name, arg.Name, v, at)
					}
				}
			}
		}
	}
	if places < 200 {
		t.Errorf("only %d places were found", places)
	}
	t.Logf("%d wrong values refused", places)
}

// wrongOnce yields values of a type that are wrong in one place each.
func wrongOnce(schema *ast.Schema, typ *ast.Type, depth int) func(yield func(at string, v any) bool) {
	return func(yield func(at string, v any) bool) {
		if typ.Elem != nil {
			for at, v := range wrongOnce(schema, typ.Elem, depth) {
				if !yield("0."+at, []any{v}) {
					return
				}
			}
			return
		}
		def := schema.Types[typ.NamedType]
		switch {
		case def.Kind == ast.Enum:
			lower := string(def.EnumValues[0].Name[0]|0x20) + def.EnumValues[0].Name[1:]
			for _, v := range []any{lower, "NO_SUCH_VALUE", json.Number("1"), true, map[string]any{}} {
				if !yield("", v) {
					return
				}
			}
		case def.Kind == ast.Scalar:
			for _, v := range wrong[def.Name] {
				if !yield("", v) {
					return
				}
			}
		case depth == 0:
		default:
			for _, v := range []any{"text", json.Number("1"), true, map[string]any{"__typename": def.Name}} {
				if !yield("", v) {
					return
				}
			}
			for _, f := range def.Fields {
				for at, v := range wrongOnce(schema, f.Type, depth-1) {
					fields := map[string]any{}
					if def.Directives.ForName("oneOf") == nil {
						fields = right(schema, def)
					}
					fields[f.Name] = v
					if !yield(f.Name+"."+at, fields) {
						return
					}
				}
			}
		}
	}
}

// right is what an input object must have at least.
func right(schema *ast.Schema, def *ast.Definition) map[string]any {
	fields := map[string]any{}
	for _, f := range def.Fields {
		if f.Type.NonNull && f.DefaultValue == nil {
			fields[f.Name] = rightOf(schema, f.Type)
		}
	}
	return fields
}

func rightOf(schema *ast.Schema, typ *ast.Type) any {
	if typ.Elem != nil {
		return []any{rightOf(schema, typ.Elem)}
	}
	switch def := schema.Types[typ.NamedType]; {
	case def.Kind == ast.Enum:
		return def.EnumValues[0].Name
	case def.Kind == ast.InputObject && def.Directives.ForName("oneOf") != nil:
		return map[string]any{def.Fields[0].Name: rightOf(schema, def.Fields[0].Type)}
	case def.Kind == ast.InputObject:
		return right(schema, def)
	}
	switch typ.NamedType {
	case "Int", "Credits":
		return json.Number("1")
	case "Boolean":
		return true
	case "DateTime":
		return "2026-01-31T12:00:00Z"
	case "Decimal":
		return "1.50"
	case "URL":
		return "https://example.org/"
	case "Upload":
		return graphql.Upload{}
	}
	return "x"
}

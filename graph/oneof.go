package graph

import (
	"fmt"
	"strconv"

	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"github.com/enrichd/enrichd/graph/transport"
)

// oneOf checks the coerced variables of an operation against @oneOf (GraphQL
// §3.10): exactly one field, and not null. The parser checks what is written in
// the document only.
func oneOf(schema *ast.Schema, op *ast.OperationDefinition, vars map[string]any) *gqlerror.Error {
	for _, def := range op.VariableDefinitions {
		if at, name := violation(schema, def.Type, vars[def.Variable], def.Variable); at != "" {
			return transport.Error(transport.CodeValidationFailed, fmt.Sprintf("variable.%s must have exactly one field, as %s says, and not null", at, name))
		}
	}
	return nil
}

// violation finds a value with more or less than one field; at is "" without any.
func violation(schema *ast.Schema, t *ast.Type, v any, path string) (at, name string) {
	if t.Elem != nil {
		list, _ := v.([]any)
		for i, e := range list {
			if at, name := violation(schema, t.Elem, e, path+"."+strconv.Itoa(i)); at != "" {
				return at, name
			}
		}
		return "", ""
	}
	def := schema.Types[t.NamedType]
	fields, ok := v.(map[string]any)
	if !ok || def == nil || def.Kind != ast.InputObject {
		return "", ""
	}
	if def.Directives.ForName("oneOf") != nil && !single(fields) {
		return path, def.Name
	}
	for _, f := range def.Fields {
		if e, held := fields[f.Name]; held {
			if at, name := violation(schema, f.Type, e, path+"."+f.Name); at != "" {
				return at, name
			}
		}
	}
	return "", ""
}

// single reports whether there is exactly one field, and a value in it.
func single(fields map[string]any) bool {
	for _, v := range fields {
		return len(fields) == 1 && v != nil
	}
	return false
}

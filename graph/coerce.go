package graph

import (
	"encoding/json"
	"errors"
	"math"
	"strconv"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"
	"github.com/vektah/gqlparser/v2/validator"
	"github.com/vektah/gqlparser/v2/validator/core"

	"github.com/enrichd/enrichd/graph/scalar"
	"github.com/enrichd/enrichd/graph/transport"
)

// A value that its type does not take refuses the request (GraphQL §6.1.2 for
// variables, §5.6.1 for literals): nothing may have run by then. The parser
// leaves three things to the resolvers, which would be too late: what custom
// scalars take, strings where numbers stand and numbers where strings do, and
// the case of enum values.

// readers say whether a scalar takes a value, by the scalar's name. A scalar of
// the schema without one fails TestCoercion.
var readers = map[string]func(v any) error{
	"Int":      readInt,
	"Float":    readFloat,
	"Boolean":  readBoolean,
	"String":   reader(scalar.UnmarshalString),
	"ID":       reader(scalar.UnmarshalID),
	"DateTime": reader(scalar.UnmarshalDateTime),
	"Cursor":   reader(scalar.UnmarshalCursor),
	"Credits":  reader(scalar.UnmarshalCredits),
	"Decimal":  reader(scalar.UnmarshalDecimal),
	"URL":      reader(scalar.UnmarshalURL),
	"JSON":     reader(scalar.UnmarshalRawJSON),
	"Upload":   readUpload,
}

func reader[T any](unmarshal func(any) (T, error)) func(any) error {
	return func(v any) error {
		_, err := unmarshal(v)
		return err
	}
}

var (
	errInt     = errors.New("must be a whole number of 32 bits")
	errFloat   = errors.New("must be a number")
	errBoolean = errors.New("must be true or false")
	errUpload  = errors.New("must be a file of a multipart request")
	errEnum    = errors.New("is not one of the enum's values")
	errObject  = errors.New("must be an input object")
	errUnknown = errors.New("is not a field of the input object")
	errNull    = errors.New("must not be null")
	errLiteral = errors.New("is no value of its type")
)

// readInt takes 32 bits (GraphQL §3.5.1), and no strings of digits.
func readInt(v any) error {
	n, ok := int64(0), false
	switch v := v.(type) {
	case int64:
		n, ok = v, true
	case json.Number:
		read, err := v.Int64()
		n, ok = read, err == nil
	}
	if !ok || n < math.MinInt32 || n > math.MaxInt32 {
		return errInt
	}
	return nil
}

func readFloat(v any) error {
	switch v := v.(type) {
	case int64, float64:
		return nil
	case json.Number:
		if _, err := v.Float64(); err == nil {
			return nil
		}
	}
	return errFloat
}

func readBoolean(v any) error {
	if _, ok := v.(bool); !ok {
		return errBoolean
	}
	return nil
}

func readUpload(v any) error {
	if _, ok := v.(graphql.Upload); !ok {
		return errUpload
	}
	return nil
}

// coercible refuses variables that hold a value their type does not take, after
// the parser has filled in defaults. It names the place, and quotes nothing.
func coercible(schema *ast.Schema, op *ast.OperationDefinition, vars map[string]any) *gqlerror.Error {
	nulls := false
	for _, def := range op.VariableDefinitions {
		v, given := vars[def.Variable]
		if !given {
			continue
		}
		nulls = nulls || v == nil
		if at, err := mismatch(schema, def.Type, v, "variable."+def.Variable); err != nil {
			return transport.Error(transport.CodeValidationFailed, at+" "+err.Error())
		}
	}
	if !nulls {
		return nil
	}
	// A variable that may be null may stand where null may not, if that place has a default (§5.8.5).
	// The default is for a variable that is left out; null is an error there (§6.4.1), and not nothing or 0.
	var wrong *gqlerror.Error
	used := uses{seen: map[string]bool{}, places: func(place *ast.Value) {
		v, given := vars[place.Raw]
		if given && v == nil && place.ExpectedType != nil && place.ExpectedType.NonNull {
			wrong = transport.Error(transport.CodeValidationFailed, "variable."+place.Raw+" "+errNull.Error()+" where "+place.ExpectedType.String()+" is taken")
		}
	}}
	used.set(op.SelectionSet)
	return wrong
}

// mismatch finds the first value below v, at path, that its type does not take.
func mismatch(schema *ast.Schema, t *ast.Type, v any, path string) (at string, err error) {
	if v == nil {
		if t.NonNull {
			return path, errNull
		}
		return "", nil
	}
	if t.Elem != nil {
		// A single value stands for a list of one (GraphQL §3.11).
		for i, e := range graphql.CoerceList(v) {
			if at, err := mismatch(schema, t.Elem, e, path+"."+strconv.Itoa(i)); err != nil {
				return at, err
			}
		}
		return "", nil
	}
	def := schema.Types[t.NamedType]
	switch def.Kind {
	case ast.Enum:
		if name, ok := v.(string); !ok || def.EnumValues.ForName(name) == nil {
			return path, errEnum
		}
	case ast.Scalar:
		if read := readers[def.Name]; read != nil {
			return path, read(v)
		}
	case ast.InputObject:
		return mismatchedField(schema, def, v, path)
	}
	return "", nil
}

func mismatchedField(schema *ast.Schema, def *ast.Definition, v any, path string) (at string, err error) {
	fields, ok := v.(map[string]any)
	if !ok {
		return path, errObject
	}
	for name := range fields {
		if def.Fields.ForName(name) == nil {
			return path, errUnknown // its name is the caller's, and may be long
		}
	}
	if def.Directives.ForName("oneOf") != nil && !single(fields) {
		return path, errors.New("must have exactly one field, as " + def.Name + " says, and not null")
	}
	for _, f := range def.Fields {
		if e, held := fields[f.Name]; held {
			if at, err := mismatch(schema, f.Type, e, path+"."+f.Name); err != nil {
				return at, err
			}
		}
	}
	return "", nil
}

// single reports whether there is exactly one field, and a value in it (GraphQL
// §3.10, @oneOf). The parser checks what is written in the document only.
func single(fields map[string]any) bool {
	for _, v := range fields {
		return len(fields) == 1 && v != nil
	}
	return false
}

// literals is the rule of validation that the parser's own lacks: what is
// written in the document must be what its scalar takes.
var literals = validator.Rule{
	Name: "LiteralsOfScalars",
	RuleFunc: func(observers *validator.Events, addError validator.AddErrFunc) {
		observers.OnValue(func(_ *validator.Walker, v *ast.Value) {
			if err := illegible(v); err != nil {
				addError(validator.Message("%s %s", v.ExpectedType.String(), err.Error()), core.At(v.Position))
			}
		})
	},
}

// illegible says why a literal is not of its type, where the parser's own rule passes it.
func illegible(v *ast.Value) error {
	if v.Definition == nil || v.ExpectedType == nil || v.Kind == ast.Variable || v.Kind == ast.NullValue {
		return nil
	}
	if v.Kind == ast.ListValue && v.ExpectedType.Elem != nil {
		return nil // its elements are looked at one by one
	}
	def := v.Definition
	switch {
	case def.Kind == ast.Enum && v.Kind == ast.ObjectValue:
		return errEnum
	case def.Kind != ast.Scalar || readers[def.Name] == nil:
		return nil
	case def.BuiltIn && v.Kind != ast.ObjectValue && (v.Kind != ast.IntValue || def.Name != "Int"):
		return nil // the parser's rule has seen to it
	}
	value, err := v.Value(nil)
	if err != nil && def.BuiltIn {
		return nil // and to this
	}
	if err != nil {
		return errLiteral
	}
	return readers[def.Name](value)
}

package scalar

import (
	"encoding/json"
	"io"

	"github.com/99designs/gqlgen/graphql"

	"github.com/enrichd/enrichd/internal/fault"
)

// MarshalJSON writes any value that encoding/json can, json.RawMessage as it stands. One
// that it cannot is a fault of ours: the panic becomes INTERNAL on the field.
func MarshalJSON(v any) graphql.Marshaler {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return graphql.WriterFunc(func(w io.Writer) { _, _ = w.Write(b) })
}

// UnmarshalJSON reads any value: maps, lists, strings, numbers (json.Number or
// int64, float64 for literals), booleans and nil. Strings anywhere in it, keys
// too, are valid UTF-8 without NUL bytes.
func UnmarshalJSON(v any) (any, error) { return v, sound(v) }

// MarshalRawJSON writes stored JSON; none is null.
func MarshalRawJSON(v json.RawMessage) graphql.Marshaler {
	if len(v) == 0 {
		return graphql.Null
	}
	return MarshalJSON(v)
}

// UnmarshalRawJSON reads any value, as UnmarshalJSON, into its encoded form.
func UnmarshalRawJSON(v any) (json.RawMessage, error) {
	if err := sound(v); err != nil {
		return nil, err
	}
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fault.Invalid("", "must be a JSON value")
	}
	return b, nil
}

// sound refuses strings the database would not take. Depth was bounded when the request was read.
func sound(v any) error {
	switch v := v.(type) {
	case string:
		return fault.Text("", v, 0)
	case map[string]any:
		for k, e := range v {
			if err := fault.Text("", k, 0); err != nil {
				return err
			}
			if err := sound(e); err != nil {
				return err
			}
		}
	case []any:
		for _, e := range v {
			if err := sound(e); err != nil {
				return err
			}
		}
	}
	return nil
}

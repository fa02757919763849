package graph

import (
	"net/http"

	"github.com/vektah/gqlparser/v2/ast"

	"github.com/enrichd/enrichd/graph/transport"
	"github.com/enrichd/enrichd/internal/limit"
)

// Operation is what Options.Charge is asked about: an operation that has passed
// every check and would run now.
type Operation struct {
	Type ast.Operation
	// Cost is its price in points.
	Cost int64
	// Fields are its root fields by their names in the schema, each as often as it is selected.
	Fields []string
}

// rootFields lists the fields at the top of an operation, through fragments.
// The precheck has bounded how many there are.
func rootFields(set ast.SelectionSet) (names []string) {
	for _, s := range set {
		switch s := s.(type) {
		case *ast.Field:
			names = append(names, s.Name)
		case *ast.InlineFragment:
			names = append(names, rootFields(s.SelectionSet)...)
		case *ast.FragmentSpread:
			if s.Definition != nil {
				names = append(names, rootFields(s.Definition.SelectionSet)...)
			}
		}
	}
	return names
}

// rateLimited is the answer to a caller whose bucket is empty.
func rateLimited(e limit.Exceeded) transport.Refusal {
	return transport.Refusal{
		Status: http.StatusTooManyRequests, Code: transport.CodeRateLimited, Message: e.Error(),
		RetryAfter: e.Verdict.RetryAfter, Extra: map[string]any{"retryAfterMs": e.Verdict.RetryAfter.Milliseconds()},
	}
}

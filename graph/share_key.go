package graph

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"

	"github.com/enrichd/enrichd/internal/access"
)

// who says what a resolver could see of a principal.
func who(p *access.Principal) string {
	if p == nil {
		return ""
	}
	scopes := slices.Clone(p.Key.Scopes)
	slices.Sort(scopes)
	return fmt.Sprint(p.Company.ID, p.Key.Test, scopes)
}

// below renders the variables that are used below the root field. Those used
// only in its own arguments (which run, from where) choose the log and the place in it, not what is sent.
func below(op *graphql.OperationContext) string {
	if len(op.Variables) == 0 {
		return ""
	}
	used := map[string]any{}
	u := uses{seen: map[string]bool{}, places: func(place *ast.Value) {
		if v, given := op.Variables[place.Raw]; given {
			used[place.Raw] = v
		}
	}}
	u.root(op.Operation.SelectionSet)
	u.directives(op.Operation.Directives)
	if len(used) == 0 {
		return ""
	}
	b, err := json.Marshal(used)
	if err != nil {
		return fmt.Sprintf("%p", op) // shared with nobody
	}
	return string(b)
}

// uses finds the places where a selection uses variables.
type uses struct {
	seen   map[string]bool // fragments
	places func(place *ast.Value)
}

// root looks at everything but the arguments of the root field.
func (u *uses) root(set ast.SelectionSet) {
	for _, s := range set {
		switch s := s.(type) {
		case *ast.Field:
			u.directives(s.Directives)
			u.set(s.SelectionSet)
		case *ast.InlineFragment:
			u.directives(s.Directives)
			u.root(s.SelectionSet)
		case *ast.FragmentSpread:
			u.directives(s.Directives)
			if s.Definition != nil {
				u.root(s.Definition.SelectionSet)
			}
		}
	}
}

func (u *uses) set(set ast.SelectionSet) {
	for _, s := range set {
		switch s := s.(type) {
		case *ast.Field:
			u.directives(s.Directives)
			u.arguments(s.Arguments)
			u.set(s.SelectionSet)
		case *ast.InlineFragment:
			u.directives(s.Directives)
			u.set(s.SelectionSet)
		case *ast.FragmentSpread:
			u.directives(s.Directives)
			if s.Definition != nil && !u.seen[s.Name] {
				u.seen[s.Name] = true
				u.set(s.Definition.SelectionSet)
			}
		}
	}
}

func (u *uses) directives(list ast.DirectiveList) {
	for _, d := range list {
		u.arguments(d.Arguments)
	}
}

func (u *uses) arguments(list ast.ArgumentList) {
	for _, a := range list {
		u.value(a.Value)
	}
}

func (u *uses) value(v *ast.Value) {
	if v == nil {
		return
	}
	if v.Kind == ast.Variable {
		u.places(v)
	}
	for _, c := range v.Children {
		u.value(c.Value)
	}
}

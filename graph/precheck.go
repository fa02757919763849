package graph

import (
	"fmt"
	"strings"

	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"github.com/enrichd/enrichd/graph/transport"
)

// Limits bound what one document may ask for. They hold before validation,
// whose cost grows with the square of some of them.
type Limits struct {
	// Tokens bounds the document as the lexer sees it.
	Tokens int
	// Fields bounds the fields of one selection set, fragments followed.
	Fields int
	// Repeats bounds how often one response key may occur in one merged
	// selection set: validation compares every pair of them.
	Repeats int
	// Expanded bounds the selections of the document with every fragment written out where it is spread.
	Expanded int
	// RootAliases bounds the aliased fields of an operation's own selection set.
	RootAliases int
	// Directives bounds those of the document, NodeDirectives those of one field or fragment.
	Directives, NodeDirectives int
	// Depth bounds the nesting of fields, IntrospectionDepth the same below __schema and __type.
	Depth, IntrospectionDepth int
	// ValueDepth bounds the nesting of literals in arguments.
	ValueDepth int
	// First bounds every argument of that name; Cost what an operation may cost.
	First int
	Cost  int64
}

// DefaultLimits are generous to honest documents: the largest one of the
// dashboard has a tenth of these tokens.
var DefaultLimits = Limits{
	Tokens: 2000, Fields: 200, Repeats: 10, Expanded: 10_000, RootAliases: 30,
	Directives: 50, NodeDirectives: 5, Depth: 12, IntrospectionDepth: 20, ValueDepth: 20, First: 100, Cost: 10_000,
}

// shape is what a walk over a document learns.
type shape struct {
	// introspects is set when an operation selects __schema or __type.
	introspects bool
	// nul is set when a string literal holds a NUL byte.
	nul bool
	// steps is how many elements the walk has looked at; pairs is how many pairs of
	// fields share a response key, which validation compares.
	steps, pairs int
}

// precheck walks a parsed document once, before validation, and refuses what
// would make validation or execution expensive. It takes time in proportion to
// the tokens, and to Expanded where fragments multiply them. It knows no types: what
// the schema forbids is the validator's to say.
func precheck(doc *ast.QueryDocument, lim Limits) (shape, *gqlerror.Error) {
	w := walker{lim: lim, fragments: make(map[string]*ast.FragmentDefinition, len(doc.Fragments))}
	for _, f := range doc.Fragments {
		w.fragments[f.Name] = f
	}
	for _, f := range doc.Fragments {
		w.directives(f.Directives)
		w.written(f.SelectionSet)
	}
	for _, op := range doc.Operations {
		w.directives(op.Directives)
		for _, v := range op.VariableDefinitions {
			w.directives(v.Directives)
		}
		w.written(op.SelectionSet)
	}
	w.cycles(doc.Fragments)
	for _, op := range doc.Operations {
		w.merged([]ast.SelectionSet{op.SelectionSet}, 1, lim.Depth)
	}
	for _, f := range doc.Fragments {
		// Validation walks a fragment that nobody spreads just as well.
		if !w.reached[f.Name] {
			w.merged([]ast.SelectionSet{f.SelectionSet}, 1, lim.Depth)
		}
	}
	return w.shape, w.err
}

type walker struct {
	lim       Limits
	fragments map[string]*ast.FragmentDefinition
	reached   map[string]bool
	directs   int
	expanded  int
	shape     shape
	err       *gqlerror.Error
}

func (w *walker) refuse(format string, args ...any) {
	if w.err == nil {
		w.err = transport.Error(transport.CodeValidationFailed, fmt.Sprintf(format, args...))
	}
}

func (w *walker) directives(list ast.DirectiveList) {
	if len(list) > w.lim.NodeDirectives {
		w.refuse("more than %d directives on one element", w.lim.NodeDirectives)
	}
	if w.directs += len(list); w.directs > w.lim.Directives {
		w.refuse("more than %d directives in the document", w.lim.Directives)
	}
	for _, d := range list {
		w.shape.steps++
		w.arguments(d.Arguments)
	}
}

func (w *walker) arguments(list ast.ArgumentList) {
	for _, a := range list {
		w.value(a.Value, 1)
	}
}

func (w *walker) value(v *ast.Value, depth int) {
	if v == nil || w.err != nil {
		return
	}
	w.shape.steps++
	if depth > w.lim.ValueDepth {
		w.refuse("a literal nested deeper than %d levels", w.lim.ValueDepth)
		return
	}
	if strings.IndexByte(v.Raw, 0) >= 0 {
		w.shape.nul = true
	}
	for _, c := range v.Children {
		w.value(c.Value, depth+1)
	}
}

// written checks selection sets as they stand, fragments not followed.
// Recursion is bounded by the parser, which nests at most 1,000 deep.
func (w *walker) written(set ast.SelectionSet) {
	for _, s := range set {
		if w.err != nil {
			return
		}
		w.shape.steps++
		switch s := s.(type) {
		case *ast.Field:
			w.directives(s.Directives)
			w.arguments(s.Arguments)
			w.written(s.SelectionSet)
		case *ast.InlineFragment:
			w.directives(s.Directives)
			w.written(s.SelectionSet)
		case *ast.FragmentSpread:
			w.directives(s.Directives)
		}
	}
}

// cycles refuses fragments that lead back to themselves, before anything follows them.
func (w *walker) cycles(all ast.FragmentDefinitionList) {
	const (
		inside = 1
		done   = 2
	)
	state := make(map[string]int, len(all))
	var visit func(name string)
	var follow func(set ast.SelectionSet)
	visit = func(name string) {
		f := w.fragments[name]
		switch {
		case w.err != nil || f == nil || state[name] == done:
			return
		case state[name] == inside:
			w.refuse("fragment %q spreads itself", name)
			return
		}
		state[name] = inside
		follow(f.SelectionSet)
		state[name] = done
	}
	follow = func(set ast.SelectionSet) {
		for _, s := range set {
			w.shape.steps++
			switch s := s.(type) {
			case *ast.Field:
				follow(s.SelectionSet)
			case *ast.InlineFragment:
				follow(s.SelectionSet)
			case *ast.FragmentSpread:
				visit(s.Name)
			}
		}
	}
	for _, f := range all {
		visit(f.Name)
	}
}

// group is what one response key stands for in a merged selection set.
type group struct {
	count, aliased int

	below []ast.SelectionSet
	// meta is set for __schema and __type, which nest deeper than data does.
	meta bool
}

// merged checks one merged selection set: the sets of all fields that share a
// response key, with fragments written out. depth is that of its fields.
func (w *walker) merged(sets []ast.SelectionSet, depth, limit int) {
	if w.err != nil {
		return
	}
	groups := map[string]*group{}
	seen := map[string]bool{}
	for _, set := range sets {
		w.collect(set, groups, seen)
	}
	fields, aliased := 0, 0
	for _, g := range groups {
		w.shape.steps++
		fields += g.count
		aliased += g.aliased
	}
	switch {
	case w.err != nil || fields == 0:
		return
	case depth > limit:
		w.refuse("nested deeper than %d levels", limit)
		return
	case fields > w.lim.Fields:
		w.refuse("more than %d fields in one selection set", w.lim.Fields)
		return
	case depth == 1 && aliased > w.lim.RootAliases:
		w.refuse("more than %d aliases at the root", w.lim.RootAliases)
		return
	}
	for _, g := range groups {
		if len(g.below) == 0 {
			continue
		}
		below := limit
		if g.meta {
			below = depth + w.lim.IntrospectionDepth
		}
		w.merged(g.below, depth+1, below)
	}
}

// collect sorts the fields of one set by response key. A fragment counts once in a merged set, however often it is spread there.
func (w *walker) collect(set ast.SelectionSet, groups map[string]*group, seen map[string]bool) {
	for _, s := range set {
		if w.err != nil {
			return
		}
		w.shape.steps++
		if w.expanded++; w.expanded > w.lim.Expanded {
			w.refuse("more than %d selections once fragments are written out", w.lim.Expanded)
			return
		}
		switch s := s.(type) {
		case *ast.Field:
			key := s.Alias
			g := groups[key]
			if g == nil {
				g = &group{}
				groups[key] = g
			}
			w.shape.pairs += g.count
			if g.count++; g.count > w.lim.Repeats {
				w.refuse("the same field more than %d times in one selection set", w.lim.Repeats)
				return
			}
			if s.Alias != s.Name {
				g.aliased++
			}
			if len(s.SelectionSet) > 0 {
				g.below = append(g.below, s.SelectionSet)
			}
			if s.Name == "__schema" || s.Name == "__type" {
				g.meta, w.shape.introspects = true, true
			}
		case *ast.InlineFragment:
			w.collect(s.SelectionSet, groups, seen)
		case *ast.FragmentSpread:
			f := w.fragments[s.Name]
			if f == nil || seen[s.Name] {
				continue
			}
			seen[s.Name] = true
			if w.reached == nil {
				w.reached = map[string]bool{}
			}
			w.reached[s.Name] = true
			w.collect(f.SelectionSet, groups, seen)
		}
	}
}

// hasNUL reports whether a value from outside holds a NUL byte, which the database cannot store.
func hasNUL(v any) bool {
	switch v := v.(type) {
	case string:
		return strings.IndexByte(v, 0) >= 0
	case map[string]any:
		for k, e := range v {
			if hasNUL(k) || hasNUL(e) {
				return true
			}
		}
	case []any:
		for _, e := range v {
			if hasNUL(e) {
				return true
			}
		}
	}
	return false
}

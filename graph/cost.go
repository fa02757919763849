package graph

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"

	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"github.com/enrichd/enrichd/graph/transport"
)

// cost prices one operation before it runs. A field costs the weight of its
// @cost directive (or 1 when it has fields of its own, else nothing); what is
// below it counts as often as its argument first says. Both branches of a
// condition are paid for. Sums and products stop at the largest int64.
//
// It runs after validation, so fields have definitions and fragments no
// cycles. A page size above lim.First, or a cost above lim.Cost, is refused.
func cost(op *ast.OperationDefinition, vars map[string]any, lim Limits) (int64, *gqlerror.Error) {
	p := pricer{vars: vars, lim: lim, fragments: map[string]int64{}}
	total := max(1, p.set(op.SelectionSet))
	if p.err != nil {
		return 0, p.err
	}
	if total > lim.Cost {
		err := transport.Error(transport.CodeCostExceeded, fmt.Sprintf("the operation costs %d, more than the %d that one may cost", total, lim.Cost))
		err.Extensions["cost"], err.Extensions["limit"] = total, lim.Cost
		return total, err
	}
	return total, nil
}

type pricer struct {
	vars map[string]any
	lim  Limits
	// fragments holds the price of each fragment: it is the same wherever it is spread.
	fragments map[string]int64
	err       *gqlerror.Error
}

func (p *pricer) set(set ast.SelectionSet) (total int64) {
	for _, s := range set {
		switch s := s.(type) {
		case *ast.Field:
			total = add(total, p.field(s))
		case *ast.InlineFragment:
			total = add(total, p.set(s.SelectionSet))
		case *ast.FragmentSpread:
			if s.Definition == nil {
				continue
			}
			price, known := p.fragments[s.Name]
			if !known {
				price = p.set(s.Definition.SelectionSet)
				p.fragments[s.Name] = price
			}
			total = add(total, price)
		}
	}
	return total
}

func (p *pricer) field(f *ast.Field) int64 {
	weight := weightOf(f.Definition)
	if weight < 0 {
		weight = 0
		if len(f.SelectionSet) > 0 {
			weight = 1
		}
	}
	if len(f.SelectionSet) == 0 {
		return weight
	}
	return add(weight, mul(p.first(f), p.set(f.SelectionSet)))
}

// weightOf reads @cost(weight:), -1 without one.
func weightOf(def *ast.FieldDefinition) int64 {
	if def == nil {
		return -1
	}
	d := def.Directives.ForName("cost")
	if d == nil {
		return -1
	}
	if a := d.Arguments.ForName("weight"); a != nil && a.Value != nil {
		if n, err := strconv.ParseInt(a.Value.Raw, 10, 64); err == nil && n >= 0 {
			return n
		}
	}
	return -1
}

// first is how many items a field may return by its argument of that name, 1 without one.
func (p *pricer) first(f *ast.Field) int64 {
	if f.Definition == nil {
		return 1
	}
	def := f.Definition.Arguments.ForName("first")
	if def == nil {
		return 1
	}
	n, given := int64(0), false
	if a := f.Arguments.ForName("first"); a != nil {
		v, err := a.Value.Value(p.vars)
		n, given = number(v)
		given = given && err == nil
	}
	if !given && def.DefaultValue != nil {
		v, err := def.DefaultValue.Value(nil)
		n, given = number(v)
		given = given && err == nil
	}
	switch {
	case !given:
		return int64(p.lim.First)
	case n > int64(p.lim.First):
		if p.err == nil {
			p.err = transport.Error(transport.CodeValidationFailed, fmt.Sprintf("first must be between 1 and %d, not %d", p.lim.First, n))
		}
		return int64(p.lim.First)
	}
	return max(n, 1) // a page size below 1 is refused where it is used
}

func number(v any) (int64, bool) {
	switch v := v.(type) {
	case int:
		return int64(v), true
	case int32:
		return int64(v), true
	case int64:
		return v, true
	case float64:
		if v > math.MaxInt32 {
			return math.MaxInt32, true
		}
		return int64(v), true
	case json.Number:
		n, err := v.Int64()
		if err != nil {
			return math.MaxInt32, true
		}
		return n, true
	}
	return 0, false
}

// add and mul take numbers from 0 up and stop at the largest int64.
func add(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

func mul(a, b int64) int64 {
	if b != 0 && a > math.MaxInt64/b {
		return math.MaxInt64
	}
	return a * b
}

package graph

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/99designs/gqlgen/graphql"

	"github.com/enrichd/enrichd/graph/internal/testschema"
	"github.com/enrichd/enrichd/graph/transport"
)

func TestCost(t *testing.T) {
	t.Parallel()
	e := testEngine(t)
	price := func(t *testing.T, q string, vars map[string]any) (int64, string) {
		t.Helper()
		d, errs := e.load(q)
		if len(errs) > 0 {
			t.Fatal(errs)
		}
		n, err := cost(d.doc.Operations[0], vars, e.lim)
		if err != nil {
			return n, transport.CodeOf(err)
		}
		return n, ""
	}
	for name, c := range map[string]struct {
		query string
		vars  map[string]any
		want  int64
	}{
		"a leaf is free, an operation is not":                {"{hello}", nil, 1},
		"a field with fields costs 1":                        {"{node{id child{id}}}", nil, 2},
		"a weight counts once, without what is below":        {"{items{id}}", nil, 2},
		"what is below counts as often as first says":        {"{items(first:5){child{id}}}", nil, 2 + 5},
		"the default of first counts when none is given":     {"{items{child{id}}}", nil, 2 + 20},
		"variables count":                                    {"query($n:Int!){items(first:$n){child{id}}}", map[string]any{"n": json.Number("7")}, 2 + 7},
		"a variable left out means the default":              {"query($n:Int=3){items(first:$n){child{id}}}", map[string]any{"n": int64(3)}, 2 + 3},
		"pages multiply":                                     {"{items(first:10){children(first:10){child{id}}}}", nil, 2 + 10*(1+10)},
		"a fragment costs the same wherever it is spread":    {"{node{...A child{...A}}} fragment A on Item{children(first:10){child{id}}}", nil, 1 + 11 + 1 + 11},
		"inline fragments cost what they hold":               {"{...{node{...on Item{child{id}}}}}", nil, 2},
		"a page size below one is left to who uses it":       {"{items(first:-5){child{id}}}", nil, 3},
		"a condition is paid for whatever its variable says": {"{node @skip(if:true){child{id}}}", nil, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got, code := price(t, c.query, c.vars); got != c.want || code != "" {
				t.Errorf("%d %s, not %d", got, code, c.want)
			}
		})
	}
	t.Run("refuses pages above 100, by literal and by variable", func(t *testing.T) {
		t.Parallel()
		for _, n := range []json.Number{"101", "2147483648", "99999999999999999999"} {
			if _, code := price(t, "query($n:Int!){items(first:$n){id}}", map[string]any{"n": n}); code != transport.CodeValidationFailed {
				t.Errorf("%s: %q", n, code)
			}
		}
		if _, code := price(t, "{items(first:101){id}}", nil); code != transport.CodeValidationFailed {
			t.Errorf("literal: %q", code)
		}
	})
	t.Run("refuses what costs too much, however large, without overflow", func(t *testing.T) {
		t.Parallel()
		deep := "{items(first:100)" + strings.Repeat("{children(first:100)", 9) + "{child{id}}" + strings.Repeat("}", 10)
		n, code := price(t, deep, nil)
		if n != math.MaxInt64 || code != transport.CodeCostExceeded {
			t.Errorf("%d %q", n, code)
		}
	})
	t.Run("charges the caller's bucket before anything runs", func(t *testing.T) {
		t.Parallel()
		var charged int64
		e := NewServer(Options{Schema: testschema.New(), Charge: func(_ context.Context, op Operation) (*Budget, error) {
			if charged += op.Cost; charged > 5 {
				return nil, transport.Refusal{Status: 429, Code: transport.CodeRateLimited, Message: "empty", RetryAfter: time.Second, Extra: map[string]any{"retryAfterMs": 1000}}
			}
			return &Budget{Remaining: 5 - charged, Capacity: 5, RestorePerSecond: 1}, nil
		}}).engine
		params := graphql.RawParams{Query: "{node{child{child{id}}}}"}
		op, errs := e.CreateOperationContext(t.Context(), &params)
		if len(errs) > 0 {
			t.Fatal(errs)
		}
		next, ctx := e.DispatchOperation(t.Context(), op)
		b, _ := json.Marshal(next(ctx).Extensions)
		if string(b) != `{"cost":{"requested":3,"remaining":2,"capacity":5,"restorePerSecond":1}}` {
			t.Error(string(b))
		}
		if _, errs := e.CreateOperationContext(t.Context(), &params); len(errs) != 1 || transport.CodeOf(errs[0]) != transport.CodeRateLimited || errs[0].Extensions["retryAfterMs"] != 1000 {
			t.Error(errs)
		}
	})
}

func TestPresenter(t *testing.T) {
	t.Parallel()
	e := testEngine(t)
	ctx := WithRequestID(t.Context(), "req_1")
	t.Run("gives INTERNAL to what it does not know, and keeps its text", func(t *testing.T) {
		t.Parallel()
		for _, err := range []error{
			errors.New(testschema.Secret), transport.Error("SECRET_CODE", testschema.Secret), errors.Join(errors.New("a"), errors.New(testschema.Secret)),
		} {
			shown := e.present(ctx, err)
			if shown.Message != "internal error" || transport.CodeOf(shown) != transport.CodeInternal || shown.Extensions["requestId"] != "req_1" {
				t.Errorf("%v", shown)
			}
		}
	})
	t.Run("lets only documented extensions through", func(t *testing.T) {
		t.Parallel()
		err := transport.Error(transport.CodeForbidden, "no")
		err.Extensions["requiredScope"], err.Extensions["file"] = "ADMIN", "secret.go"
		if shown := e.present(ctx, err); shown.Extensions["requiredScope"] != "ADMIN" || shown.Extensions["file"] != nil {
			t.Errorf("%v", shown.Extensions)
		}
	})
	t.Run("cuts long messages at a whole character", func(t *testing.T) {
		t.Parallel()
		shown := e.present(ctx, transport.Error(transport.CodeParseFailed, strings.Repeat("я", 10_000)))
		if len(shown.Message) > maxMessage+len("…") || strings.ContainsRune(shown.Message, '\uFFFD') {
			t.Errorf("%d bytes", len(shown.Message))
		}
	})
}

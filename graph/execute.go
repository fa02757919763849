package graph

import (
	"context"
	"log/slog"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/executor"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"
	"github.com/vektah/gqlparser/v2/parser"
	"github.com/vektah/gqlparser/v2/validator"
	"github.com/vektah/gqlparser/v2/validator/rules"

	"github.com/enrichd/enrichd/graph/transport"
)

const (
	// cachedDocuments and cachedText bound the documents that are kept parsed and validated, in number and in bytes each.
	cachedDocuments = 1000
	cachedText      = 16 << 10
	// maxErrors is how many errors one answer carries.
	maxErrors = 10
)

// engine prepares operations (lex, parse, precheck, validate, coerce, price)
// and leaves running them to gqlgen.
type engine struct {
	*executor.Executor
	schema     *ast.Schema
	lim        Limits
	suggest    bool
	introspect func(ctx context.Context) bool
	charge     func(ctx context.Context, op Operation) (*Budget, error)
	observer   func(ctx context.Context, o Observation)
	documents  *cache[*document] // by text
	persisted  *cache[*document] // by SHA-256 of the text, in hexadecimal
	operations Operations        // always known
	// persistedOnly refuses everything but operations.
	persistedOnly bool
	present       graphql.ErrorPresenterFunc
	timeout       time.Duration // of rendering one event
	shares        shares
	log           *slog.Logger
}

// document is a text that passed; it is shared by all who send it.
type document struct {
	text  string
	doc   *ast.QueryDocument
	shape shape
	// listed says that the text is one of Options.Operations.
	listed bool
}

func newEngine(o Options, log *slog.Logger) *engine {
	e := &engine{
		Executor: executor.New(o.Schema), schema: o.Schema.Schema(), lim: o.Limits, suggest: o.Dev,
		introspect: o.Introspect, charge: o.Charge, observer: o.Observe, documents: newCache[*document](cachedDocuments), persisted: newCache[*document](cachedDocuments),
		operations: o.Operations, persistedOnly: o.PersistedOnly,
		present: presenter(log, o.Dev), timeout: o.OperationTimeout, log: log,
	}
	e.SetQueryCache(prepared{})
	e.SetErrorPresenter(e.present)
	e.SetRecoverFunc(recoverer(log))
	return e
}

// prepared hands gqlgen's executor the document that the engine has already
// checked, so that it never parses one itself.
type prepared struct{}

type preparedKey struct{}

func (prepared) Get(ctx context.Context, _ string) (*ast.QueryDocument, bool) {
	d, ok := ctx.Value(preparedKey{}).(*document)
	if !ok {
		return nil, false
	}
	return d.doc, true
}

func (prepared) Add(context.Context, string, *ast.QueryDocument) {}

// CreateOperationContext prepares one operation. Errors it returns refuse the
// operation as a whole: nothing has run.
func (e *engine) CreateOperationContext(ctx context.Context, p *graphql.RawParams) (*graphql.OperationContext, gqlerror.List) {
	op, errs := e.prepare(ctx, p)
	if len(errs) > 0 {
		e.rejected(ctx, op, transport.CodeOf(errs[0]))
	}
	return op, errs
}

func (e *engine) prepare(ctx context.Context, p *graphql.RawParams) (*graphql.OperationContext, gqlerror.List) {
	none := &graphql.OperationContext{}
	d, errs := e.resolve(ctx, p)
	if len(errs) > 0 {
		return none, errs
	}
	ctx = graphql.StartOperationTrace(context.WithValue(ctx, preparedKey{}, d))
	p.Query = d.text // one text for all who sent it
	op, errs := e.Executor.CreateOperationContext(ctx, p)
	if len(errs) > 0 {
		return op, requestErrors(errs)
	}
	if d.shape.introspects {
		if !e.introspect(ctx) {
			err := transport.Error(transport.CodeForbidden, "introspection needs the scope ADMIN")
			err.Extensions["requiredScope"] = "ADMIN"
			return op, gqlerror.List{err}
		}
		op.DisableIntrospection = false
	}
	if d.shape.nul || hasNUL(p.Variables) {
		return op, gqlerror.List{transport.Error(transport.CodeValidationFailed, "strings must not contain NUL bytes")}
	}
	if err := coercible(e.schema, op.Operation, op.Variables); err != nil {
		return op, gqlerror.List{err}
	}
	price, err := cost(op.Operation, op.Variables, e.lim)
	if err != nil {
		return op, gqlerror.List{err}
	}
	spent := Spent{Requested: price}
	if e.charge != nil {
		budget, err := e.charge(ctx, Operation{Type: op.Operation.Operation, Cost: price, Fields: rootFields(op.Operation.SelectionSet)})
		if err != nil {
			return op, gqlerror.List{e.present(ctx, err)}
		}
		spent.Budget = budget
	}
	op.Stats.SetExtension(spentExtension, spent)
	e.noted(ctx, d, op, price)
	return op, nil
}

// load returns the document of a text, from the cache or by parsing, checking and validating it.
func (e *engine) load(text string) (*document, gqlerror.List) {
	if d, ok := e.documents.get(text); ok {
		return d, nil
	}
	doc, err := parser.ParseQueryWithTokenLimit(&ast.Source{Input: text}, e.lim.Tokens)
	if err != nil {
		return nil, coded(transport.CodeParseFailed, gqlerror.List{gqlerror.Wrap(err)})
	}
	if len(doc.Operations) == 0 {
		return nil, gqlerror.List{transport.Error(transport.CodeValidationFailed, "the document holds no operation")}
	}
	shape, refused := precheck(doc, e.lim)
	if refused != nil {
		return nil, gqlerror.List{refused}
	}
	if errs := validator.ValidateWithRules(e.schema, doc, validationRules(e.suggest)); len(errs) > 0 {
		return nil, coded(transport.CodeValidationFailed, errs)
	}
	d := &document{text: text, doc: doc, shape: shape}
	if len(e.operations) > 0 {
		_, d.listed = e.operations[hashOf(text)]
	}
	if len(text) <= cachedText {
		e.documents.put(text, d)
	}
	return d, nil
}

// validationRules are the specification's, and what the parser's own leave out of them. Suggestions cost time and tell names, so only development gets them.
func validationRules(suggest bool) *rules.Rules {
	r := rules.NewDefaultRules()
	r.AddRule(literals.Name, literals.RuleFunc)
	if suggest {
		return r
	}
	for _, swap := range []struct{ with, without validator.Rule }{
		{rules.FieldsOnCorrectTypeRule, rules.FieldsOnCorrectTypeRuleWithoutSuggestions},
		{rules.ScalarLeafsRule, rules.ScalarLeafsRuleWithoutSuggestions},
		{rules.ValuesOfCorrectTypeRule, rules.ValuesOfCorrectTypeRuleWithoutSuggestions},
		{rules.KnownArgumentNamesRule, rules.KnownArgumentNamesRuleWithoutSuggestions},
		{rules.KnownTypeNamesRule, rules.KnownTypeNamesRuleWithoutSuggestions},
	} {
		r.RemoveRule(swap.with.Name)
		r.AddRule(swap.without.Name, swap.without.RuleFunc)
	}
	return r
}

// coded gives errors a code and cuts the list to what one answer carries.
func coded(code string, errs gqlerror.List) gqlerror.List {
	errs = errs[:min(len(errs), maxErrors)]
	for _, err := range errs {
		err.Extensions = map[string]any{"code": code}
	}
	return requestErrors(errs)
}

// requestErrors moves the path of an error (a variable's, for instance) into
// its message: path is for fields of the answer, and there is none (GraphQL §7.1.2).
func requestErrors(errs gqlerror.List) gqlerror.List {
	for _, err := range errs {
		if len(err.Path) > 0 {
			err.Message, err.Path = err.Path.String()+" "+err.Message, nil
		}
		if transport.CodeOf(err) == "" {
			err.Extensions = map[string]any{"code": transport.CodeValidationFailed}
		}
	}
	return errs
}

// DispatchOperation runs a prepared operation. Its answers carry at most
// maxErrors errors, and those of queries and mutations their price.
func (e *engine) DispatchOperation(ctx context.Context, op *graphql.OperationContext) (graphql.ResponseHandler, context.Context) {
	next, ctx := e.Executor.DispatchOperation(ctx, op)
	spent, priced := op.Stats.GetExtension(spentExtension).(Spent)
	priced = priced && op.Operation.Operation != ast.Subscription
	return func(ctx context.Context) *graphql.Response {
		resp := next(ctx)
		if resp == nil {
			return nil
		}
		if op.Operation.Operation != ast.Subscription {
			e.answered(ctx, op, resp.Errors)
		}
		resp.Errors = resp.Errors[:min(len(resp.Errors), maxErrors)]
		if priced {
			if resp.Extensions == nil {
				resp.Extensions = map[string]any{}
			}
			resp.Extensions["cost"] = spent
		}
		return resp
	}, ctx
}

const spentExtension = "enrichd.cost"

// Spent is extensions.cost of an answer.
type Spent struct {
	// Requested is what the operation cost, in points.
	Requested int64 `json:"requested"`
	*Budget
}

// Budget is the caller's bucket of cost points after an operation was charged.
type Budget struct {
	Remaining        int64 `json:"remaining"`
	Capacity         int64 `json:"capacity"`
	RestorePerSecond int64 `json:"restorePerSecond"`
}

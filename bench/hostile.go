package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"time"

	"github.com/enrichd/enrichd/graph"
	gen "github.com/enrichd/enrichd/graph/exec"
	"github.com/enrichd/enrichd/internal/access"
	"github.com/enrichd/enrichd/resolvers"
)

const (
	hostileRounds = 5
	hostileEach   = 5 // requests of one kind in a round
	tenMB         = 10 << 20
)

// vector is one hostile request.
type vector struct {
	name string
	body []byte
	// unsized leaves the length unsaid, so that the server finds out by reading.
	unsized, anonymous bool
}

func document(text string) []byte { return fmt.Appendf(nil, `{"query":%q}`, text) }

// numbered repeats a format with its number.
func numbered(format string, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}

// vectors are the requests that are known to hurt GraphQL servers.
func vectors() []vector {
	repeated := "{" + strings.Repeat("viewer ", 8000) + "}"
	return []vector{
		{name: "a field 8,000 times", body: document(repeated)},
		{name: "a field 8,000 times in inline fragments", body: document("{" + strings.Repeat("...{viewer}", 8000) + "}")},
		{name: "a field 20 times 50 fragments", body: document("{" + strings.Repeat(numbered("...F%d ", 50), 20) + "}" + numbered("fragment F%d on Query{viewer{id}}", 50))},
		{name: "20,000 aliases", body: document("{" + numbered("a%d:x ", 20_000) + "}")},
		{name: "20,000 unknown directives", body: document("{viewer" + strings.Repeat("@x", 20_000) + "}")},
		{name: "depth 500", body: document(strings.Repeat("{node", 500) + "{id}" + strings.Repeat("}", 500))},
		{name: "fragments in a circle", body: document("{...A} fragment A on Query{viewer ...B} fragment B on Query{viewer ...A}")},
		{name: "fragments that double 40 times", body: document("{...F0}" + doubled(40))},
		{name: "a body of 10 MB", body: bytes.Repeat([]byte(" "), tenMB)},
		{name: "a body of 10 MB, its length unsaid", body: bytes.Repeat([]byte(" "), tenMB), unsized: true},
		{name: "variables of 10 MB", body: []byte(`{"query":"query($a:String){viewer}","variables":{"a":"` + strings.Repeat("x", tenMB) + `"}}`), unsized: true},
		{name: "variables that nest 100,000 deep", body: []byte(`{"query":"{viewer}","variables":{"a":` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + `}}`)},
		{name: "variables of 80,000 small objects", body: []byte(`{"query":"{nope}","variables":{"a":[` + strings.Repeat(`{},`, 80_000) + `{}]}}`)},
		{name: "variables of as many as are decoded", body: []byte(`{"query":"{nope}","variables":{"a":[` + strings.Repeat(`{},`, 9990) + `{}]}}`)},
		{name: "without a key: a field 8,000 times", body: document(repeated), anonymous: true},
		{name: "without a key: a body of 10 MB", body: bytes.Repeat([]byte(" "), tenMB), unsized: true, anonymous: true},
	}
}

// doubled are fragments each of which spreads the next one twice.
func doubled(levels int) string {
	var b strings.Builder
	for i := range levels {
		fmt.Fprintf(&b, "fragment F%d on Query{a:viewer{id} ...F%d ...F%d}", i, i+1, i+1)
	}
	return b.String() + fmt.Sprintf("fragment F%d on Query{viewer{id}}", levels)
}

// hostile measures the processor time until a hostile request is refused. The
// figure is that of the worst; the reference refuses nothing, and is shown a quarter of one.
func hostile(_ context.Context, _ string) (result, error) {
	const quarter = 2000
	r := result{
		Name: "hostile", Unit: "ms of processor time to refuse, at worst",
		What:    "the dearest of the requests under parts, each refused; the whole handler, with the schema of the product",
		Against: fmt.Sprintf("gqlgen's own server on one field %d times in 14 KB (8,000 take it about 16 times as long)", quarter),
	}
	schema := gen.NewExecutableSchema(gen.Config{Resolvers: &resolvers.Resolver{}, Directives: gen.DirectiveRoot{Auth: graph.Auth}})
	who := &access.Principal{Key: access.Key{Scopes: []access.Scope{access.EnrichRead}}}
	log := slog.New(slog.DiscardHandler)
	ours := graph.NewServer(graph.Options{
		Schema: schema, Log: log,
		Authenticate: func(ctx context.Context, token string, _ *http.Request) (context.Context, error) {
			if token == "" {
				return nil, graph.Unauthenticated("an API key is needed")
			}
			return access.With(ctx, who), nil
		},
	})
	stock := edgeOf("stock", schema, who, log)
	for range hostileRounds {
		worst := 0.0
		for _, v := range vectors() {
			ms, err := v.cost(ours)
			if err != nil {
				return r, err
			}
			r.part("ours", v.name, ms)
			worst = max(worst, ms)
		}
		r.OursEach = append(r.OursEach, worst)
		began := processorTime()
		send(stock, vector{body: document("{" + strings.Repeat("__typename ", quarter) + "}")})
		r.RefEach = append(r.RefEach, milliseconds(processorTime()-began))
	}
	return r, nil
}

// cost is what one refusal takes, in milliseconds of processor time.
func (v vector) cost(h http.Handler) (float64, error) {
	began := processorTime()
	for range hostileEach {
		code, answer := send(h, v)
		if code < 400 && !strings.Contains(answer, `"errors"`) || strings.Contains(answer, `"data"`) {
			return 0, fmt.Errorf("%s: not refused: %d %.200s", v.name, code, answer)
		}
		if len(answer) > 4<<10 {
			return 0, fmt.Errorf("%s: the refusal has %d bytes", v.name, len(answer))
		}
	}
	return milliseconds((processorTime() - began) / hostileEach), nil
}

func send(h http.Handler, v vector) (int, string) {
	r := httptest.NewRequest(http.MethodPost, "/graphql", bytes.NewReader(v.body))
	if v.unsized {
		r.ContentLength, r.Body = -1, io.NopCloser(struct{ io.Reader }{bytes.NewReader(v.body)})
	}
	r.Header.Set("Content-Type", "application/json")
	if !v.anonymous {
		r.Header.Set("Authorization", "Bearer bench")
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

// processorTime is what this process has used, in user and system mode.
func processorTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func milliseconds(d time.Duration) float64 { return round(float64(d.Microseconds()) / 1000) }

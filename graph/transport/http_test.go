package transport_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/enrichd/enrichd/graph"
	"github.com/enrichd/enrichd/graph/internal/testschema"
	"github.com/enrichd/enrichd/graph/transport"
)

// reply is what one request got.
type reply struct {
	status int
	header http.Header
	body   string
	Errors []struct {
		Message    string
		Path       []any
		Extensions map[string]any
	}
	Data       json.RawMessage
	Extensions map[string]any
}

func (r reply) code() string {
	if len(r.Errors) == 0 {
		return ""
	}
	code, _ := r.Errors[0].Extensions["code"].(string)
	return code
}

// do sends a request with the good key unless a header says otherwise.
func do(t *testing.T, method, url, body string, header ...string) reply {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+goodKey)
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	r := reply{status: res.StatusCode, header: res.Header, body: string(b)}
	if len(b) > 0 {
		if err := json.Unmarshal(b, &r); err != nil {
			t.Fatalf("%d %q: %v", r.status, b, err)
		}
	}
	return r
}

func query(q string) string {
	b, _ := json.Marshal(map[string]string{"query": q})
	return string(b)
}

const graphqlJSON = "application/graphql-response+json"

func TestPOST(t *testing.T) {
	t.Parallel()
	_, url := serve(t)

	t.Run("answers with data and its price", func(t *testing.T) {
		t.Parallel()
		r := do(t, "POST", url, `{"query":"query($n:String){hello(name:$n)}","variables":{"n":"you"}}`)
		if r.status != 200 || string(r.Data) != `{"hello":"hello you"}` {
			t.Fatal(r.status, r.body)
		}
		if got := fmt.Sprint(r.Extensions["cost"]); got != "map[requested:1]" {
			t.Errorf("cost %s", got)
		}
		if r.header.Get("Content-Type") != "application/json; charset=utf-8" || r.header.Get("X-Request-Id") == "" {
			t.Error(r.header)
		}
	})
	t.Run("asks for a key before it reads anything", func(t *testing.T) {
		t.Parallel()
		for _, accept := range []string{"application/json", graphqlJSON} {
			r := do(t, "POST", url, "{ not JSON", "Authorization", "", "Accept", accept)
			if r.status != 401 || r.code() != "UNAUTHENTICATED" || r.header.Get("WWW-Authenticate") == "" {
				t.Fatal(r.status, r.body)
			}
		}
	})
	t.Run("tells a refused key from one that could not be looked up", func(t *testing.T) {
		t.Parallel()
		if r := do(t, "POST", url, query("{hello}"), "Authorization", "Bearer strange-address"); r.status != 403 || r.code() != "FORBIDDEN" {
			t.Error(r.status, r.body)
		}
		r := do(t, "POST", url, query("{hello}"), "Authorization", "Bearer database-down")
		if r.status != 503 || r.code() != "UNAVAILABLE" || r.header.Get("Retry-After") == "" || strings.Contains(r.body, testschema.Secret) {
			t.Error(r.status, r.body)
		}
	})
	t.Run("negotiates the media type", func(t *testing.T) {
		t.Parallel()
		for accept, want := range map[string]string{
			"*/*":                                    "application/json",
			"application/*":                          "application/json",
			"application/json":                       "application/json",
			graphqlJSON:                              graphqlJSON,
			graphqlJSON + ", */*;q=0.5":              graphqlJSON,
			"application/json;q=0.9, " + graphqlJSON: graphqlJSON,
			"application/json, " + graphqlJSON + ";q=0.9":            "application/json",
			graphqlJSON + "; charset=utf-8, text/html":               graphqlJSON,
			"multipart/mixed, " + graphqlJSON + ", application/json": graphqlJSON,
			"application/json;q=0, */*":                              "",
			"text/html":                                              "",
			graphqlJSON + ";charset=latin1":                          "",
		} {
			r := do(t, "POST", url, query("{hello}"), "Accept", accept)
			if want == "" {
				if r.status != 406 {
					t.Errorf("%s: status %d", accept, r.status)
				}
			} else if got := r.header.Get("Content-Type"); r.status != 200 || got != want+"; charset=utf-8" {
				t.Errorf("%s: %d %s", accept, r.status, got)
			}
		}
	})
	t.Run("refuses a document by 200 or 400, as the media type has it, without data", func(t *testing.T) {
		t.Parallel()
		for body, code := range map[string]string{
			query("{"):      "GRAPHQL_PARSE_FAILED",
			query("{nope}"): "GRAPHQL_VALIDATION_FAILED",
			`{"query":"query($n:Int!){items(first:$n){id}}","variables":{"n":null}}`:   "GRAPHQL_VALIDATION_FAILED",
			`{"query":"query($n:Int!){items(first:$n){id}}","variables":{"n":"many"}}`: "GRAPHQL_VALIDATION_FAILED",
			`{"query":"query A{hello} query B{hello}"}`:                                "GRAPHQL_VALIDATION_FAILED",
			`{"query":"{hello}","operationName":"Other"}`:                              "GRAPHQL_VALIDATION_FAILED",
			query("# nothing"):              "GRAPHQL_VALIDATION_FAILED",
			query("{items(first:101){id}}"): "GRAPHQL_VALIDATION_FAILED",
		} {
			for accept, status := range map[string]int{"application/json": 200, graphqlJSON: 400} {
				r := do(t, "POST", url, body, "Accept", accept)
				if r.status != status || r.code() != code || r.Data != nil || strings.Contains(r.body, `"path"`) {
					t.Errorf("%s as %s: %d %s", body, accept, r.status, r.body)
				}
			}
		}
	})
	t.Run("refuses malformed requests with 400 and quotes nothing", func(t *testing.T) {
		t.Parallel()
		for _, body := range []string{
			"", " ", "null", "1", `"text"`, "{ s3cret", `{"query":"{hello}"} s3cret`, `[{"query":"{hello}"}]`, "{}", `{"query":""}`, `{"query":null}`,
			`{"query":["s3cret"]}`, `{"query":"{hello}","variables":"s3cret"}`, `{"query":"{hello}","operationName":1}`,
			`{"query":"{hello}","extensions":[]}`, "{\"query\":\"\xff\"}",
			`{"query":"{hello}","variables":{"v":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + "}}",
		} {
			if r := do(t, "POST", url, body); r.status != 400 || strings.Contains(r.body, "s3cret") || r.Data != nil {
				t.Errorf("%.60s: %d %s", body, r.status, r.body)
			}
		}
	})
	t.Run("takes JSON in UTF-8 only", func(t *testing.T) {
		t.Parallel()
		for media, status := range map[string]int{
			"application/json": 200, "application/json; charset=UTF-8": 200, "application/json; charset=latin1": 415,
			"text/plain": 415, "application/x-www-form-urlencoded": 415, "multipart/mixed; boundary=x": 415, "": 415,
		} {
			if r := do(t, "POST", url, query("{hello}"), "Content-Type", media); r.status != status {
				t.Errorf("%q: %d", media, r.status)
			}
		}
		if r := do(t, "POST", url, query("{hello}"), "Content-Encoding", "gzip"); r.status != 415 {
			t.Errorf("gzip: %d", r.status)
		}
	})
	t.Run("sends subscriptions to a WebSocket or an event stream", func(t *testing.T) {
		t.Parallel()
		r := do(t, "POST", url, query("subscription{count(to:1){sequence}}"))
		if r.status != 400 || !strings.Contains(r.body, "WebSocket") || !strings.Contains(r.body, "text/event-stream") {
			t.Fatal(r.status, r.body)
		}
	})
	t.Run("hides what broke behind a request id", func(t *testing.T) {
		t.Parallel()
		for _, q := range []string{"{broken}", "{panics}"} {
			r := do(t, "POST", url, query(q), "Accept", graphqlJSON)
			if r.status != 200 || r.code() != "INTERNAL" || r.Errors[0].Message != "internal error" || strings.Contains(r.body, "password") {
				t.Fatal(r.status, r.body)
			}
			if r.Errors[0].Extensions["requestId"] != r.header.Get("X-Request-Id") {
				t.Error(r.body, r.header)
			}
		}
	})
	t.Run("shows refusals that a caller can act on", func(t *testing.T) {
		t.Parallel()
		if r := do(t, "POST", url, query("{forbidden}")); r.code() != "FORBIDDEN" || r.Errors[0].Extensions["requiredScope"] != "ADMIN" || fmt.Sprint(r.Errors[0].Path) != "[forbidden]" {
			t.Error(r.body)
		}
		if r := do(t, "POST", url, query("{refused}")); r.code() != "GRAPHQL_VALIDATION_FAILED" || !strings.Contains(r.body, "first must be between") {
			t.Error(r.body)
		}
		if r := do(t, "POST", url, query(`{at(time:"yesterday")}`)); r.code() != "GRAPHQL_VALIDATION_FAILED" || !strings.Contains(r.body, "RFC 3339") {
			t.Error(r.body)
		}
		if r := do(t, "POST", url, query("{items(first:100){children(first:100){children(first:100){id}}}}")); r.status != 200 || r.code() != "COST_EXCEEDED" || fmt.Sprint(r.Errors[0].Extensions["cost"]) != "10102" {
			t.Error(r.body)
		}
	})
	t.Run("refuses a body above the limit by reading no more than that", func(t *testing.T) {
		t.Parallel()
		big := `{"query":"` + strings.Repeat(" ", 10<<20) + `"}`
		if r := do(t, "POST", url, big); r.status != 413 {
			t.Errorf("known length: %d", r.status)
		}
		// Without a length, what is read counts.
		req, _ := http.NewRequestWithContext(t.Context(), "POST", url, io.MultiReader(strings.NewReader(big)))
		req.Header.Set("Authorization", "Bearer "+goodKey)
		req.Header.Set("Content-Type", "application/json")
		req.ContentLength = -1
		res, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Skipf("the connection broke first: %v", err)
		}
		res.Body.Close()
		if res.StatusCode != 413 {
			t.Errorf("unknown length: %d", res.StatusCode)
		}
	})
	t.Run("takes a hash for a text that it has seen pass", func(t *testing.T) {
		t.Parallel()
		const text = "{hello(name:\"persisted\")}"
		hashed := func(query, text string) string {
			sum := sha256.Sum256([]byte(text))
			return fmt.Sprintf(`{"query":%q,"extensions":{"persistedQuery":{"version":1,"sha256Hash":"%x"}}}`, query, sum)
		}
		for _, step := range []struct{ body, code string }{
			{hashed("", text), "PERSISTED_QUERY_NOT_FOUND"},
			{hashed("{other}", text), "GRAPHQL_VALIDATION_FAILED"},
			{hashed("{nope}", "{nope}"), "GRAPHQL_VALIDATION_FAILED"},
			{hashed("", "{nope}"), "PERSISTED_QUERY_NOT_FOUND"},
			{hashed(text, text), ""},
			{hashed("", text), ""},
			{`{"extensions":{"persistedQuery":{"sha256Hash":"short"}}}`, "GRAPHQL_VALIDATION_FAILED"},
		} {
			r := do(t, "POST", url, step.body)
			if r.status != 200 || r.code() != step.code || step.code == "" && string(r.Data) != `{"hello":"hello persisted"}` {
				t.Errorf("%s: %d %s", step.body, r.status, r.body)
			}
		}
	})
	t.Run("lets a hook refuse who has signed in, before anything is parsed", func(t *testing.T) {
		t.Parallel()
		_, url := serve(t, func(o *graph.Options) {
			o.Admit = func(context.Context, *http.Request, http.Header) error {
				return transport.Refusal{Status: 429, Code: transport.CodeRateLimited, Message: "slow down", RetryAfter: 1500 * time.Millisecond, Extra: map[string]any{"retryAfterMs": 1500}}
			}
		})
		if r := do(t, "POST", url, "{ not JSON"); r.status != 429 || r.code() != "RATE_LIMITED" || r.header.Get("Retry-After") != "2" || r.Errors[0].Extensions["retryAfterMs"] != 1500.0 {
			t.Error(r.status, r.header, r.body)
		}
		c := open(t, url)
		c.say(`{"type":"connection_init","payload":{"Authorization":"Bearer key-1"}}`)
		c.closed(4429)
	})
	t.Run("knows GET, POST and OPTIONS only", func(t *testing.T) {
		t.Parallel()
		for _, method := range []string{"PUT", "DELETE", "HEAD", "PATCH"} {
			if r := do(t, method, url, ""); r.status != 405 || r.header.Get("Allow") == "" {
				t.Errorf("%s: %d", method, r.status)
			}
		}
	})
	t.Run("ends an operation at its deadline", func(t *testing.T) {
		t.Parallel()
		_, url := serve(t, func(o *graph.Options) { o.OperationTimeout = 50 * time.Millisecond })
		if r := do(t, "POST", url, query("{slow}")); r.code() != "UNAVAILABLE" {
			t.Error(r.status, r.body)
		}
	})
}

func TestGET(t *testing.T) {
	t.Parallel()
	_, base := serve(t)
	get := func(t *testing.T, header []string, pairs ...string) reply {
		t.Helper()
		v := url.Values{}
		for i := 0; i < len(pairs); i += 2 {
			v.Set(pairs[i], pairs[i+1])
		}
		return do(t, "GET", base+"?"+v.Encode(), "", header...)
	}
	t.Run("answers queries with variables, operation name and extensions", func(t *testing.T) {
		t.Parallel()
		r := get(t, nil, "query", "query A($n:String){hello(name:$n)} query B{node{id}}", "operationName", "A", "variables", `{"n":"you"}`, "extensions", "{}")
		if r.status != 200 || string(r.Data) != `{"hello":"hello you"}` {
			t.Fatal(r.status, r.body)
		}
	})
	t.Run("refuses mutations with 405 and says that POST is the way", func(t *testing.T) {
		t.Parallel()
		for _, accept := range []string{"application/json", graphqlJSON, "text/event-stream"} {
			if r := get(t, []string{"Accept", accept}, "query", `mutation{touch(name:"x")}`); r.status != 405 || r.header.Get("Allow") != "POST" {
				t.Errorf("%s: %d %s", accept, r.status, r.body)
			}
		}
	})
	t.Run("refuses malformed parameters", func(t *testing.T) {
		t.Parallel()
		for _, pairs := range [][]string{
			{}, {"query", ""}, {"query", "{hello}", "variables", "{"}, {"query", "{hello}", "variables", "[]"},
			{"query", "{hello}", "extensions", "1"}, {"query", "\xff"}, {"query", "{hello}", "variables", strings.Repeat("[", 100)},
		} {
			if r := get(t, nil, pairs...); r.status != 400 {
				t.Errorf("%q: %d %s", pairs, r.status, r.body)
			}
		}
	})
}

func TestCORS(t *testing.T) {
	t.Parallel()
	_, base := serve(t, func(o *graph.Options) { o.AllowedOrigins = []string{"https://app.example"} })
	for origin, allowed := range map[string]bool{"https://app.example": true, base: true, "https://evil.example": false, "null": false} {
		t.Run(fmt.Sprintf("answers a preflight of %s by the list: %v", origin, allowed), func(t *testing.T) {
			t.Parallel()
			r := do(t, "OPTIONS", base, "", "Origin", origin, "Access-Control-Request-Method", "POST")
			if got := r.header.Get("Access-Control-Allow-Origin"); r.status != 204 || (got == origin) != allowed || !allowed && got != "" {
				t.Fatal(r.status, r.header)
			}
		})
	}
}

package transport

import (
	"bytes"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/99designs/gqlgen/graphql"
)

// form writes a multipart form of name and content pairs; names that begin with @ are files.
func form(parts ...string) (body *bytes.Buffer, contentType string) {
	body = new(bytes.Buffer)
	w := multipart.NewWriter(body)
	for i := 0; i < len(parts); i += 2 {
		name, content := parts[i], parts[i+1]
		if file, ok := strings.CutPrefix(name, "@"); ok {
			p, _ := w.CreateFormFile(file, "people.csv")
			_, _ = p.Write([]byte(content))
			continue
		}
		_ = w.WriteField(name, content)
	}
	_ = w.Close()
	return body, w.FormDataContentType()
}

const upload = `{"query":"mutation($f: Upload) { x(f: $f) }","variables":{"f":null,"list":[null,null],"in":{"csv":null,"kept":"text"}}}`

func TestMultipart(t *testing.T) {
	t.Parallel()
	files := Multipart{BodyLimit: 4 << 10, OperationsLimit: 1 << 10, Timeout: time.Second, ReadTimeout: time.Second}

	t.Run("puts files where the map says", func(t *testing.T) {
		body, contentType := form("operations", upload, "map", `{"0":["variables.f","variables.list.1"],"b":["variables.in.csv"]}`, "@b", "two", "@0", "one")
		r := httptest.NewRequest(http.MethodPost, "/", body)
		r.Header.Set("Content-Type", contentType)
		p, err := files.read(httptest.NewRecorder(), r)
		if err != nil {
			t.Fatal(err)
		}
		f := p.Variables["f"].(graphql.Upload)
		second := p.Variables["list"].([]any)[1].(graphql.Upload)
		csv := p.Variables["in"].(map[string]any)["csv"].(graphql.Upload)
		if f.Size != 3 || f.Filename != "people.csv" || second.Size != 3 || f.File == second.File || csv.Size != 3 || p.Variables["list"].([]any)[0] != nil {
			t.Errorf("%+v", p.Variables)
		}
	})

	t.Run("refuses", func(t *testing.T) {
		many := `{`
		for i := range 11 {
			many += `"` + string(rune('a'+i)) + `":["variables.f"],`
		}
		for name, c := range map[string]struct {
			status int
			parts  []string
		}{
			"files before operations":      {400, []string{"@0", "x", "operations", upload, "map", `{"0":["variables.f"]}`}},
			"no map":                       {400, []string{"operations", upload, "@0", "x"}},
			"a map that is none":           {400, []string{"operations", upload, "map", `["variables.f"]`, "@0", "x"}},
			"a file that is not there":     {400, []string{"operations", upload, "map", `{"0":["variables.f"]}`}},
			"a file that nobody wants":     {400, []string{"operations", upload, "map", `{}`, "@0", "x"}},
			"one file twice":               {400, []string{"operations", upload, "map", `{"0":["variables.f"]}`, "@0", "x", "@0", "y"}},
			"a path to what holds a value": {400, []string{"operations", upload, "map", `{"0":["variables.in.kept"]}`, "@0", "x"}},
			"a path that leads nowhere":    {400, []string{"operations", upload, "map", `{"0":["variables.nothing.f"]}`, "@0", "x"}},
			"a path outside the variables": {400, []string{"operations", upload, "map", `{"0":["query"]}`, "@0", "x"}},
			"an index out of bounds":       {400, []string{"operations", upload, "map", `{"0":["variables.list.2"]}`, "@0", "x"}},
			"two files in one place":       {400, []string{"operations", upload, "map", `{"0":["variables.f"],"1":["variables.f"]}`, "@0", "x", "@1", "y"}},
			"too many files":               {400, []string{"operations", upload, "map", strings.TrimSuffix(many, ",") + `}`}},
			"a batch":                      {400, []string{"operations", `[` + upload + `]`, "map", `{}`}},
			"operations that are no JSON":  {400, []string{"operations", `{`, "map", `{}`}},
			"large operations":             {413, []string{"operations", strings.Repeat(" ", 2<<10) + upload, "map", `{}`}},
			"a large file":                 {413, []string{"operations", upload, "map", `{"0":["variables.f"]}`, "@0", strings.Repeat("x", 8<<10)}},
		} {
			body, contentType := form(c.parts...)
			r := httptest.NewRequest(http.MethodPost, "/", body)
			r.Header.Set("Content-Type", contentType)
			r.Header.Set("GraphQL-Require-Preflight", "1")
			w := httptest.NewRecorder()
			files.Do(w, r, nil)
			if w.Code != c.status || !strings.Contains(w.Body.String(), `"errors"`) {
				t.Errorf("%s: %d %s", name, w.Code, w.Body)
			}
		}
	})

	t.Run("refuses a form that a browser could send without asking", func(t *testing.T) {
		body, contentType := form("operations", upload, "map", `{"0":["variables.f"]}`, "@0", "x")
		r := httptest.NewRequest(http.MethodPost, "/", body)
		r.Header.Set("Content-Type", contentType)
		w := httptest.NewRecorder()
		files.Do(w, r, nil)
		if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "GraphQL-Require-Preflight") {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})

	t.Run("refuses a form that is cut short", func(t *testing.T) {
		body, contentType := form("operations", upload, "map", `{"0":["variables.f"]}`, "@0", "x")
		for n := range body.Len() - 4 { // the last four bytes only end the closing line
			r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body.Bytes()[:n]))
			r.Header.Set("Content-Type", contentType)
			r.Header.Set("GraphQL-Require-Preflight", "1")
			w := httptest.NewRecorder()
			files.Do(w, r, nil)
			if w.Code != http.StatusBadRequest {
				t.Fatalf("%d bytes: %d %s", n, w.Code, w.Body)
			}
		}
	})
}

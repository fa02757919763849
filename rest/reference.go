package rest

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"sort"
	"strings"
	"sync"

	"github.com/goccy/go-yaml"
)

//go:embed openapi.yaml
var openapiYAML []byte

//go:embed docs.html
var docsHTML string

// reference is the OpenAPI document and the page made of it, rendered once.
type reference struct{ openapi, page []byte }

var theReference = sync.OnceValue(func() reference {
	r, err := newReference(openapiYAML)
	if err != nil {
		panic(err) // files of our own
	}
	return r
})

// mountReference serves /openapi.json and /docs, which need no key.
func mountReference(mux *http.ServeMux) {
	mux.HandleFunc("GET /openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h.Set("Content-Type", "application/json; charset=utf-8")
		h.Set("Cache-Control", "public, max-age=300")
		w.Write(theReference().openapi)
	})
	mux.HandleFunc("GET /docs", func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Cache-Control", "public, max-age=300")
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		w.Write(theReference().page)
	})
}

// document is the part of OpenAPI that the page shows.
type document struct {
	Info struct {
		Title       string `json:"title"`
		Version     string `json:"version"`
		Description string `json:"description"`
	} `json:"info"`
	Paths map[string]map[string]operation `json:"paths"`
	// Codes are the error codes with what each means.
	Codes map[string]string `json:"x-error-codes"`
}

type operation struct {
	Summary     string      `json:"summary"`
	Description string      `json:"description"`
	Scopes      []string    `json:"x-scopes"`
	Parameters  []parameter `json:"parameters"`
	RequestBody struct {
		Content map[string]content `json:"content"`
	} `json:"requestBody"`
	Responses map[string]struct {
		Ref         string             `json:"$ref"`
		Description string             `json:"description"`
		Content     map[string]content `json:"content"`
	} `json:"responses"`
}

type parameter struct {
	Ref         string `json:"$ref"`
	Name        string `json:"name"`
	In          string `json:"in"`
	Description string `json:"description"`
	Required    bool   `json:"required"`
}

type content struct {
	Example  json.RawMessage `json:"example"`
	Examples map[string]struct {
		Value json.RawMessage `json:"value"`
	} `json:"examples"`
}

// pageRoute is one route on the page.
type pageRoute struct {
	Method, Path string
	Op           operation
	Request      string
	Answers      []pageAnswer
}

type pageAnswer struct{ Status, Description, Example string }

type pageCode struct{ Code, Meaning string }

func newReference(doc []byte) (reference, error) {
	openapi, err := yaml.YAMLToJSON(doc)
	if err != nil {
		return reference{}, fmt.Errorf("openapi.yaml: %w", err)
	}
	var d document
	if err := json.Unmarshal(openapi, &d); err != nil {
		return reference{}, fmt.Errorf("openapi.yaml: %w", err)
	}
	view := struct {
		document
		Routes []pageRoute
		Errors []pageCode
	}{document: d}
	for _, r := range routes {
		op := d.Paths[r.path][strings.ToLower(r.method)]
		route := pageRoute{Method: r.method, Path: r.path, Op: op}
		for _, c := range op.RequestBody.Content {
			route.Request = example(c)
		}
		for status, a := range op.Responses {
			if a.Ref != "" {
				continue // an error that every route shares: the table of codes has it
			}
			answer := pageAnswer{Status: status, Description: a.Description}
			for _, c := range a.Content {
				answer.Example = example(c)
			}
			route.Answers = append(route.Answers, answer)
		}
		sort.Slice(route.Answers, func(i, j int) bool { return route.Answers[i].Status < route.Answers[j].Status })
		view.Routes = append(view.Routes, route)
	}
	for code, meaning := range d.Codes {
		view.Errors = append(view.Errors, pageCode{code, meaning})
	}
	sort.Slice(view.Errors, func(i, j int) bool { return view.Errors[i].Code < view.Errors[j].Code })
	page, err := template.New("docs").Parse(docsHTML)
	if err != nil {
		return reference{}, fmt.Errorf("docs.html: %w", err)
	}
	var out bytes.Buffer
	if err := page.Execute(&out, view); err != nil {
		return reference{}, fmt.Errorf("docs.html: %w", err)
	}
	return reference{openapi, out.Bytes()}, nil
}

// example is what a body looks like, indented; the first by name where there are several.
func example(c content) string {
	raw := c.Example
	if raw == nil {
		var names []string
		for name := range c.Examples {
			names = append(names, name)
		}
		sort.Strings(names)
		if len(names) > 0 {
			raw = c.Examples[names[0]].Value
		}
	}
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s // an event stream is text
	}
	var out bytes.Buffer
	if json.Indent(&out, raw, "", "  ") != nil {
		return ""
	}
	return out.String()
}

package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
)

// reply is one answer, read to its end.
type reply struct {
	method, path string
	status       int
	header       http.Header
	body         []byte
}

// call makes one request; headers come in pairs, and "" as a value removes one.
// Every answer is held to the OpenAPI document and to the published client.
func (c *tenant) call(method, path, body string, headers ...string) reply {
	c.t.Helper()
	r, err := c.try(method, path, body, headers...)
	must(c.t, err)
	return r
}

func (c *tenant) try(method, path, body string, headers ...string) (reply, error) {
	req, err := http.NewRequest(method, c.server.URL+path, strings.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Del(headers[i])
		if headers[i+1] != "" {
			req.Header.Set(headers[i], headers[i+1])
		}
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return reply{}, err
	}
	r := reply{method, path, res.StatusCode, res.Header, text}
	if err := r.conforms(); err != nil {
		return r, err
	}
	return r, r.published()
}

// published is what the sample client of the original does with every answer:
// parse it as JSON, throw when success is falsy with what error says, else return data.
func (r reply) published() error {
	if r.status == http.StatusNoContent {
		return nil
	}
	var body map[string]any
	if err := json.Unmarshal(r.body, &body); err != nil {
		return fmt.Errorf("the published client cannot read %d %s %s: %w: %.300s", r.status, r.method, r.path, err, r.body)
	}
	if success, ok := body["success"].(bool); !ok {
		return fmt.Errorf("no boolean success in %.300s", r.body)
	} else if success != (r.status < 300) {
		return fmt.Errorf("success is %v under status %d", success, r.status)
	} else if success {
		return nil
	}
	if _, documented := body["statusCode"]; r.status == http.StatusTooManyRequests && documented && body["message"] != "" {
		return nil // the one body that says it at the top
	}
	failure, _ := body["error"].(map[string]any)
	code, _ := failure["code"].(string)
	message, _ := failure["message"].(string)
	if code == "" || message == "" {
		return fmt.Errorf("the published client would throw nothing readable for %d %.300s", r.status, r.body)
	}
	return nil
}

// spec is the OpenAPI document, as a client loads it.
var spec = func() *openapi3.T {
	doc, err := openapi3.NewLoader().LoadFromData(theReference().openapi)
	if err == nil {
		err = doc.Validate(context.Background())
	}
	if err != nil {
		panic(err)
	}
	return doc
}()

// conforms holds an answer of a documented route to the document.
func (r reply) conforms() error {
	path, _, _ := strings.Cut(r.path, "?")
	op, template := operationOf(r.method, path)
	if op == nil {
		return nil
	}
	input := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{
			Request: &http.Request{Method: r.method},
			Route:   &routers.Route{Spec: spec, Path: template, PathItem: spec.Paths.Value(template), Method: r.method, Operation: op},
		},
		Status: r.status, Header: r.header, Body: io.NopCloser(bytes.NewReader(r.body)),
		Options: &openapi3filter.Options{IncludeResponseStatus: true, MultiError: true},
	}
	if strings.HasPrefix(r.header.Get("Content-Type"), "text/event-stream") {
		input.Options.ExcludeResponseBody = true
	}
	if err := openapi3filter.ValidateResponse(context.Background(), input); err != nil {
		return fmt.Errorf("%s %s, status %d, is not what openapi.yaml says: %w\n%.500s", r.method, r.path, r.status, err, r.body)
	}
	return nil
}

// operationOf finds the operation of a request, under either mount.
func operationOf(method, path string) (*openapi3.Operation, string) {
	path = strings.TrimPrefix(path, "/v1")
	for template, item := range spec.Paths.Map() {
		if op := item.GetOperation(method); op != nil && matches(template, path) {
			return op, template
		}
	}
	return nil, ""
}

func matches(template, path string) bool {
	want, got := strings.Split(template, "/"), strings.Split(path, "/")
	if len(want) != len(got) {
		return false
	}
	for i := range want {
		if want[i] != got[i] && (!strings.HasPrefix(want[i], "{") || got[i] == "") {
			return false
		}
	}
	return true
}

func (r reply) decode(t testing.TB, v any) {
	t.Helper()
	if err := json.Unmarshal(r.body, v); err != nil {
		t.Fatalf("%d: %v in %.300s", r.status, err, r.body)
	}
}

// code is the error code of an answer, "" when there is none.
func (r reply) code() string {
	var body struct {
		Code  string          `json:"code"`
		Error json.RawMessage `json:"error"`
	}
	var detail errorDetail
	if json.Unmarshal(r.body, &body) != nil {
		return ""
	}
	if json.Unmarshal(body.Error, &detail) == nil && detail.Code != "" {
		return detail.Code
	}
	return body.Code
}

func (r reply) expect(t testing.TB, status int, code string) {
	t.Helper()
	if r.status != status || r.code() != code {
		t.Errorf("%s %s: %d %s instead of %d %s: %.400s", r.method, r.path, r.status, r.code(), status, code, r.body)
	}
}

// started starts a run that must be accepted and returns its id.
func (c *tenant) started(ids ...string) string {
	c.t.Helper()
	body, err := json.Marshal(map[string]any{"profileIds": ids})
	must(c.t, err)
	r := c.call("POST", "/sourcing/enrich", string(body))
	var out struct{ RequestID string }
	r.decode(c.t, &out)
	if r.status != http.StatusAccepted {
		c.t.Fatalf("not accepted: %d %s", r.status, r.body)
	}
	return out.RequestID
}

// polled asks for the results until they are there, as often as an integration may.
func (c *tenant) polled(run string) reply {
	c.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		r := c.call("GET", "/sourcing/enrich/"+run+"/results", "")
		switch r.status {
		case http.StatusOK:
			return r
		case http.StatusAccepted:
		default:
			c.t.Fatalf("%d %s", r.status, r.body)
		}
	}
	c.t.Fatalf("no results of %s within %s", run, patience)
	return reply{}
}

var errNoWebhook = errors.New("no webhook was made")

// hook makes a webhook and returns its id and secret.
func (c *tenant) hook(url, events string) (id, secret string) {
	c.t.Helper()
	r := c.call("POST", "/webhooks", `{"url":"`+url+`","events":`+events+`}`)
	var out struct {
		Data struct{ ID, SigningSecret string }
	}
	r.decode(c.t, &out)
	if r.status != http.StatusCreated || out.Data.ID == "" {
		c.t.Fatalf("%v: %d %s", errNoWebhook, r.status, r.body)
	}
	return out.Data.ID, out.Data.SigningSecret
}

func readAll(t testing.TB, res *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(res.Body)
	must(t, err)
	return string(b)
}

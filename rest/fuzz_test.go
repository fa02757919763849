package rest

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// malformed are bodies that no route may take, nor break at.
var malformed = []string{
	"", " ", "null", "true", "7", `"x"`, "[]", `[{}]`, "{", "}", `{"a":1}x`, `{"a":1}{"a":1}`, `{"a":1,"a":2}`, `{"profileIds":["a"],"profileIds":["b"]}`,
	`{"a":{"b":1,"b":1}}`, "{\"a\":\"\xff\"}", "{\"a\":\"\x00\"}", strings.Repeat("[", 20_000), strings.Repeat(`{"a":`, 40) + "1" + strings.Repeat("}", 40),
	`{"profileIds":1e999}`, `{"profileIds":[1e999]}`, `{"profileIds":{}}`, `{"profileIds":[{}]}`, `{"profileIds":[[["a"]]]}`, `{"ProfileIDs":["a"]}`, "\xef\xbb\xbf{}",
	`{"profileIds":["a\u0000"]}`, `{"profileIds":["\ud800"]}`, `{"a":01}`, `{'a':1}`, `{"a":1,}`, `{"url":7,"events":7,"headers":7,"profiles":7,"theme":7,"reason":7}`,
	`{"url":"https://example.com","events":[{}]}`, `{"url":"https://example.com","events":["PING"],"headers":[[]]}`, `{"profiles":[[]]}`, `{"profiles":[{"name":{}}]}`,
	`{"profileIds":["a"],"webhookId":{}}`, `{"url":"http://[::1","events":["PING"]}`, `{"url":"\u0000","events":["PING"],"name":"\u0000"}`, "\x1f\x8b\x08",
}

// FuzzBodies sends anything to every route that reads a body, and anything for
// what the path and the query may hold: whatever comes, it is refused as documented, and never a 500.
func FuzzBodies(f *testing.F) {
	for _, body := range malformed {
		f.Add([]byte(body), "x")
	}
	f.Add([]byte(`{}`), "\x00\xff/../%2e")
	f.Add([]byte(`{}`), unknownUUID)
	h := newHouse(f, func(a *API) { a.Limit = nil })
	c := h.tenant(10)
	f.Fuzz(func(t *testing.T, body []byte, word string) {
		for _, r := range routes {
			req := httptest.NewRequest(r.method, "/", bytes.NewReader(body))
			req.URL.Path = strings.ReplaceAll(r.path, "{id}", strings.ReplaceAll(word, "/", "_"))
			req.URL.RawQuery = "page=" + word + "&start=" + word + "&companyId=" + word
			req.Header.Set("Authorization", "Bearer "+c.token)
			req.Header.Set("Content-Type", "application/json")
			req.Header.Set("Last-Event-ID", word)
			if r.method == "POST" && len(word) > 0 {
				req.Header["Idempotency-Key"] = []string{word}
			}
			req.SetPathValue("id", word)
			w := httptest.NewRecorder()
			h.serve(r).ServeHTTP(w, req)
			answer := reply{r.method, r.path, w.Code, w.Header(), w.Body.Bytes()}
			if w.Code >= 500 && w.Code != http.StatusServiceUnavailable {
				t.Fatalf("%s %s: %d %s", r.method, r.path, w.Code, w.Body)
			}
			if err := answer.conforms(); err != nil {
				t.Error(err)
			}
			if err := answer.published(); err != nil {
				t.Error(err)
			}
		}
	})
}

// TestMalformed sends malformed bodies over a socket to every route that reads one.
func TestMalformed(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	c := h.tenant(10)
	hook, _ := c.hook("https://hooks.example.com/in", `["PING"]`)
	for _, at := range [][2]string{{"POST", "/sourcing/enrich"}, {"POST", "/sourcing/render-html"}, {"POST", "/webhooks"}, {"PATCH", "/webhooks/" + hook}, {"POST", "/profiles"}} {
		for _, body := range malformed {
			if at[0] == "PATCH" && (strings.HasPrefix(body, `{"profile`) || strings.HasPrefix(body, `{"Profile`) || strings.Contains(body, `"profileIds":1e`)) {
				continue // unknown fields, which are ignored
			}
			if at[1] == "/sourcing/render-html" && strings.Contains(body, "webhookId") {
				continue // not a field of it
			}
			r := c.call(at[0], at[1], body, "Content-Type", "application/json")
			if r.status != 400 || r.code() != "VALIDATION_ERROR" {
				t.Errorf("%s %s with %.60q: %d %.200s", at[0], at[1], body, r.status, r.body)
			}
		}
		for _, media := range []string{"text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/json; charset=latin1", ";", "application/xml"} {
			c.call(at[0], at[1], `{}`, "Content-Type", media).expect(t, 400, "VALIDATION_ERROR")
		}
		c.call(at[0], at[1], `{"a":"`+strings.Repeat("x", maxBody)+`"}`).expect(t, 413, "PAYLOAD_TOO_LARGE")
	}
	for _, media := range []string{"", "application/json", "application/json; charset=UTF-8", "application/vnd.x+json"} {
		c.call("POST", "/sourcing/enrich", `{"profileIds":["a"]}`, "Content-Type", media).expect(t, 202, "")
	}
	for _, id := range []string{"%00", "%ff", "..%2f..", strings.Repeat("x", 3000), "%F0%9F%98%80", "enr_", "req_" + unknownUUID, "ENR_" + unknownUUID} {
		c.call("GET", "/sourcing/enrich/"+id+"/results", "").expect(t, 404, "REQUEST_NOT_FOUND")
		c.call("GET", "/webhooks/"+id, "").expect(t, 404, "RESOURCE_NOT_FOUND")
		c.call("GET", "/profiles/"+id, "").expect(t, 404, "RESOURCE_NOT_FOUND")
	}
}

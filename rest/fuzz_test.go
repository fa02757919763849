package rest

import (
	"bufio"
	"bytes"
	"net"
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

// FuzzHeads sends anything as query, as media type, as Authorization and as the
// headers of ours to every route, with a body that would do.
func FuzzHeads(f *testing.F) {
	for _, media := range []string{"", "application/json", "application/json;charset=utf-8;charset=latin1", "application/*+json", ";", "a/b; c=\"", "text/plain"} {
		f.Add("companyId="+unknownUUID+"&page=1&limit=7", media, "Bearer", "key-1", "3")
	}
	f.Add("page=-1&limit=999999999999999999999&start=2024-02-30&end=9999-12-31T23:59:60Z", "application/json", "bearer", "", "-1")
	f.Add("start=0000-01-01&end=-2024-01-01&companyId=%00%ff&page=1e3", "application/json", "Basic x", "\x00", "99999999999999999999")
	f.Add("%zz;&&==&companyId=&companyId=x", "application/json", "", "ä", "0x10")
	h := newHouse(f, func(a *API) { a.Limit = nil })
	c := h.tenant(1000)
	hook := hookOf(c, `["PING"]`)
	f.Fuzz(func(t *testing.T, query, media, scheme, key, last string) {
		for _, r := range routes {
			body := `{"profileIds":["a"],"url":"https://hooks.example.com/in","events":["PING"],"profiles":[{"externalId":"a","name":"A"}],"reason":"x"}`
			if r.path == "/webhooks" && r.method == "POST" {
				body = `{"url":7}` // else each input would leave a webhook behind
			}
			if r.method == "DELETE" || strings.HasSuffix(r.path, "/test") {
				continue // what the others need; a test goes out to the world
			}
			for _, authorization := range []string{"Bearer " + c.token, scheme + " " + c.token, scheme} {
				req := httptest.NewRequest(r.method, "/", strings.NewReader(body))
				req.URL.Path, req.URL.RawQuery = r.path, query
				req.Header.Set("Authorization", authorization)
				req.Header["Content-Type"] = []string{media}
				req.Header["Last-Event-Id"] = []string{last}
				req.Header["Idempotency-Key"] = []string{key}
				req.Header["X-Forwarded-For"] = []string{query, key}
				req.SetPathValue("id", hook)
				w := httptest.NewRecorder()
				h.serve(r).ServeHTTP(w, req)
				answer := reply{r.method, r.path, w.Code, w.Header(), w.Body.Bytes()}
				if w.Code >= 500 {
					t.Fatalf("%s %s: %d %s", r.method, r.path, w.Code, w.Body)
				}
				if err := answer.conforms(); err != nil {
					t.Error(err)
				}
				if err := answer.published(); err != nil {
					t.Error(err)
				}
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
	for name, broken := range map[string]string{
		"a body that ends early":  "Content-Length: 100\r\n\r\n{\"profileIds\":[",
		"a chunk without a size":  "Transfer-Encoding: chunked\r\n\r\nxyz\r\n{}\r\n0\r\n\r\n",
		"a chunk that ends early": "Transfer-Encoding: chunked\r\n\r\n20\r\n{}",
	} {
		if status, body := c.raw("POST /sourcing/enrich HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + c.token + "\r\n" + broken); status != 400 || !strings.Contains(body, `"VALIDATION_ERROR"`) {
			t.Errorf("%s: %d %s", name, status, body)
		}
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

// raw sends bytes, ends its side of the connection and reads the answer.
func (c *tenant) raw(request string) (status int, body string) {
	c.t.Helper()
	conn, err := net.Dial("tcp", c.server.Listener.Addr().String())
	must(c.t, err)
	defer conn.Close()
	_, err = conn.Write([]byte(request))
	must(c.t, err)
	must(c.t, conn.(*net.TCPConn).CloseWrite())
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	must(c.t, err)
	defer res.Body.Close()
	return res.StatusCode, readAll(c.t, res)
}

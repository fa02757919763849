package transport_test

import (
	"bufio"
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/enrichd/enrichd/graph"
)

// event is one server-sent event as it stood on the wire.
type event map[string]string

// stream opens an event stream and returns a reader of its events, which ends with nil.
func stream(t *testing.T, req *http.Request) (*http.Response, func() event) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	req.Header.Set("Accept", "text/event-stream")
	if req.Header.Get("Authorization") == "" {
		req.Header.Set("Authorization", "Bearer "+goodKey)
	}
	res, err := http.DefaultTransport.RoundTrip(req.WithContext(ctx))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	lines := bufio.NewReader(res.Body)
	return res, func() event {
		e := event{}
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				return nil
			}
			line = strings.TrimSuffix(line, "\n")
			if line == "" {
				if len(e) > 0 {
					return e
				}
				continue
			}
			if name, value, ok := strings.Cut(line, ":"); ok && name != "" {
				e[name] = strings.TrimPrefix(value, " ")
			}
		}
	}
}

func post(base, body string) *http.Request {
	req, _ := http.NewRequest("POST", base, strings.NewReader(body))
	req.Header.Set("Content-Type", "application/json")
	return req
}

func get(base, query string) *http.Request {
	req, _ := http.NewRequest("GET", base+"?query="+url.QueryEscape(query), nil)
	return req
}

func TestSSE(t *testing.T) {
	t.Parallel()
	_, base := serve(t)
	const follow = "subscription($afterSequence:Int){count(to:5,afterSequence:$afterSequence){sequence}}"

	t.Run("streams a subscription by POST and GET, its sequence as the event's id", func(t *testing.T) {
		t.Parallel()
		for _, req := range []*http.Request{post(base, query(follow)), get(base, follow)} {
			res, next := stream(t, req)
			if ct := res.Header.Get("Content-Type"); res.StatusCode != 200 || ct != "text/event-stream; charset=utf-8" || res.Header.Get("Cache-Control") != "no-store" || res.Header.Get("X-Accel-Buffering") != "no" {
				t.Fatal(res.StatusCode, res.Header)
			}
			for n := 1; n <= 5; n++ {
				e := next()
				if want := `{"data":{"count":{"sequence":` + strconv.Itoa(n) + `}}}`; e["event"] != "next" || e["id"] != strconv.Itoa(n) || e["data"] != want {
					t.Fatal(e)
				}
			}
			e := next()
			if data, sent := e["data"]; e["event"] != "complete" || !sent || data != "" {
				t.Fatal(e)
			}
			if e := next(); e != nil {
				t.Fatal(e)
			}
		}
	})
	t.Run("resumes after Last-Event-ID", func(t *testing.T) {
		t.Parallel()
		req := get(base, follow)
		req.Header.Set("Last-Event-ID", "3")
		_, next := stream(t, req)
		if e := next(); e["id"] != "4" {
			t.Fatal(e)
		}
	})
	t.Run("asks for a key before anything else", func(t *testing.T) {
		t.Parallel()
		req := post(base, "{ not JSON")
		req.Header.Set("Authorization", "Bearer bad")
		if res, _ := stream(t, req); res.StatusCode != 401 {
			t.Fatal(res.StatusCode)
		}
	})
	t.Run("says inside the stream what is wrong with a document", func(t *testing.T) {
		t.Parallel()
		for _, q := range []string{"{nope}", "subscription{broken{sequence}}"} {
			res, next := stream(t, get(base, q))
			if e := next(); res.StatusCode != 200 || e["event"] != "next" || !strings.HasPrefix(e["data"], `{"errors":[`) {
				t.Fatal(res.StatusCode, e)
			}
			if e := next(); e["event"] != "complete" {
				t.Fatal(e)
			}
		}
	})
	t.Run("ends when the key is revoked, or expires", func(t *testing.T) {
		t.Parallel()
		s, base := serve(t)
		for _, token := range []string{"key-5", "expiring"} {
			req := get(base, "subscription{silent{sequence}}")
			req.Header.Set("Authorization", "Bearer "+token)
			_, next := stream(t, req)
			eventually(t, "the stream is open", func() bool { return s.Streams() == 1 })
			if token == "key-5" && s.CloseKey(token) != 1 {
				t.Error("nothing closed")
			}
			if e := next(); !strings.Contains(e["data"], "UNAUTHENTICATED") {
				t.Fatal(e)
			}
			if e := next(); e["event"] != "complete" {
				t.Fatal(e)
			}
			eventually(t, "the stream is gone", func() bool { return s.Streams() == 0 })
		}
	})
	t.Run("tells clients to come back when the server stops", func(t *testing.T) {
		t.Parallel()
		s, base := serve(t)
		_, next := stream(t, get(base, "subscription{silent{sequence}}"))
		eventually(t, "the stream is open", func() bool { return s.Streams() == 1 })
		if err := s.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if e := next(); e["retry"] == "" {
			t.Fatal(e)
		}
		if e := next(); e != nil {
			t.Fatal(e)
		}
	})
	t.Run("lets go of a client that left, and of one that does not read", func(t *testing.T) {
		t.Parallel()
		s, base := serve(t, func(o *graph.Options) { o.Sockets.WriteTimeout = 200 * time.Millisecond })
		left, _ := stream(t, get(base, "subscription{silent{sequence}}"))
		_, _ = stream(t, get(base, "subscription{endless(bytes:50000){payload}}"))
		eventually(t, "both are open", func() bool { return s.Streams() == 2 })
		left.Body.Close()
		eventually(t, "both are gone", func() bool { return s.Streams() == 0 })
	})
}

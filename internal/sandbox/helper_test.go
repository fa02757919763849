package sandbox_test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/enrichd/enrichd/internal/sandbox"
)

// today is a day on which no test depends but by its year.
var today = time.Date(2031, time.May, 17, 9, 0, 0, 0, time.UTC)

// visitor is a sandbox with a client that finds it through its own DNS server.
type visitor struct {
	*sandbox.Sandbox
	client *http.Client
	port   string
}

func visit(t *testing.T) *visitor {
	t.Helper()
	s, err := sandbox.Start(t.Context(), sandbox.Config{Today: today})
	if err != nil {
		t.Fatal(err)
	}
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, s.Settings().DNSServer)
	}}
	transport := &http.Transport{DialContext: (&net.Dialer{Resolver: resolver}).DialContext}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	v := &visitor{Sandbox: s, client: &http.Client{Transport: transport}, port: strconv.Itoa(int(s.Settings().EgressPorts[0]))}
	v.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return v
}

// reply is one answer, read to its end.
type reply struct {
	*http.Response
	body []byte
}

func (r reply) json(t *testing.T, v any) {
	t.Helper()
	if err := json.Unmarshal(r.body, v); err != nil {
		t.Fatalf("%s: %v in %s", r.Request.URL, err, r.body)
	}
}

// get asks http://host:port/path with headers given in pairs.
func (v *visitor) get(t *testing.T, host, path string, headers ...string) reply {
	t.Helper()
	return v.send(t, "GET", "http://"+host+":"+v.port+path, headers...)
}

// api asks a source's API.
func (v *visitor) api(t *testing.T, source, path string, headers ...string) reply {
	t.Helper()
	return v.send(t, "GET", v.Settings().SourceURLs[source]+path, headers...)
}

func (v *visitor) send(t *testing.T, method, url string, headers ...string) reply {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("User-Agent", "sandbox-test")
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := v.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{res, body}
}

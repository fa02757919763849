package cmd_test

import (
	"regexp"
	"strings"
	"testing"
)

// TestExemplars looks for the way from the latency of requests to their traces.
func TestExemplars(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const (
		trace  = "0af7651916cd43dd8448eb211c80319c"
		parent = "00-" + trace + "-b7ad6b7169203331-"
	)
	exemplar := regexp.MustCompile(`(?m)^http_server_request_duration_seconds_bucket\{[^}]*route="/billing/usage"[^}]*\} \d+ # \{trace_id="([0-9a-f]{32})"\} [0-9.e-]+`)
	for name, c := range map[string]struct {
		tracing bool
		flags   string // of the caller's trace: 01 is sampled
		want    string
	}{
		"with tracing": {true, "01", trace},
		"with tracing, of a trace that nobody keeps": {true, "00", ""},
		"without tracing": {false, "01", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			admin := freeAddr(t)
			env := []string{"ENRICHD_ADMIN_ADDR=" + admin}
			if c.tracing {
				env = append(env, "OTEL_EXPORTER_OTLP_ENDPOINT="+newCollector(t).url)
			}
			n := w.serve(t, env...)
			me := w.tenant(t, n, 0)
			if r := me.send(t, "GET", "/billing/usage", nil, "Traceparent", parent+c.flags); r.status != 200 {
				t.Fatalf("%d %s", r.status, r.body)
			}
			figures := caller{url: "http://" + admin}
			// The request is counted when its answer is complete, which its client may know first.
			var open reply
			eventually(t, patience, "the request is counted", func() bool {
				open = figures.send(t, "GET", "/metrics", nil, "Accept", "application/openmetrics-text; version=1.0.0; charset=utf-8, text/plain;q=0.5")
				return strings.Contains(string(open.body), `route="/billing/usage"`)
			})
			if media := open.header.Get("Content-Type"); !strings.HasPrefix(media, "application/openmetrics-text") || !strings.HasSuffix(string(open.body), "# EOF\n") {
				t.Errorf("%s", media)
			}
			found := ""
			if m := exemplar.FindSubmatch(open.body); m != nil {
				found = string(m[1])
			}
			if found != c.want || !c.tracing && strings.Contains(string(open.body), "trace_id") {
				t.Errorf("the exemplar is of %q, not %q", found, c.want)
			}
			for _, accept := range []string{"text/plain", "*/*"} {
				plain := figures.send(t, "GET", "/metrics", nil, "Accept", accept)
				if media := plain.header.Get("Content-Type"); !strings.HasPrefix(media, "text/plain") || strings.Contains(string(plain.body), "trace_id") {
					t.Errorf("%s: %s", accept, media)
				}
			}
		})
	}
}

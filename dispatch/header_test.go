package dispatch

import (
	"errors"
	"strings"
	"testing"

	"github.com/enrichd/enrichd/internal/fault"
)

func TestCustomHeaders(t *testing.T) {
	t.Parallel()
	one := func(name, value string) []WebhookHeaderInput { return []WebhookHeaderInput{{name, value}} }

	t.Run("accepts what HTTP allows", func(t *testing.T) {
		for _, h := range []WebhookHeaderInput{
			{"Authorization", "Bearer x y"}, {"X-Custom_Header.1~", "a\tb"}, {"x", "é"}, {strings.Repeat("n", 255), strings.Repeat("v", 4096)},
		} {
			if refusals := checkHeaders([]WebhookHeaderInput{h}, "X-Webhook-Signature"); len(refusals) > 0 {
				t.Errorf("%v: %v", h, refusals)
			}
		}
	})
	t.Run("refuses names that are malformed, ours or the connection's", func(t *testing.T) {
		for _, name := range []string{
			"", "a b", "a:b", "a\r\nb", "é", strings.Repeat("n", 256), "x\x00",
			"Host", "content-type", "Content-Length", "Transfer-Encoding", "connection", "User-Agent", "webhook-id", "Webhook-Anything",
			"X-WEBHOOK-signature", "traceparent", "tracestate", "TE", "Upgrade", "Keep-Alive", "Proxy-Authorization",
		} {
			if len(checkHeaders(one(name, "v"), "X-Webhook-Signature")) != 1 {
				t.Errorf("%q was accepted", name)
			}
		}
	})
	t.Run("refuses values that would end the header, and never repeats them", func(t *testing.T) {
		for _, value := range []string{"", "planted\r\nX: y", "planted\n", "planted\x00", " planted", "planted\x7f", "planted\xff", strings.Repeat("planted", 600)} {
			refusals := checkHeaders(one("X", value), "")
			if len(refusals) != 1 || strings.Contains(errors.Join(refusals...).Error(), "planted") {
				t.Errorf("%q: %v", value, refusals)
			}
		}
	})
	t.Run("refuses a name given twice, 51 headers and more than 16 KiB", func(t *testing.T) {
		if len(checkHeaders([]WebhookHeaderInput{{"X-A", "1"}, {"x-a", "2"}}, "")) != 1 {
			t.Error("a repeated name was accepted")
		}
		var limit fault.LimitExceeded
		if err := errors.Join(checkHeaders(make([]WebhookHeaderInput, 51), "")...); !errors.As(err, &limit) || limit.Limit != 50 || limit.Actual != 51 {
			t.Errorf("51 headers: %v", err)
		}
		var many []WebhookHeaderInput
		for _, n := range []string{"a", "b", "c", "d", "e"} {
			many = append(many, WebhookHeaderInput{n, strings.Repeat("v", 4000)})
		}
		if err := errors.Join(checkHeaders(many, "")...); !errors.As(err, &limit) || limit.Limit != maxHeaderBytes {
			t.Errorf("20 KB: %v", err)
		}
	})
	t.Run("says that a header is masked when its name promises a secret", func(t *testing.T) {
		for name, want := range map[string]bool{"Authorization": true, "X-API-Key": true, "Set-Cookie": true, "x-auth-TOKEN": true, "Client-Secret": true, "X-Custom-Header": false} {
			if secretive(name) != want {
				t.Errorf("%s: not %v", name, want)
			}
		}
	})
}

func TestInput(t *testing.T) {
	t.Parallel()
	text := func(s string) *string { return &s }
	good := func() CreateWebhookInput {
		return CreateWebhookInput{URL: "https://hooks.example/x", MaxRetries: 9, TimeoutMillis: 30000}
	}

	t.Run("takes every type that fires when none is named, and drops repeats", func(t *testing.T) {
		if in := good(); in.check("") != nil || len(in.events()) != len(EventTypes) {
			t.Errorf("%v, %v", in.check(""), in.events())
		}
		in := good()
		in.EventTypes = []EventType{Ping, "analysis.completed", Ping}
		if in.check("") != nil || len(in.events()) != 2 {
			t.Errorf("%v, %v", in.check(""), in.events())
		}
	})
	t.Run("names every field that is wrong at once", func(t *testing.T) {
		in := CreateWebhookInput{
			URL: "https://a.example/\x00", Name: text(strings.Repeat("n", 256)), Description: text("\xff"), Headers: []WebhookHeaderInput{{"Host", "v"}},
			EventTypes: []EventType{"enrich.exploded"}, MaxRetries: 16, TimeoutMillis: 999,
		}
		refusals, rest := fault.Users(in.check(""))
		var fields []string
		for _, r := range refusals {
			fields = append(fields, strings.Join(r.Where(), "."))
		}
		want := "url name description headers.0.name eventTypes.0 maxRetries timeoutMillis"
		if got := strings.Join(fields, " "); rest != nil || got != want {
			t.Errorf("got %s\nnot %s, rest %v", got, want, rest)
		}
	})
	t.Run("refuses an empty list of types", func(t *testing.T) {
		in := good()
		in.EventTypes = []EventType{}
		if in.check("") == nil {
			t.Error("accepted")
		}
	})
}

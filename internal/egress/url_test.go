package egress

import (
	"errors"
	"net/netip"
	"net/url"
	"strings"
	"testing"
)

func TestCheckURL(t *testing.T) {
	t.Parallel()
	refused := map[string]string{ // address → reason
		"https://2130706433/":                              "host",
		"https://0x7f000001/":                              "host",
		"https://0x7f.1/":                                  "host",
		"https://0177.0.0.1/":                              "host",
		"https://127.1/":                                   "host",
		"https://127.0.1/":                                 "host",
		"https://127.0.0.1/":                               "address",
		"https://127.0.0.1./":                              "address",
		"https://１２７.0.0.1/":                               "address",
		"https://127。0。0。1/":                               "address",
		"https://8.8.8.8.9/":                               "host",
		"https://1.2.3.256/":                               "host",
		"https://example.0x/":                              "host",
		"https://[::]/":                                    "address",
		"https://[::1]/":                                   "address",
		"https://[::ffff:127.0.0.1]/":                      "address",
		"https://[::ffff:8.8.8.8]/":                        "address",
		"https://[64:ff9b::7f00:1]/":                       "address",
		"https://[fe80::1%25lo]/":                          "address",
		"https://[127.0.0.1]/":                             "url",
		"https://[v1.a]/":                                  "url",
		"https://localhost/":                               "host",
		"https://LOCALHOST./":                              "host",
		"https://a.localhost/":                             "host",
		"https://ⓛocalhost/":                               "host",
		"https://intranet/":                                "host",
		"https://metadata.google.internal/":                "host",
		"https://printer.local/":                           "host",
		"https://%31%32%37.0.0.1/":                         "url",
		"https://exa%6dple.com/":                           "url",
		"https://ex%E2%80%A8ample.com/":                    "host",
		"https://exa mple.com/":                            "url",
		"https://a..example.com/":                          "host",
		"https://.example.com/":                            "host",
		"https://example.com../":                           "host",
		"https:///path":                                    "host",
		"https://":                                         "host",
		"https://user@example.com/":                        "credentials",
		"https://user:pw@example.com/":                     "credentials",
		"https://@example.com/":                            "credentials",
		"https://example.com\\@127.0.0.1/":                 "url",
		"https://example.com:0/":                           "port",
		"https://example.com:/":                            "port",
		"https://example.com:22/":                          "port",
		"https://example.com:65979/":                       "port",
		"https://example.com:80a/":                         "url",
		"https://example.com:-1/":                          "url",
		"https://example.com:8443/":                        "port",
		"http+unix://%2Fvar%2Frun/x":                       "url",
		"http+unix://example.com/":                         "scheme",
		"file:///etc/passwd":                               "scheme",
		"gopher://example.com/":                            "scheme",
		"ftp://example.com/":                               "scheme",
		"javascript:alert(1)":                              "url",
		"mailto:a@example.com":                             "url",
		"//example.com/":                                   "scheme",
		"/path":                                            "scheme",
		"":                                                 "scheme",
		"example.com":                                      "scheme",
		"https:example.com":                                "url",
		"https://example.com/\n":                           "url",
		"https://exam\x00ple.com/":                         "url",
		"https://" + strings.Repeat("a", 64) + ".com/":     "host",
		"https://" + strings.Repeat("a.", 127) + "com/":    "host",
		"https://example.com/" + strings.Repeat("a", 2048): "too_long",
	}
	for raw, reason := range refused {
		for _, use := range []Use{ForCrawl, ForWebhook, ForAPI} {
			_, err := Policy{}.checkURL(use, raw)
			var e *Error
			if !errors.As(err, &e) || e.Kind != Refused || e.Reason != reason || e.Phase != PhaseURL {
				t.Errorf("%.60q: %v, want refused for %s", raw, err, reason)
			}
		}
	}
	accepted := map[string]string{
		"https://example.com":                 "https://example.com",
		"HtTpS://EXAMPLE.com:443/A?b=c#d":     "https://example.com/A?b=c",
		"https://example.com./":               "https://example.com/",
		"https://bücher.example/":             "https://xn--bcher-kva.example/",
		"https://BÜCHER。example/":             "https://xn--bcher-kva.example/",
		"https://b%C3%BCcher.example/":        "https://xn--bcher-kva.example/",
		"https://r3---sn_a.example.com/":      "https://r3---sn_a.example.com/",
		"https://8.8.8.8/":                    "https://8.8.8.8/",
		"https://[2606:4700:0:0::1111]:443/x": "https://[2606:4700::1111]/x",
		"https://1.example.com/":              "https://1.example.com/",
	}
	for raw, want := range accepted {
		u, err := Policy{}.checkURL(ForWebhook, raw)
		if err != nil || u.String() != want {
			t.Errorf("%q: %v %v, want %s", raw, u, err, want)
		}
	}
	t.Run("leaves http to crawling and to operators who permit it", func(t *testing.T) {
		for _, c := range []struct {
			p    Policy
			use  Use
			want bool
		}{{Policy{}, ForCrawl, true}, {Policy{}, ForWebhook, false}, {Policy{}, ForAPI, false}, {Policy{AllowHTTP: true}, ForWebhook, true}, {Policy{AllowHTTP: true}, ForAPI, true}} {
			if _, err := c.p.checkURL(c.use, "http://example.com/"); (err == nil) != c.want {
				t.Errorf("%+v: %v", c, err)
			}
		}
	})
	t.Run("opens networks, local names and ports by policy", func(t *testing.T) {
		p := Policy{Allow: prefixes("127.0.0.0/8"), Ports: []uint16{8443}}
		c := NewClient(p, ForWebhook)
		defer c.Close()
		for raw, want := range map[string]bool{"https://127.0.0.1:8443/": true, "https://localhost:8443/": true, "https://10.0.0.1/": false, "https://127.0.0.1:22/": false, "https://[::1]/": false} {
			if err := c.CheckURL(raw); (err == nil) != want {
				t.Errorf("%s: %v", raw, err)
			}
		}
	})
}

// FuzzCheckURL looks for an address that passes the guard and yet names
// something refused, or that means something else when it is read again.
func FuzzCheckURL(f *testing.F) {
	for _, s := range []string{"https://example.com/", "https://127.1/", "https://[::1]/", "https://u:p@h:1/", "https://１２７.0.0.1", "https://%41.com", "https://a\\b", "https://[::ffff:1.2.3.4%25a]:443/", "HTTP://Ⓐ.com:80"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := Policy{}.checkURL(ForCrawl, raw)
		if err != nil {
			if !errors.Is(err, Refused) {
				t.Fatalf("%q: not a refusal: %v", raw, err)
			}
			return
		}
		text := u.String()
		again, err := url.Parse(text)
		if err != nil || again.User != nil || again.Hostname() == "" || again.Hostname() != u.Hostname() {
			t.Fatalf("%q became %q: %v", raw, text, err)
		}
		host := again.Hostname()
		for i := range len(host) {
			if c := host[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`/\@#?%"<>`, c) >= 0 {
				t.Fatalf("%q became host %q", raw, host)
			}
		}
		if a, err := netip.ParseAddr(host); err == nil {
			if err := (Policy{}).judge(a); err != nil {
				t.Fatalf("%q leads to %s: %v", raw, a, err)
			}
		} else if endsInNumber(host) || localName(host) {
			t.Fatalf("%q leads to %q", raw, host)
		}
		if p := again.Port(); p != "" && p != "80" && p != "443" {
			t.Fatalf("%q leads to port %s", raw, p)
		}
	})
}

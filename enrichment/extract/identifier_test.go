package extract

import (
	"testing"

	"github.com/enrichd/enrichd/enrichment/pipeline"
)

func TestIdentify(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ raw, kind, value, url string }{
		{"https://github.com/Octocat", "github", "octocat", "https://github.com/octocat"},
		{"http://www.github.com/octocat/", "github", "octocat", "https://github.com/octocat"},
		{"github.com/octocat", "github", "octocat", "https://github.com/octocat"},
		{"https://github.com/octocat/hello-world", "link", "https://github.com/octocat/hello-world", "https://github.com/octocat/hello-world"},
		{"https://github.com/features", "link", "https://github.com/features", "https://github.com/features"},
		{"https://octocat.github.io", "website", "https://octocat.github.io/", "https://octocat.github.io/"},
		{"0000-0002-1825-0097", "orcid", "0000-0002-1825-0097", "https://orcid.org/0000-0002-1825-0097"},
		{"http://orcid.org/000000021694233X", "orcid", "0000-0002-1694-233X", "https://orcid.org/0000-0002-1694-233X"},
		{"https://stackoverflow.com/users/22656/jon-skeet?tab=profile", "stackexchange", "stackoverflow/22656", "https://stackoverflow.com/users/22656"},
		{"https://math.stackexchange.com/users/7", "stackexchange", "math/7", "https://math.stackexchange.com/users/7"},
		{"https://mastodon.social/@Gargron", "mastodon", "gargron@mastodon.social", "https://mastodon.social/@gargron"},
		{"@gargron@mastodon.social", "mastodon", "gargron@mastodon.social", "https://mastodon.social/@gargron"},
		{"acct:gargron@mastodon.social", "mastodon", "gargron@mastodon.social", "https://mastodon.social/@gargron"},
		{"https://hachyderm.io/@ada@example.social", "mastodon", "ada@example.social", "https://example.social/@ada"},
		{"https://medium.com/@ada", "link", "https://medium.com/@ada", "https://medium.com/@ada"},
		{"https://bsky.app/profile/Ada.bsky.social", "bluesky", "ada.bsky.social", "https://bsky.app/profile/ada.bsky.social"},
		{"https://uk.linkedin.com/in/Ada-Lovelace/?trk=x", "linkedin", "ada-lovelace", "https://www.linkedin.com/in/ada-lovelace"},
		{"https://www.linkedin.com/company/acme", "link", "https://www.linkedin.com/company/acme", "https://www.linkedin.com/company/acme"},
		{"https://api.openalex.org/authors/a5023888391", "openalex", "A5023888391", "https://openalex.org/A5023888391"},
		{"https://dblp.org/pid/65/9612.html", "dblp", "65/9612", "https://dblp.org/pid/65/9612"},
		{"http://www.wikidata.org/entity/Q7259", "wikidata", "Q7259", "https://www.wikidata.org/wiki/Q7259"},
		{"https://twitter.com/Ada", "twitter", "ada", "https://x.com/ada"},
		{"https://twitter.com/intent?x=1", "link", "https://twitter.com/intent?x=1", "https://twitter.com/intent?x=1"},
		{"MAILTO:Ada.L%40Example.Org?subject=hi", "email", "ada.l@example.org", ""},
		{"ada@lovelace.dev", "email", "ada@lovelace.dev", ""},
		{"HTTPS://Ada.Example:443?utm_source=x#me", "website", "https://ada.example/", "https://ada.example/"},
		{"https://ada.example/index.html", "website", "https://ada.example/index.html", "https://ada.example/index.html"},
		{"https://uni.example/~ada/", "website", "https://uni.example/~ada/", "https://uni.example/~ada/"},
		{"https://ada.example/blog/1", "link", "https://ada.example/blog/1", "https://ada.example/blog/1"},
		{"http://127.0.0.1:8080/", "website", "http://127.0.0.1:8080/", "http://127.0.0.1:8080/"},
	} {
		t.Run(c.raw, func(t *testing.T) {
			t.Parallel()
			got, ok := Identify(c.raw)
			if want := (pipeline.Identifier{Kind: c.kind, Value: c.value, URL: c.url}); !ok || got != want {
				t.Errorf("got %+v, %v; want %+v", got, ok, want)
			}
		})
	}
	for _, raw := range []string{"", "hello", "javascript:alert(1)", "ftp://a.example/x", "0000-0002-1825-0098", "https://orcid.org/0000-0002-1825-0098", "tel:+1", "http://", "@ada", "%"} {
		t.Run("nobody is named by "+raw, func(t *testing.T) {
			t.Parallel()
			if got, ok := Identify(raw); ok {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestSite(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		"https://www.example.co.uk/cv": "example.co.uk",
		"https://ada.github.io/x":      "ada.github.io",
		"https://ada.wordpress.com":    "ada.wordpress.com",
		"https://ada.substack.com":     "ada.substack.com",
		"http://127.0.0.1:81/":         "127.0.0.1:81",
		"http://localhost:81/":         "localhost:81",
		"https://ada.test:8443/":       "ada.test",
		"mailto:x@y.zz":                "",
	} {
		if got := Site(raw); got != want {
			t.Errorf("Site(%q) = %q, want %q", raw, got, want)
		}
	}
	if !SameSite("http://a.example.org/", "https://b.example.org:9/x") || SameSite("https://a.github.io", "https://b.github.io") || SameSite("x", "x") {
		t.Error("SameSite disagrees with Site")
	}
}

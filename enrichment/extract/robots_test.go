package extract

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"
)

func TestRobotsCorpus(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile(corpus(t, "robots/cases.json"))
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		File            string  `json:"file"`
		RobotsTxt       *string `json:"robotstxt"`
		RobotsTxtBase64 []byte  `json:"robotstxtBase64"`
		Tests           []struct {
			URL            string `json:"url"`
			UserAgent      string `json:"userAgent"`
			Expected       string `json:"expected"`
			GoogleSpecific bool   `json:"googleSpecific"`
		} `json:"tests"`
	}
	if err := json.Unmarshal(raw, &cases); err != nil {
		t.Fatal(err)
	}
	var general, generalGood, google, googleGood int
	for _, c := range cases {
		body := c.RobotsTxtBase64
		if c.RobotsTxt != nil {
			body = []byte(*c.RobotsTxt)
		}
		robots := ParseRobots(body)
		for _, check := range c.Tests {
			good := robots.Allowed(check.UserAgent, check.URL) == (check.Expected == "ALLOWED")
			if check.GoogleSpecific {
				google++
				if good {
					googleGood++
				} else {
					t.Logf("Google-specific, not met: %s: %q for %q wants %s", c.File, check.URL, check.UserAgent, check.Expected)
				}
				continue
			}
			general++
			if good {
				generalGood++
			} else {
				t.Errorf("%s: %q for %q wants %s\n%q", c.File, check.URL, check.UserAgent, check.Expected, body)
			}
		}
	}
	t.Logf("robots: %d of %d general checks, %d of %d Google-specific", generalGood, general, googleGood, google)
	if len(cases) != 55 || general != 124 || google != 22 {
		t.Fatalf("the corpus is not whole: %d files, %d general and %d Google-specific checks", len(cases), general, google)
	}
}

func TestRobotsRules(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, robots, url string
		want              bool
	}{
		{"no group means no rule", "Sitemap: http://a/s.xml", "http://a/x", true},
		{"the star group speaks for robots that nobody names", "User-agent: *\nDisallow: /x", "http://a/x", false},
		{"an own group without rules hides the star group", "User-agent: *\nDisallow: /\nUser-agent: enrichd\n", "http://a/x", true},
		{"a version after the token is no part of it", "User-agent: enrichd/1.0\nDisallow: /", "http://a/x", false},
		{"a longer token is another robot", "User-agent: enrichd-images\nDisallow: /", "http://a/x", true},
		{"a shorter token is another robot", "User-agent: enrich\nDisallow: /", "http://a/x", true},
		{"groups of one token are merged", "User-agent: enrichd\nDisallow: /a\nUser-agent: b\nDisallow: /\nUser-agent: ENRICHD\nDisallow: /c", "http://a/c", false},
		{"a line of another kind does not end a list of agents", "User-agent: enrichd\nSitemap: http://a/s\nUser-agent: b\nDisallow: /", "http://a/c", false},
		{"a crawl delay does not end a list of agents", "User-agent: enrichd\nCrawl-delay: 2\nUser-agent: b\nDisallow: /", "http://a/c", false},
		{"a dollar anchors at the end", "User-agent: *\nDisallow: /*.pdf$", "http://a/x.pdf?page=2", true},
		{"a dollar in the middle is a letter", "User-agent: *\nDisallow: /a$b", "http://a/a$b", false},
		{"an escaped dollar names a raw one", "User-agent: *\nDisallow: /a%24", "http://a/a$", false},
		{"an escaped asterisk names a raw one", "User-agent: *\nDisallow: /file-with-a-%2A.html", "http://a/file-with-a-*.html", false},
		{"an escaped asterisk is no wildcard", "User-agent: *\nDisallow: /a%2Ab", "http://a/axb", true},
		{"escapes are compared in capitals", "User-agent: *\nDisallow: /%e3%83%84", "http://a/%E3%83%84", false},
		{"bytes that are not UTF-8 are encoded one by one", "User-agent: *\nDisallow: /caf\xe9", "http://a/caf%E9", false},
		{"many asterisks in a row are one", "User-agent: *\nDisallow: /**********b", "http://a/aaab", false},
		{"the anchored part may not overlap what came before", "User-agent: *\nDisallow: /ab*b$", "http://a/ab", true},
		{"a rule without a leading slash matches no path", "User-agent: *\nDisallow: x", "http://a/x", true},
		{"a rule may begin with an asterisk", "User-agent: *\nDisallow: *.gif", "http://a/i/x.gif", false},
		{"an allowed query wins by length", "User-agent: *\nAllow: /s?q=\nDisallow: /s", "http://a/s?q=1", true},
		{"a host without a path is its root", "User-agent: *\nDisallow: /$", "http://a", false},
		{"a fragment is not compared", "User-agent: *\nDisallow: /*#x", "http://a/y#x", false},
		{"a query may follow the host", "User-agent: *\nDisallow: /?x", "http://a?x=1", false},
		{"a path alone is an address", "User-agent: *\nDisallow: /x", "/x/y", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := ParseRobots([]byte(c.robots)).Allowed("enrichd", c.url); got != c.want {
				t.Errorf("Allowed(%q) = %v with\n%s", c.url, got, c.robots)
			}
		})
	}
	t.Run("the status decides before the text", func(t *testing.T) {
		t.Parallel()
		closed := []byte("User-agent: *\nDisallow: /")
		for status, want := range map[int]bool{200: false, 206: false, 301: true, 401: true, 403: true, 404: true, 429: true, 500: false, 503: false, 0: false} {
			if got := RobotsFor(status, closed).Allowed("enrichd", "http://a/"); got != want {
				t.Errorf("status %d: allowed = %v, want %v", status, got, want)
			}
		}
		if !RobotsFor(404, nil).Allowed("enrichd", "http://a/") || RobotsFor(500, nil).Allowed("enrichd", "http://a/") {
			t.Error("an empty body changed what the status means")
		}
	})
	t.Run("tells the crawl delay of the right group", func(t *testing.T) {
		t.Parallel()
		r := ParseRobots([]byte("User-agent: *\nCrawl-delay: 10\nUser-agent: enrichd\nCrawl-delay: 1.5\nDisallow:\nUser-agent: b\nCrawl-delay: soon"))
		for token, want := range map[string]time.Duration{"enrichd": 1500 * time.Millisecond, "other": 10 * time.Second} {
			if got, ok := r.CrawlDelay(token); !ok || got != want {
				t.Errorf("CrawlDelay(%s) = %v, %v", token, got, ok)
			}
		}
		if got, ok := r.CrawlDelay("b"); ok {
			t.Errorf("a delay that is no number was read as %v", got)
		}
	})
	t.Run("half a megabyte of wildcards is matched in one walk", func(t *testing.T) {
		t.Parallel()
		r := ParseRobots([]byte("User-agent: *\nDisallow: /" + strings.Repeat("*a", 200_000) + "b$"))
		if !r.Allowed("enrichd", "http://a/"+strings.Repeat("a", 8000)) {
			t.Error("matched without a final b")
		}
	})
}

func FuzzRobots(f *testing.F) {
	f.Add([]byte("User-agent: *\nDisallow: /*a$\nAllow: /%e3"), "http://a/b?c#d")
	f.Add([]byte("\xef\xbbuser-agent x\rcrawl-delay:1e9"), "//a;b")
	f.Fuzz(func(t *testing.T, body []byte, url string) {
		r := ParseRobots(body)
		if r.Allowed("enrichd", url) != r.Allowed("ENRICHD", url) {
			t.Error("the case of the token matters")
		}
		r.CrawlDelay("enrichd")
	})
}

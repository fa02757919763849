package source

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/enrichd/enrichd/enrichment/pipeline"
)

const homePage = `<!doctype html><html><head><title>Ada Byron</title></head><body>
<div class="h-card"><a class="p-name u-url" href="/">Ada Byron</a>, <span class="p-job-title">Mathematician</span> at <span class="p-org">Analytical Engines</span>
in <span class="p-locality">London</span>. <a class="u-email" href="mailto:ada@ada-byron.org">write</a></div>
<nav><a href="/about">About</a> <a href="/cv.html">CV</a> <a href="/blog/1">A post</a> <a href="https://github.com/adabyron" rel="me">GitHub</a></nav></body></html>`

func home(base string) pipeline.Ask {
	return pipeline.Ask{Source: "site", Stage: pipeline.Crawl, Kind: siteHome, URL: base + "/", Origin: "seed"}
}

func TestSiteContract(t *testing.T) {
	t.Parallel()
	contract(t, "site", home, "text/html; charset=utf-8", homePage)
}

// pages serves pages by path as HTML, robots.txt as text, and 404 otherwise.
func pages(byPath map[string]string) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		body, ok := byPath[r.URL.EscapedPath()]
		switch {
		case !ok:
			rw.WriteHeader(404)
			return
		case r.URL.Path == "/robots.txt":
			rw.Header().Set("Content-Type", "text/plain")
		case strings.HasSuffix(r.URL.Path, ".json"):
			rw.Header().Set("Content-Type", "application/json")
		default:
			rw.Header().Set("Content-Type", "text/html; charset=utf-8")
		}
		fmt.Fprint(rw, body)
	}
}

func TestRobots(t *testing.T) {
	t.Parallel()
	visit := func(t *testing.T, byPath map[string]string) (pipeline.Answer, *web) {
		t.Helper()
		w := newWeb(t, pages(byPath))
		return fetch(t, newSet(t, nil, w).named(t, "site"), home(w.URL)), w
	}
	t.Run("are asked for first, once a host, and obeyed", func(t *testing.T) {
		t.Parallel()
		w := newWeb(t, pages(map[string]string{"/robots.txt": "User-agent: enrichd\nDisallow: /private\n", "/": homePage, "/private": homePage}))
		src := newSet(t, nil, w).named(t, "site")
		private := home(w.URL)
		private.URL = w.URL + "/private"
		if ans := fetch(t, src, home(w.URL)); ans.Loss != "" {
			t.Errorf("%+v", ans)
		}
		if ans := fetch(t, src, private); ans.Loss != pipeline.LossRobots {
			t.Errorf("%+v", ans)
		}
		if got := w.paths(); !slices.Equal(got, []string{"/robots.txt", "/"}) {
			t.Errorf("%v", got)
		}
	})
	t.Run("that forbid everything are an answer, not a loss of the source", func(t *testing.T) {
		t.Parallel()
		ans, w := visit(t, map[string]string{"/robots.txt": "User-agent: *\nDisallow: /\n", "/": homePage})
		if ans.Loss != pipeline.LossRobots || len(w.paths()) != 1 {
			t.Errorf("%+v, %v", ans, w.paths())
		}
	})
	t.Run("that fail forbid everything for now", func(t *testing.T) {
		t.Parallel()
		w := newWeb(t, func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(503) })
		if ans := fetch(t, newSet(t, nil, w).named(t, "site"), home(w.URL)); ans.Loss != pipeline.LossBroken || !slices.Equal(w.paths(), []string{"/robots.txt"}) {
			t.Errorf("%+v, %v", ans, w.paths())
		}
	})
	t.Run("with a pause above five seconds close the site", func(t *testing.T) {
		t.Parallel()
		ans, w := visit(t, map[string]string{"/robots.txt": "User-agent: *\nCrawl-delay: 30\n", "/": homePage})
		if ans.Loss != pipeline.LossRobots || len(w.paths()) != 1 {
			t.Errorf("%+v, %v", ans, w.paths())
		}
	})
	t.Run("of the host that a redirect leads to hold as well", func(t *testing.T) {
		t.Parallel()
		closed := newWeb(t, pages(map[string]string{"/robots.txt": "User-agent: *\nDisallow: /\n", "/": homePage}))
		open := newWeb(t, func(rw http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/robots.txt" {
				rw.WriteHeader(404)
				return
			}
			http.Redirect(rw, r, closed.URL+"/", http.StatusFound)
		})
		if ans := fetch(t, newSet(t, nil, open, closed).named(t, "site"), home(open.URL)); ans.Loss != pipeline.LossRobots || !slices.Equal(closed.paths(), []string{"/robots.txt"}) {
			t.Errorf("%+v, %v", ans, closed.paths())
		}
	})
	t.Run("see the address as it goes on the wire", func(t *testing.T) {
		t.Parallel()
		w := newWeb(t, pages(map[string]string{"/robots.txt": "User-agent: *\nDisallow: /über\n", "/%C3%BCber": homePage}))
		a := home(w.URL)
		a.URL = w.URL + "/über"
		if ans := fetch(t, newSet(t, nil, w).named(t, "site"), a); ans.Loss != pipeline.LossRobots {
			t.Errorf("%+v", ans)
		}
	})
}

func TestPoliteness(t *testing.T) {
	t.Parallel()
	t.Run("leaves the configured pause between requests to one host", func(t *testing.T) {
		t.Parallel()
		w := newWeb(t, pages(map[string]string{"/": homePage, "/a": homePage, "/b": homePage}))
		src := newSet(t, func(c *Config) { c.CrawlRate = 5; c.Slice = 3 * time.Second }, w).named(t, "site")
		done := make(chan pipeline.Answer, 3)
		for _, path := range []string{"/", "/a", "/b"} {
			a := home(w.URL)
			a.URL = w.URL + path
			go func() { done <- src.Fetch(t.Context(), a) }()
		}
		for range 3 {
			if ans := <-done; ans.Loss != "" {
				t.Errorf("%+v", ans)
			}
		}
		// The pause lies between the moments of sending; a busy machine may bring two arrivals together, but not all four.
		if took := w.hits[3].at.Sub(w.hits[0].at); len(w.hits) != 4 || took < 400*time.Millisecond {
			t.Errorf("%d requests within %v", len(w.hits), took)
		}
	})
	t.Run("loses a page at once whose turn comes after its slice", func(t *testing.T) {
		t.Parallel()
		w := newWeb(t, pages(map[string]string{"/": homePage}))
		src := newSet(t, func(c *Config) { c.CrawlRate = 0.1 }, w).named(t, "site")
		began := time.Now()
		if ans := fetch(t, src, home(w.URL)); ans.Loss != pipeline.LossLimited || time.Since(began) > 500*time.Millisecond {
			t.Errorf("after %v: %+v", time.Since(began), ans)
		}
	})
	t.Run("never visits login walls, not even by redirect", func(t *testing.T) {
		t.Parallel()
		w := newWeb(t, func(rw http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/robots.txt" {
				rw.WriteHeader(404)
				return
			}
			http.Redirect(rw, r, "https://www.linkedin.com/in/ada", http.StatusFound)
		})
		src := newSet(t, nil, w).named(t, "site")
		direct := home("https://www.linkedin.com")
		for _, a := range []pipeline.Ask{home(w.URL), direct} {
			if ans := fetch(t, src, a); ans.Loss != pipeline.LossRefused {
				t.Errorf("%+v", ans)
			}
		}
		if asks := src.Ask(seed("https://www.linkedin.com/in/ada", "https://www.linkedin.com/company/x", "https://x.com/ada", "https://m.facebook.com/ada"), pipeline.Crawl); len(asks) != 0 {
			t.Errorf("%+v", asks)
		}
	})
	t.Run("a hanging host keeps nobody else waiting", func(t *testing.T) {
		t.Parallel()
		address, port := silentPort(t)
		w := newWeb(t, pages(map[string]string{"/": homePage}))
		set := newSet(t, func(c *Config) { c.Policy.Ports = append(c.Policy.Ports, port) }, w)
		src := set.named(t, "site")
		lost := make(chan pipeline.Answer, 12)
		for i := range 12 {
			a := home(address)
			a.URL += fmt.Sprint(i)
			go func() { lost <- src.Fetch(t.Context(), a) }()
		}
		began := time.Now()
		if ans := fetch(t, src, home(w.URL)); ans.Loss != "" || time.Since(began) > 500*time.Millisecond {
			t.Errorf("after %v: %+v", time.Since(began), ans)
		}
		for range 12 {
			if ans := <-lost; ans.Loss != pipeline.LossTimeout {
				t.Errorf("%+v", ans)
			}
		}
	})
}

func TestSite(t *testing.T) {
	t.Parallel()
	read := func(t *testing.T, byPath map[string]string, header http.Header) (pipeline.Known, pipeline.Source, *web) {
		t.Helper()
		serve := pages(byPath)
		w := newWeb(t, func(rw http.ResponseWriter, r *http.Request) {
			for name, values := range header {
				rw.Header()[name] = values
			}
			serve(rw, r)
		})
		src := newSet(t, nil, w).named(t, "site")
		k := seed(w.URL + "/")
		ans := fetch(t, src, src.Ask(k, pipeline.Crawl)[0])
		k.Records = src.Read(k, []pipeline.Answer{ans})
		k.Matches = pipeline.Decide(k)
		return k, src, w
	}
	t.Run("gives a record with contact-eligible evidence", func(t *testing.T) {
		t.Parallel()
		k, _, w := read(t, map[string]string{"/": homePage}, nil)
		if len(k.Records) != 1 || k.Matches[0].Band != pipeline.BandAccept {
			t.Fatalf("%+v %+v", k.Records, k.Matches)
		}
		found := map[string]bool{}
		for _, c := range k.Records[0].Claims {
			found[c.Field] = true
			if c.Field == pipeline.FieldEmails && (!c.Evidence.ContactEligible || c.Text != "ada@ada-byron.org") {
				t.Errorf("%+v", c)
			}
			if c.Field == pipeline.FieldLinks && c.Link.Kind == "website" && c.Text != w.URL+"/" {
				t.Errorf("%+v", c)
			}
		}
		for _, f := range []string{"name", "currentRole", "currentCompany", "emails", "links"} {
			if !found[f] {
				t.Errorf("no claim %s", f)
			}
		}
	})
	t.Run("goes on to the pages about the person, and asks for a JSON Resume", func(t *testing.T) {
		t.Parallel()
		k, src, w := read(t, map[string]string{"/": homePage}, nil)
		var got []string
		for _, a := range src.Ask(k, pipeline.Crawl) {
			got = append(got, strings.TrimPrefix(a.URL, w.URL)+" "+a.Kind)
		}
		if want := []string{"/ home", "/resume.json resume", "/about page", "/cv.html page"}; !slices.Equal(got, want) {
			t.Errorf("%q", got)
		}
	})
	t.Run("takes no facts from a page that opts out", func(t *testing.T) {
		t.Parallel()
		for _, h := range []http.Header{{"X-Robots-Tag": {"noindex"}}, {"X-Robots-Tag": {"noai"}}, {"Tdm-Reservation": {"1"}}} {
			if k, _, _ := read(t, map[string]string{"/": homePage}, h); len(k.Records) != 0 {
				t.Errorf("%v: %+v", h, k.Records)
			}
		}
		if k, _, _ := read(t, map[string]string{"/": strings.Replace(homePage, "<head>", `<head><meta name="robots" content="noindex">`, 1)}, nil); len(k.Records) != 0 {
			t.Errorf("meta: %+v", k.Records)
		}
	})
	t.Run("gives no address for contact when recruiters are unwelcome", func(t *testing.T) {
		t.Parallel()
		k, _, _ := read(t, map[string]string{"/": strings.Replace(homePage, "<nav>", "<p>No recruiters, please.</p><nav>", 1)}, nil)
		if len(k.Records) != 1 || !k.Records[0].NoContact {
			t.Fatalf("%+v", k.Records)
		}
		for _, c := range k.Records[0].Claims {
			if c.Evidence.ContactEligible {
				t.Errorf("%+v", c)
			}
		}
	})
	t.Run("does not take a missing resume, a PDF or a page instead of JSON as a loss", func(t *testing.T) {
		t.Parallel()
		w := newWeb(t, func(rw http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/robots.txt":
				rw.WriteHeader(404)
			case "/resume.json":
				rw.Header().Set("Content-Type", "text/html")
				fmt.Fprint(rw, homePage)
			case "/blocked/resume.json":
				rw.WriteHeader(403)
			default:
				rw.Header().Set("Content-Type", "application/pdf")
				fmt.Fprint(rw, "%PDF-1.7")
			}
		})
		src := newSet(t, nil, w).named(t, "site")
		for _, a := range []pipeline.Ask{{Kind: siteResume, URL: w.URL + "/resume.json"}, {Kind: siteResume, URL: w.URL + "/blocked/resume.json"}, {Kind: siteHome, URL: w.URL + "/cv.pdf"}} {
			ans := fetch(t, src, a)
			if ans.Loss != "" || len(ans.Body) != 0 || len(src.Read(seed(), []pipeline.Answer{ans})) != 0 {
				t.Errorf("%s: %+v", a.URL, ans)
			}
		}
	})
	t.Run("takes an oversized page as broken", func(t *testing.T) {
		t.Parallel()
		w := newWeb(t, pages(map[string]string{"/": homePage + strings.Repeat("<p>much ado</p>", 60_000)}))
		if ans := fetch(t, newSet(t, nil, w).named(t, "site"), home(w.URL)); ans.Loss != pipeline.LossBroken || len(ans.Body) != 0 {
			t.Errorf("%q %d bytes", ans.Loss, len(ans.Body))
		}
	})
}

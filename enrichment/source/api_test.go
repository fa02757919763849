package source

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/enrichd/enrichd/enrichment/pipeline"
)

// The bodies below have the shape of each API's published answers, for people who do not exist.
const (
	gitHubUserBody = `{"login":"AdaByron","id":1,"node_id":"MDQ6VXNlcjE=","avatar_url":"https://avatars.example/1","gravatar_id":"","url":"https://api.github.com/users/AdaByron",
		"html_url":"https://github.com/AdaByron","type":"User","user_view_type":"public","site_admin":false,"name":"Ada Byron","company":"@analytical-engines","blog":"ada.example",
		"location":"London, UK","email":"ada@private.example","hireable":null,"bio":"Weaves algebra.\nLike looms.","twitter_username":"adabyron","public_repos":8,"public_gists":0,
		"followers":3,"following":0,"created_at":"2011-01-25T18:44:36Z","updated_at":"2026-01-10T09:00:00Z","a_field_of_next_year":{"x":[1]}}`
	gitHubSocialBody = `[{"provider":"mastodon","url":"https://mastodon.example/@ada"},{"provider":"generic","url":"https://ada.example/"},{"provider":"linkedin","url":"https://www.linkedin.com/in/ada-byron"}]`
	gitHubReposBody  = `[{"id":1,"name":"engine","full_name":"AdaByron/engine","fork":false,"language":"Go","pushed_at":"2026-01-01T00:00:00Z","topics":[]},
		{"id":2,"name":"loom","fork":false,"language":"Go","pushed_at":"2025-01-01T00:00:00Z"},{"id":3,"name":"notes","fork":false,"language":null,"pushed_at":null},
		{"id":4,"name":"copied","fork":true,"language":"Cobol","pushed_at":"2026-01-01T00:00:00Z"},{"id":5,"name":"cards","fork":false,"language":"Rust","pushed_at":"2024-01-01T00:00:00Z"}]`
	gitHubSearchBody = `{"total_count":2,"incomplete_results":false,"items":[{"login":"adabyron","id":1,"type":"User","score":1.0},{"login":"byron-ada","id":9,"type":"User","score":1.0}]}`

	openAlexBody = `{"id":"https://openalex.org/A5000000001","orcid":"https://orcid.org/0000-0002-1825-0097","display_name":"Ada Byron","display_name_alternatives":["A. Byron","Ada K. Byron"],
		"works_count":42,"cited_by_count":7,"summary_stats":{"h_index":3},"ids":{"openalex":"https://openalex.org/A5000000001","orcid":"https://orcid.org/0000-0002-1825-0097"},
		"affiliations":[{"institution":{"id":"https://openalex.org/I1","ror":"https://ror.org/041kmwe10","display_name":"Analytical Engines","country_code":"GB","type":"company"},"years":[2023,2022]},
		{"institution":{"id":"https://openalex.org/I2","ror":"https://ror.org/05gq02987","display_name":"Old College","country_code":"US","type":"education"},"years":[2015]}],
		"last_known_institutions":[{"id":"https://openalex.org/I1","ror":"https://ror.org/041kmwe10","display_name":"Analytical Engines","country_code":"GB","type":"company"}],
		"topics":[{"id":"https://openalex.org/T1","display_name":"Mechanical Computation","count":12},{"id":"https://openalex.org/T2","display_name":"Poetry","count":1}],
		"x_concepts":[],"works_api_url":"https://api.openalex.org/works?filter=author.id:A5000000001","updated_date":"2026-01-01"}`
)

func TestGitHubContract(t *testing.T) {
	t.Parallel()
	contract(t, "github", func(base string) pipeline.Ask {
		return pipeline.Ask{Source: "github", Stage: pipeline.Lookup, Kind: gitHubUser, URL: base + "/users/adabyron", Origin: "seed"}
	}, "application/json; charset=utf-8", gitHubUserBody)
}

func TestOpenAlexContract(t *testing.T) {
	t.Parallel()
	contract(t, "openalex", func(base string) pipeline.Ask {
		return pipeline.Ask{Source: "openalex", Stage: pipeline.Lookup, Kind: openAlexAuthor, URL: base + "/authors/A5000000001", Origin: "seed"}
	}, "application/json", openAlexBody)
}

func TestGuard(t *testing.T) {
	t.Parallel()
	user := func(base string) pipeline.Ask {
		return pipeline.Ask{Source: "github", Kind: gitHubUser, URL: base + "/users/adabyron"}
	}
	jsonly := func(rw http.ResponseWriter) { rw.Header().Set("Content-Type", "application/json") }
	t.Run("answers 304 from what it holds", func(t *testing.T) {
		t.Parallel()
		var conditions atomic.Int32
		w := newWeb(t, func(rw http.ResponseWriter, r *http.Request) {
			jsonly(rw)
			rw.Header().Set("Etag", `"v1"`)
			if r.Header.Get("If-None-Match") == `"v1"` {
				conditions.Add(1)
				rw.WriteHeader(304)
				return
			}
			fmt.Fprint(rw, gitHubUserBody)
		})
		src := newSet(t, nil, w).named(t, "github")
		first, second := fetch(t, src, user(w.URL)), fetch(t, src, user(w.URL))
		if conditions.Load() != 1 || second.Status != 200 || second.Hash != first.Hash || string(second.Body) != string(first.Body) || second.Loss != "" {
			t.Errorf("%d conditions, %+v", conditions.Load(), second)
		}
	})
	t.Run("takes a 304 that nobody asked for as broken", func(t *testing.T) {
		t.Parallel()
		w := newWeb(t, func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(304) })
		if ans := fetch(t, newSet(t, nil, w).named(t, "github"), user(w.URL)); ans.Loss != pipeline.LossBroken {
			t.Errorf("%+v", ans)
		}
	})
	t.Run("takes another content type, and broken JSON, as broken", func(t *testing.T) {
		t.Parallel()
		for kind, body := range map[string]string{"text/html": "<p>Down for maintenance</p>", "application/json": `{"login":"ada`} {
			w := newWeb(t, func(rw http.ResponseWriter, _ *http.Request) {
				rw.Header().Set("Content-Type", kind)
				fmt.Fprint(rw, body)
			})
			if ans := fetch(t, newSet(t, nil, w).named(t, "github"), user(w.URL)); ans.Loss != pipeline.LossBroken {
				t.Errorf("%s: %+v", kind, ans)
			}
		}
	})
	t.Run("repeats a failed call once when it fits", func(t *testing.T) {
		t.Parallel()
		var calls atomic.Int32
		w := newWeb(t, func(rw http.ResponseWriter, _ *http.Request) {
			jsonly(rw)
			if calls.Add(1) == 1 {
				rw.WriteHeader(503)
				return
			}
			fmt.Fprint(rw, gitHubUserBody)
		})
		if ans := fetch(t, newSet(t, nil, w).named(t, "github"), user(w.URL)); ans.Loss != "" || calls.Load() != 2 {
			t.Errorf("%d calls, %+v", calls.Load(), ans)
		}
	})
	t.Run("waits out a short Retry-After within the slice", func(t *testing.T) {
		t.Parallel()
		var calls atomic.Int32
		w := newWeb(t, func(rw http.ResponseWriter, _ *http.Request) {
			jsonly(rw)
			if calls.Add(1) == 1 {
				rw.Header().Set("Retry-After", "1")
				rw.WriteHeader(429)
				return
			}
			fmt.Fprint(rw, gitHubUserBody)
		})
		src := newSet(t, func(c *Config) { c.Slice = 2500 * time.Millisecond }, w).named(t, "github")
		began := time.Now()
		if ans := fetch(t, src, user(w.URL)); ans.Loss != "" || time.Since(began) < time.Second {
			t.Errorf("after %v: %+v", time.Since(began), ans)
		}
	})
	t.Run("believes a source that says its limit is used up", func(t *testing.T) {
		t.Parallel()
		w := newWeb(t, func(rw http.ResponseWriter, _ *http.Request) {
			jsonly(rw)
			rw.Header().Set("X-RateLimit-Remaining", "0")
			rw.Header().Set("X-RateLimit-Reset", fmt.Sprint(time.Now().Add(time.Minute).Unix()))
			fmt.Fprint(rw, gitHubUserBody)
		})
		src := newSet(t, nil, w).named(t, "github")
		first := fetch(t, src, user(w.URL))
		other := user(w.URL)
		other.URL = w.URL + "/users/somebody"
		second := fetch(t, src, other)
		if first.Loss != "" || second.Loss != pipeline.LossLimited || len(w.paths()) != 1 {
			t.Errorf("%q, %q, %v", first.Loss, second.Loss, w.paths())
		}
	})
	t.Run("takes a 403 with no calls left as limited", func(t *testing.T) {
		t.Parallel()
		w := newWeb(t, func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("X-RateLimit-Remaining", "0")
			rw.WriteHeader(403)
		})
		if ans := fetch(t, newSet(t, nil, w).named(t, "github"), user(w.URL)); ans.Loss != pipeline.LossLimited {
			t.Errorf("%+v", ans)
		}
	})
	t.Run("keeps the configured number of calls under way", func(t *testing.T) {
		t.Parallel()
		var now, most atomic.Int32
		w := newWeb(t, func(rw http.ResponseWriter, _ *http.Request) {
			n := now.Add(1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			time.Sleep(5 * time.Millisecond) // the server's own work
			now.Add(-1)
			jsonly(rw)
			fmt.Fprint(rw, gitHubUserBody)
		})
		src := newSet(t, func(c *Config) { c.Parallel = 3 }, w).named(t, "github")
		done := make(chan pipeline.Answer, 30)
		for i := range 30 {
			go func() {
				done <- src.Fetch(t.Context(), pipeline.Ask{Kind: gitHubUser, URL: fmt.Sprintf("%s/users/u%d", w.URL, i)})
			}()
		}
		for range 30 {
			if ans := <-done; ans.Loss != "" {
				t.Errorf("%+v", ans)
			}
		}
		if most.Load() > 3 {
			t.Errorf("%d at once", most.Load())
		}
	})
	t.Run("shows keys on the wire only", func(t *testing.T) {
		t.Parallel()
		w := newWeb(t, func(rw http.ResponseWriter, _ *http.Request) {
			jsonly(rw)
			rw.Header().Set("Etag", `"v1"`)
			fmt.Fprint(rw, openAlexBody)
		})
		set := newSet(t, func(c *Config) { c.Tokens["openalex"], c.Tokens["github"] = "s3cret", "s3cret" }, w)
		alex := set.named(t, "openalex")
		k := seed("https://openalex.org/A5000000001")
		asks := alex.Ask(k, pipeline.Lookup)
		ans := fetch(t, alex, asks[0])
		fetch(t, set.named(t, "github"), user(w.URL))
		raw, _ := json.Marshal([]any{ans.URL, ans.Ask, alex.Read(k, []pipeline.Answer{ans})})
		if strings.Contains(string(raw), "s3cret") || strings.Contains(string(raw), "ops@enrichd") {
			t.Errorf("%s", raw)
		}
		if !strings.Contains(w.hits[0].path, "api_key=s3cret") || !strings.Contains(w.hits[0].path, "mailto=ops%40enrichd.example") || w.hits[1].header.Get("Authorization") != "Bearer s3cret" {
			t.Errorf("%+v", w.hits)
		}
	})
}

func TestNew(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]Config{
		"is unknown":                       {Enabled: []string{"site", "linkedin"}},
		"has no connector in this version": {Enabled: []string{"orcid"}},
		"must be http or https":            {URLs: map[string]string{"github": "ftp://x"}},
	} {
		if s, err := New(cfg); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v, %v; want an error that says %q", s, err, name)
		}
	}
	s, err := New(Config{Enabled: []string{"openalex", "site"}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if len(s.Sources) != 2 || s.Sources[0].Name() != "site" || s.Sources[1].Name() != "openalex" {
		t.Errorf("%v", s.Sources)
	}
}

func TestGitHub(t *testing.T) {
	t.Parallel()
	answer := func(kind, url, body string) pipeline.Answer {
		return pipeline.Answer{Ask: pipeline.Ask{Source: "github", Kind: kind, URL: url}, URL: url, Status: 200, Body: []byte(body), Hash: "h", FetchedAt: time.Now().UTC()}
	}
	g := newGitHub("https://api.github.com", "")
	user := "https://api.github.com/users/adabyron"
	t.Run("reads account, other accounts and languages, and never an address", func(t *testing.T) {
		t.Parallel()
		scrubbed := answer(gitHubUser, user, gitHubUserBody)
		scrubbed.Body = g.call(scrubbed.Ask).scrub(scrubbed.Body)
		if strings.Contains(string(scrubbed.Body), "private.example") {
			t.Error("the address is still in the body")
		}
		for _, first := range []pipeline.Answer{scrubbed, answer(gitHubUser, user, gitHubUserBody)} {
			records := g.Read(seed(), []pipeline.Answer{answer(gitHubRepos, user+"/repos?per_page=30", gitHubReposBody), first, answer(gitHubSocial, user+"/social_accounts", gitHubSocialBody)})
			if len(records) != 1 {
				t.Fatalf("%d records", len(records))
			}
			r := records[0]
			if raw, _ := json.Marshal(r); strings.Contains(string(raw), "private.example") {
				t.Error("an address was read")
			}
			if r.ID != "adabyron" || r.Kind != pipeline.Person || !slices.Equal(r.Names, []string{"Ada Byron"}) || r.Employers[0].Name != "analytical-engines" || len(r.Repositories) != 4 {
				t.Errorf("%+v", r)
			}
			var got []string
			for _, c := range r.Claims {
				got = append(got, c.Field+"="+c.Text)
				if c.Evidence.Excerpt == nil || c.Evidence.ContactEligible || c.Evidence.ContentHash == nil {
					t.Errorf("%+v", c.Evidence)
				}
			}
			want := []string{"name=Ada Byron", "headline=Weaves algebra. Like looms.", "location=London, UK", "currentCompany=analytical-engines", "links=https://github.com/adabyron",
				"links=https://ada.example/", "links=https://x.com/adabyron", "links=https://mastodon.example/@ada", "links=https://www.linkedin.com/in/ada-byron", "skills=Go", "skills=Rust"}
			if !slices.Equal(got, want) {
				t.Errorf("%q", got)
			}
		}
	})
	t.Run("knows organisations and bots, and survives nonsense", func(t *testing.T) {
		t.Parallel()
		for body, kind := range map[string]pipeline.RecordKind{`{"login":"acme","type":"Organization"}`: pipeline.Organisation, `{"login":"dep[bot]","type":"Bot"}`: pipeline.Bot} {
			if r := g.Read(seed(), []pipeline.Answer{answer(gitHubUser, user, body)}); len(r) != 1 || r[0].Kind != kind {
				t.Errorf("%s: %+v", body, r)
			}
		}
		for _, body := range []string{"", "null", "[]", "7", `{"login":7}`, `{"items":"x"}`} {
			for _, kind := range []string{gitHubUser, gitHubRepos, gitHubSocial, gitHubSearch} {
				if r := g.Read(seed(), []pipeline.Answer{answer(kind, user, body)}); len(r) != 0 {
					t.Errorf("%s %q: %+v", kind, body, r)
				}
			}
		}
	})
	t.Run("asks for named accounts, and searches only without one", func(t *testing.T) {
		t.Parallel()
		if asks := g.Ask(seed("https://github.com/AdaByron"), pipeline.Lookup); len(asks) != 3 || asks[0].URL != user {
			t.Errorf("%+v", asks)
		}
		if asks := g.Ask(seed("https://github.com/AdaByron"), pipeline.Discover); len(asks) != 0 {
			t.Errorf("%+v", asks)
		}
		k := seed()
		asks := g.Ask(k, pipeline.Discover)
		if len(asks) != 1 || !strings.Contains(asks[0].URL, "/search/users?") {
			t.Fatalf("%+v", asks)
		}
		k.Records = g.Read(k, []pipeline.Answer{answer(gitHubSearch, asks[0].URL, gitHubSearchBody)})
		k.Matches = pipeline.Decide(k)
		if asks = g.Ask(k, pipeline.Discover); len(asks) != 3 || asks[1].URL != user || asks[2].URL != "https://api.github.com/users/byron-ada" {
			t.Errorf("%+v", asks)
		}
		k.Records = g.Read(k, []pipeline.Answer{answer(gitHubSearch, asks[0].URL, gitHubSearchBody), answer(gitHubUser, user, gitHubUserBody)})
		k.Records[0].Employers = []pipeline.Employer{{Name: "Analytical Engines"}}
		k.Matches = pipeline.Decide(k)
		if asks = g.Ask(k, pipeline.Discover); len(asks) != 4 || k.Matches[0].Band != pipeline.BandAccept {
			t.Errorf("%s %+v", k.Matches[0].Band, asks)
		}
	})
}

func TestOpenAlex(t *testing.T) {
	t.Parallel()
	o := newOpenAlex("https://api.openalex.org", "", "")
	list := `{"meta":{"count":1,"page":1,"per_page":25},"results":[` + openAlexBody + `],"group_by":[]}`
	answer := func(kind, body string) pipeline.Answer {
		return pipeline.Answer{Ask: pipeline.Ask{Source: "openalex", Kind: kind, URL: kind}, URL: kind, Status: 200, Body: []byte(body), Hash: "h", FetchedAt: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)}
	}
	for _, ans := range []pipeline.Answer{answer(openAlexAuthor, openAlexBody), answer(openAlexORCID, list), answer(openAlexSearch, list)} {
		records := o.Read(seed(), []pipeline.Answer{ans})
		if len(records) != 1 {
			t.Fatalf("%d records", len(records))
		}
		r := records[0]
		if r.ID != "A5000000001" || len(r.Names) != 3 || len(r.Employers) != 2 || r.Employers[0].ROR != "041kmwe10" || !slices.Equal(r.Locations, []string{"United Kingdom"}) || len(r.Identifiers) != 2 {
			t.Errorf("%+v", r)
		}
		var got []string
		for _, c := range r.Claims {
			got = append(got, c.Field+"="+c.Text)
			if c.Field == pipeline.FieldCurrentCompany && c.HeldAt.Year() != 2023 {
				t.Errorf("held at %v", c.HeldAt)
			}
		}
		want := []string{"name=Ada Byron", "links=https://openalex.org/A5000000001", "links=https://orcid.org/0000-0002-1825-0097", "currentCompany=Analytical Engines", "skills=Mechanical Computation"}
		if !slices.Equal(got, want) {
			t.Errorf("%q", got)
		}
	}
	if r := o.Read(seed(), []pipeline.Answer{answer(openAlexAuthor, openAlexBody), answer(openAlexSearch, list)}); len(r) != 1 {
		t.Errorf("one author twice: %d records", len(r))
	}
	if asks := o.Ask(seed("https://orcid.org/0000-0002-1825-0097"), pipeline.Lookup); len(asks) != 1 || asks[0].URL != "https://api.openalex.org/authors?filter=orcid%3A0000-0002-1825-0097" {
		t.Errorf("%+v", asks)
	}
	if asks := o.Ask(seed(), pipeline.Discover); len(asks) != 1 || asks[0].URL != "https://api.openalex.org/authors?per-page=5&search=Ada+Byron" {
		t.Errorf("%+v", asks)
	}
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	head := func(pairs ...string) http.Header {
		h := http.Header{}
		for i := 0; i < len(pairs); i += 2 {
			h.Set(pairs[i], pairs[i+1])
		}
		return h
	}
	for text, want := range map[string]time.Duration{"7": 7 * time.Second, "Sun, 01 Mar 2026 12:00:30 GMT": 30 * time.Second, "Sun, 01 Mar 2026 11:00:00 GMT": 0, "99999999": time.Hour} {
		if d, ok := retryAfter(head("Retry-After", text), now); !ok || d != want {
			t.Errorf("%q: %v %v", text, d, ok)
		}
	}
	for _, text := range []string{"", "-1", "soon"} {
		if _, ok := retryAfter(head("Retry-After", text), now); ok {
			t.Errorf("%q was read", text)
		}
	}
	for _, c := range []struct {
		h     http.Header
		n     int
		reset time.Time
	}{
		{head("X-RateLimit-Remaining", "3", "X-RateLimit-Reset", fmt.Sprint(now.Add(time.Minute).Unix())), 3, now.Add(time.Minute)},
		{head("RateLimit-Remaining", "0", "RateLimit-Reset", "20"), 0, now.Add(20 * time.Second)},
		{head("RateLimit", `"default";r=50;t=30`), 50, now.Add(30 * time.Second)},
	} {
		if n, reset, ok := remainingCalls(c.h, now); !ok || n != c.n || !reset.Equal(c.reset) {
			t.Errorf("%v: %d %v %v", c.h, n, reset, ok)
		}
	}
	if _, _, ok := remainingCalls(head("X-RateLimit-Remaining", "many"), now); ok {
		t.Error("nonsense was read")
	}
}

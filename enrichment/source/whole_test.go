package source

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/enrichd/enrichd/enrichment/extract"
	"github.com/enrichd/enrichd/enrichment/pipeline"
)

// gitHubWeb plays GitHub's API for one account whose blog is blog.
func gitHubWeb(t *testing.T, blog string) *web {
	return newWeb(t, func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		switch r.URL.Path {
		case "/users/adabyron":
			fmt.Fprint(rw, strings.Replace(gitHubUserBody, `"ada.example"`, `"`+blog+`"`, 1))
		case "/users/adabyron/social_accounts":
			fmt.Fprint(rw, `[]`)
		case "/users/adabyron/repos":
			fmt.Fprint(rw, gitHubReposBody)
		case "/users/byron-ada":
			fmt.Fprint(rw, `{"login":"byron-ada","type":"User","name":"Ada Byron","company":"Fishmongers United","location":"Perth, Australia"}`)
		case "/search/users":
			fmt.Fprint(rw, gitHubSearchBody)
		default:
			rw.WriteHeader(404)
			fmt.Fprint(rw, `{"message":"Not Found"}`)
		}
	})
}

type published struct{}

func (published) Check(_ context.Context, address string, isPublished bool) pipeline.EmailCheck {
	if isPublished {
		return pipeline.EmailCheck{Address: address, Status: pipeline.EmailValid, Method: pipeline.EmailSelfPublished, Reasons: []string{"published"}}
	}
	return pipeline.EmailCheck{Address: address, Status: pipeline.EmailUnknown, Method: pipeline.EmailDNSOnly}
}

func whole(set *Set) *pipeline.Runner {
	return &pipeline.Runner{Sources: set.Sources, Verifier: published{}, Identify: extract.Identify}
}

func input(links ...string) pipeline.Input {
	return pipeline.Input{ProfileID: "prof_1", Name: "Ada Byron", Location: "London, UK", CurrentCompany: "Analytical Engines", Links: links}
}

func TestWhole(t *testing.T) {
	t.Parallel()
	t.Run("joins site, GitHub and OpenAlex into one candidate, and proves the link between two of them", func(t *testing.T) {
		t.Parallel()
		site := newWeb(t, pages(map[string]string{"/": homePage, "/about": homePage, "/resume.json": `{"basics":{"name":"Ada Byron"},"work":[{"name":"Analytical Engines","position":"Mathematician","startDate":"2019-04"}],"skills":[{"name":"Algebra"}]}`}))
		git := gitHubWeb(t, site.URL+"/")
		alex := newWeb(t, func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Content-Type", "application/json")
			if r.URL.Path == "/authors" && r.URL.Query().Get("filter") == "orcid:0000-0002-1825-0097" {
				fmt.Fprint(rw, `{"meta":{"count":1},"results":[`+openAlexBody+`]}`)
				return
			}
			rw.WriteHeader(404)
			fmt.Fprint(rw, `{}`)
		})
		set := newSet(t, func(c *Config) { c.URLs = map[string]string{"github": git.URL, "openalex": alex.URL} }, site, git, alex)
		res := whole(set).Run(t.Context(), "enr_1", input(site.URL+"/", "https://orcid.org/0000-0002-1825-0097"), quiet{})
		if res.Outcome != pipeline.Enriched {
			t.Fatalf("%s %v %s", res.Outcome, res.Missing, res.FailureMessage)
		}
		c := res.Candidate
		sources := map[string]bool{}
		for _, f := range c.AllFacts {
			for _, ev := range f.Evidence {
				sources[ev.Source] = true
			}
		}
		if !sources["site"] || !sources["github"] || !sources["openalex"] {
			t.Errorf("sources %v, identity %+v", sources, c.Identity)
		}
		verified := map[string]bool{}
		for _, l := range c.Links {
			verified[l.Kind] = l.Verified
		}
		if !verified["github"] || len(c.Emails) != 1 || c.Emails[0].Status != pipeline.EmailValid || c.Emails[0].Address != "ada@ada-byron.org" {
			t.Errorf("links %v, e-mails %+v", verified, c.Emails)
		}
		raw, _ := json.Marshal(res)
		for _, never := range []string{"private.example", "Fishmongers", "Perth"} {
			if strings.Contains(string(raw), never) {
				t.Errorf("%s is in the result", never)
			}
		}
		if len(c.Experience) == 0 || !slices.Contains(c.Skills, "Algebra") || !slices.Contains(c.Skills, "Go") {
			t.Errorf("%+v %v", c.Experience, c.Skills)
		}
	})
	t.Run("finds a person by search, and leaves the namesake out", func(t *testing.T) {
		t.Parallel()
		git := gitHubWeb(t, "")
		set := newSet(t, func(c *Config) { c.Enabled = []string{"github"} }, git)
		in := input()
		in.CurrentCompany = "analytical-engines"
		res := whole(set).Run(t.Context(), "enr_1", in, quiet{})
		if res.Outcome != pipeline.Enriched {
			t.Fatalf("%s", res.Outcome)
		}
		raw, _ := json.Marshal(res)
		if strings.Contains(string(raw), "Fishmongers") || !strings.Contains(string(raw), "https://github.com/adabyron") || len(res.Candidate.Emails) != 0 {
			t.Errorf("%s", raw)
		}
		if !slices.Contains(res.Candidate.Skills, "Go") {
			t.Errorf("the account found was not looked at closer: %v", git.paths())
		}
	})
	t.Run("keeps what answers when half of the sources hang, within ten seconds, for ten profiles at once", func(t *testing.T) {
		t.Parallel()
		site := newWeb(t, pages(map[string]string{"/": homePage}))
		hanging, port := silentPort(t)
		set := newSet(t, func(c *Config) {
			c.URLs = map[string]string{"github": hanging, "openalex": hanging}
			c.Policy.Ports = append(c.Policy.Ports, port)
			c.Slice = 0
		}, site)
		runner := whole(set)
		var group sync.WaitGroup
		for i := range 10 {
			group.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				in := input(site.URL+"/", fmt.Sprintf("https://github.com/user%d", i))
				began := time.Now()
				res := runner.Run(ctx, "enr_1", in, quiet{})
				if res.Outcome != pipeline.Partial || !slices.Contains(res.Missing, "github") || time.Since(began) > 8*time.Second {
					t.Errorf("%s %v after %v", res.Outcome, res.Missing, time.Since(began))
				}
				if c := res.Candidate; c == nil || len(c.Emails) != 1 {
					t.Errorf("%+v", c)
				}
			})
		}
		group.Wait()
		if n := runner.Abandoned(); n != 0 {
			t.Errorf("%d calls were abandoned", n)
		}
	})
	t.Run("is TIMED_OUT for the one hanging site among ten, and leaves nine alone", func(t *testing.T) {
		t.Parallel()
		site := newWeb(t, pages(map[string]string{"/": homePage}))
		hanging, port := silentPort(t)
		set := newSet(t, func(c *Config) { c.Enabled = []string{"site"}; c.Policy.Ports = append(c.Policy.Ports, port) }, site)
		runner := whole(set)
		var group sync.WaitGroup
		for i := range 10 {
			group.Go(func() {
				link, want := site.URL+"/", pipeline.Enriched
				if i == 4 {
					link, want = hanging+"/", pipeline.TimedOut
				}
				if res := runner.Run(t.Context(), "enr_1", input(link), quiet{}); res.Outcome != want {
					t.Errorf("profile %d: %s", i, res.Outcome)
				}
			})
		}
		group.Wait()
	})
}

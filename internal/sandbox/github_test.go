package sandbox_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

func TestGitHub(t *testing.T) {
	t.Parallel()
	v := visit(t)
	token := []string{"Authorization", "Bearer " + v.Settings().SourceKeys["github"]}

	t.Run("a user has the public fields, and a page that leads back to the sandbox", func(t *testing.T) {
		r := v.api(t, "github", "/users/Ada-Lindqvist", token...)
		var user map[string]any
		r.json(t, &user)
		for _, field := range strings.Fields(`login id node_id avatar_url gravatar_id url html_url followers_url following_url gists_url starred_url
			subscriptions_url organizations_url repos_url events_url received_events_url type site_admin name company blog location email
			hireable bio twitter_username public_repos public_gists followers following created_at updated_at`) {
			if _, ok := user[field]; !ok {
				t.Errorf("no %s", field)
			}
		}
		if user["login"] != "ada-lindqvist" || user["blog"] != "http://ada-lindqvist.test:"+v.port+"/" || user["type"] != "User" || user["hireable"] != nil {
			t.Errorf("%v", user)
		}
		if r.Header.Get("Content-Type") != "application/json; charset=utf-8" || r.Header.Get("X-RateLimit-Limit") != "5000" || r.Header.Get("X-RateLimit-Resource") != "core" {
			t.Errorf("%v", r.Header)
		}
	})
	t.Run("a 304 is free", func(t *testing.T) {
		first := v.api(t, "github", "/users/vhavel", token...)
		again := v.api(t, "github", "/users/vhavel", append(token, "If-None-Match", first.Header.Get("ETag"))...)
		if again.StatusCode != http.StatusNotModified || again.Header.Get("X-RateLimit-Remaining") != first.Header.Get("X-RateLimit-Remaining") {
			t.Error(again.Status, first.Header, again.Header)
		}
	})
	t.Run("an unknown login is GitHub's own 404", func(t *testing.T) {
		r := v.api(t, "github", "/users/nobody-here", token...)
		var fault struct {
			Message, Status  string
			DocumentationURL string `json:"documentation_url"`
		}
		r.json(t, &fault)
		if r.StatusCode != http.StatusNotFound || fault.Message != "Not Found" || fault.Status != "404" || fault.DocumentationURL == "" {
			t.Errorf("%s %s", r.Status, r.body)
		}
	})
	t.Run("repositories come newest first, page by page", func(t *testing.T) {
		r := v.api(t, "github", "/users/ada-lindqvist/repos?sort=pushed&per_page=2", token...)
		var repos []struct {
			Name     string
			Language *string
			Fork     bool
		}
		r.json(t, &repos)
		if len(repos) != 2 || repos[0].Name != "tideline" || repos[0].Language == nil || *repos[0].Language != "Go" || !strings.Contains(r.Header.Get("Link"), `rel="next"`) {
			t.Errorf("%v %s", r.Header, r.body)
		}
	})
	t.Run("social accounts and organisations are lists, also empty ones", func(t *testing.T) {
		if r := v.api(t, "github", "/users/ada-lindqvist/social_accounts", token...); !strings.Contains(string(r.body), `{"provider":"linkedin","url":"https://www.linkedin.com/in/ada-lindqvist-norrsken"}`) {
			t.Errorf("%s", r.body)
		}
		for _, path := range []string{"/users/vhavel/social_accounts", "/users/vhavel/orgs"} {
			if r := v.api(t, "github", path, token...); string(r.body) != "[]" {
				t.Errorf("%s: %s", path, r.body)
			}
		}
	})
	t.Run("a search finds accounts by all words, and organisations only when asked", func(t *testing.T) {
		for query, want := range map[string]int{
			"Jonas+Keller+in:name+type:user": 1, "Bartholomew+Quill-Ashdown+in:name+type:user": 0, "norrsken+type:user": 0, "norrsken+type:org": 1, "Jonas+Raman": 0,
		} {
			r := v.api(t, "github", "/search/users?q="+query, token...)
			var page struct {
				TotalCount        *int  `json:"total_count"`
				IncompleteResults *bool `json:"incomplete_results"`
				Items             []struct{ Login, Type string }
			}
			r.json(t, &page)
			if page.TotalCount == nil || page.IncompleteResults == nil || *page.TotalCount != want || len(page.Items) != want || r.Header.Get("X-RateLimit-Limit") != "30" {
				t.Errorf("%s: %s", query, r.body)
			}
		}
	})
	t.Run("bad requests get what GitHub gives them", func(t *testing.T) {
		for _, row := range []struct {
			path   string
			header []string
			status int
			says   string
		}{
			{"/search/users", token, 422, "Validation Failed"},
			{"/users/vhavel", []string{"Authorization", "Bearer wrong"}, 401, "Bad credentials"},
			{"/users/vhavel", []string{"User-Agent", ""}, 403, "User-Agent"},
			{"/users/graceokafor", token, 500, "Server Error"},
			{"/users/graceokafor/repos", token, 500, "Server Error"},
			{"/nothing/here", token, 404, "Not Found"},
		} {
			if r := v.api(t, "github", row.path, row.header...); r.StatusCode != row.status || !strings.Contains(string(r.body), row.says) {
				t.Errorf("%s: %s %s", row.path, r.Status, r.body)
			}
		}
	})
	t.Run("without a token sixty calls an hour are the end", func(t *testing.T) {
		for range 60 {
			if r := v.api(t, "github", "/users/vhavel/orgs"); r.StatusCode != http.StatusOK {
				t.Fatal(r.Status)
			}
		}
		r := v.api(t, "github", "/users/vhavel/orgs")
		if r.StatusCode != http.StatusForbidden || r.Header.Get("X-RateLimit-Remaining") != "0" || !strings.Contains(string(r.body), "rate limit exceeded") {
			t.Errorf("%s %s", r.Status, r.body)
		}
		if r := v.api(t, "github", "/users/vhavel/orgs", token...); r.StatusCode != http.StatusOK {
			t.Error("the token shares the address's limit")
		}
	})
}

func TestOpenAlex(t *testing.T) {
	t.Parallel()
	v := visit(t)

	t.Run("an author has the documented fields", func(t *testing.T) {
		r := v.api(t, "openalex", "/authors/A9900000101")
		var author map[string]json.RawMessage
		r.json(t, &author)
		for _, field := range strings.Fields(`id orcid display_name display_name_alternatives works_count cited_by_count summary_stats ids affiliations
			last_known_institutions topics x_concepts counts_by_year works_api_url updated_date created_date`) {
			if _, ok := author[field]; !ok {
				t.Errorf("no %s", field)
			}
		}
		if !strings.Contains(string(author["affiliations"]), "2031") || !strings.Contains(string(author["last_known_institutions"]), "Lagoon Institute of Technology") {
			t.Errorf("%s", r.body)
		}
	})
	t.Run("is found by ORCID iD, in every spelling", func(t *testing.T) {
		for _, id := range []string{"orcid:0000-0007-4821-6638", "https://orcid.org/0000-0007-4821-6638", "https://openalex.org/A9900000101"} {
			if r := v.api(t, "openalex", "/authors/"+id); !strings.Contains(string(r.body), `"display_name":"Amara Nwosu"`) {
				t.Errorf("%s: %s", id, r.Status)
			}
		}
	})
	t.Run("lists have meta and results", func(t *testing.T) {
		for query, want := range map[string]string{
			"filter=orcid:0000-0007-4821-6638": "Amara Nwosu", "search=Priya+Raman&per-page=5": "Priya Raman", "search=Bartholomew+Quill-Ashdown": "",
		} {
			r := v.api(t, "openalex", "/authors?"+query)
			var page struct {
				Meta    struct{ Count, Page int }
				Results []struct {
					Name string `json:"display_name"`
				}
				GroupBy *[]any `json:"group_by"`
			}
			r.json(t, &page)
			found := ""
			if len(page.Results) == 1 {
				found = page.Results[0].Name
			}
			if found != want || page.Meta.Count != len(page.Results) || page.Meta.Page != 1 || page.GroupBy == nil {
				t.Errorf("%s: %s", query, r.body)
			}
		}
	})
	t.Run("refuses fields, parameters and keys that it does not know, and has no page for unknown authors", func(t *testing.T) {
		for path, status := range map[string]int{
			"/authors?filter=shoe_size:44": 400, "/authors?colour=red": 400, "/authors?per-page=500": 400, "/authors?api_key=wrong": 401, "/authors/A1": 404, "/works": 404,
		} {
			if r := v.api(t, "openalex", path); r.StatusCode != status {
				t.Errorf("%s: %s", path, r.Status)
			}
		}
	})
	t.Run("tells what a call cost", func(t *testing.T) {
		if r := v.api(t, "openalex", "/authors?search=Raman&api_key="+v.Settings().SourceKeys["openalex"]); r.Header.Get("X-RateLimit-Cost-USD") != "0.001" || r.Header.Get("X-RateLimit-Remaining-USD") != "0.9990" {
			t.Errorf("%v", r.Header)
		}
	})
}

package source

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/enrichd/enrichd/enrichment/extract"
	"github.com/enrichd/enrichd/enrichment/pipeline"
	"github.com/enrichd/enrichd/internal/egress"
)

// gitHub asks GitHub's REST API (version 2022-11-28) about accounts that the
// caller or a trusted page names, and searches by name. Its terms bar the use
// of addresses for unsolicited mail: no address of it is read, held or returned.
type gitHub struct {
	base, token string
}

func newGitHub(base, token string) *gitHub { return &gitHub{base: base, token: token} }

func (*gitHub) Name() string { return "github" }

func (*gitHub) Policy() pipeline.Policy { return pipeline.Policy{Reliability: 0.80} }

// Kinds of asks.
const (
	gitHubUser   = "user"
	gitHubSocial = "social_accounts"
	gitHubRepos  = "repos"
	gitHubSearch = "search"
)

// Ask asks for named accounts in lookup; in discover it searches, then looks
// at the accounts found, and closer at those that may be the person.
func (g *gitHub) Ask(k pipeline.Known, s pipeline.Stage) []pipeline.Ask {
	accounts := namedBy(k, "github", "github")
	switch s {
	case pipeline.Lookup:
		var asks []pipeline.Ask
		for _, n := range accounts {
			asks = append(asks, g.about(n.id.Value, n.origin, gitHubUser, gitHubSocial, gitHubRepos)...)
		}
		return asks
	case pipeline.Discover:
		if len(accounts) > 0 || searchName(k.Seed.Name) == "" {
			return nil
		}
		asks := []pipeline.Ask{{
			Kind: gitHubSearch, Origin: "seed",
			URL: g.base + "/search/users?" + query("q", searchName(k.Seed.Name)+" in:name type:user", "per_page", fmt.Sprint(topK)),
		}}
		for i, r := range k.Records {
			switch {
			case r.Source != "github":
			case len(r.Claims) == 0:
				asks = append(asks, g.about(r.ID, "github:search", gitHubUser)...)
			case band(k, i) != pipeline.BandReject:
				asks = append(asks, g.about(r.ID, "github:"+r.ID, gitHubSocial, gitHubRepos)...)
			}
		}
		return asks
	}
	return nil
}

func (g *gitHub) about(login, origin string, kinds ...string) []pipeline.Ask {
	var asks []pipeline.Ask
	user := g.base + "/users/" + url.PathEscape(login)
	for _, kind := range kinds {
		a := pipeline.Ask{Kind: kind, Origin: origin, URL: user}
		switch kind {
		case gitHubSocial:
			a.URL += "/social_accounts"
		case gitHubRepos:
			a.URL += "/repos?" + query("per_page", "30", "sort", "pushed", "type", "owner")
		}
		asks = append(asks, a)
	}
	return asks
}

func (g *gitHub) call(a pipeline.Ask) call {
	c := call{header: egress.Header{}}
	c.header.Set("Accept", "application/vnd.github+json")
	c.header.Set("X-GitHub-Api-Version", "2022-11-28")
	if g.token != "" {
		c.header.Set("Authorization", "Bearer "+g.token)
	}
	switch a.Kind {
	case gitHubSearch:
		c.bucket = "search"
	case gitHubUser:
		c.scrub = withoutEmail
	}
	return c
}

// withoutEmail drops the address from a user object before anything else sees it.
func withoutEmail(body []byte) []byte {
	var fields map[string]json.RawMessage
	if json.Unmarshal(body, &fields) != nil {
		return body
	}
	delete(fields, "email")
	delete(fields, "notification_email")
	clean, err := json.Marshal(fields)
	if err != nil {
		return nil
	}
	return clean
}

// The parts of GitHub's answers that are read. Wrong types of single fields
// fail the whole answer, which then says nothing; unknown fields are ignored.
type (
	gitHubAccount struct {
		Login    string `json:"login"`
		Type     string `json:"type"` // User, Organization, Bot
		Name     string `json:"name"`
		Company  string `json:"company"`
		Blog     string `json:"blog"`
		Location string `json:"location"`
		Bio      string `json:"bio"`
		Twitter  string `json:"twitter_username"`
	}
	gitHubSocialAccount struct {
		Provider string `json:"provider"`
		URL      string `json:"url"`
	}
	gitHubRepo struct {
		Name     string    `json:"name"`
		Language string    `json:"language"`
		Fork     bool      `json:"fork"`
		PushedAt time.Time `json:"pushed_at"`
	}
)

// Read makes one record of each account, from whichever of its answers came.
func (g *gitHub) Read(_ pipeline.Known, answers []pipeline.Answer) []pipeline.Record {
	byLogin := map[string]*gitHubReader{}
	var logins []string
	reader := func(login string) *gitHubReader {
		login = strings.ToLower(login)
		if byLogin[login] == nil {
			byLogin[login] = &gitHubReader{record: pipeline.Record{Source: "github", ID: login, URL: "https://github.com/" + login}}
			logins = append(logins, login)
		}
		return byLogin[login]
	}
	for _, kind := range []string{gitHubSearch, gitHubUser, gitHubSocial, gitHubRepos} {
		for _, ans := range answers {
			if ans.Ask.Kind != kind || ans.Status != statusOK {
				continue
			}
			if kind == gitHubSearch {
				var page struct {
					Items []gitHubAccount `json:"items"`
				}
				_ = json.Unmarshal(ans.Body, &page)
				for _, item := range page.Items[:min(topK, len(page.Items))] {
					if item.Login != "" {
						reader(item.Login).record.Kind = gitHubKind(item)
					}
				}
				continue
			}
			login, _, _ := strings.Cut(strings.TrimPrefix(ans.Ask.URL, g.base+"/users/"), "/")
			if login, err := url.PathUnescape(login); err == nil {
				reader(login).read(kind, ans)
			}
		}
	}
	slices.Sort(logins)
	records := make([]pipeline.Record, 0, len(logins))
	for _, login := range logins {
		if r := byLogin[login]; r.known {
			records = append(records, r.record)
		} else if r.record.Kind != pipeline.Unclear {
			records = append(records, r.stub())
		}
	}
	return records
}

func gitHubKind(a gitHubAccount) pipeline.RecordKind {
	switch {
	case a.Type == "Bot" || strings.HasSuffix(a.Login, "[bot]"):
		return pipeline.Bot
	case a.Type == "Organization":
		return pipeline.Organisation
	case a.Type == "User":
		return pipeline.Person
	}
	return pipeline.Unclear
}

// gitHubReader gathers one account.
type gitHubReader struct {
	record pipeline.Record
	known  bool // the account itself was read
}

// stub is an account of which only the search is known: enough to be asked about, not to be anybody.
func (r *gitHubReader) stub() pipeline.Record {
	stub := r.record
	stub.Claims, stub.Identifiers = nil, nil
	return stub
}

func (r *gitHubReader) read(kind string, ans pipeline.Answer) {
	switch kind {
	case gitHubUser:
		var a gitHubAccount
		if json.Unmarshal(ans.Body, &a) == nil && a.Login != "" {
			r.account(a, ans)
		}
	case gitHubSocial:
		var accounts []gitHubSocialAccount
		_ = json.Unmarshal(ans.Body, &accounts)
		for _, s := range accounts {
			r.link(s.URL, note(ans, "github-social/1", s.Provider+": "+s.URL))
		}
	case gitHubRepos:
		var repos []gitHubRepo
		_ = json.Unmarshal(ans.Body, &repos)
		r.repositories(repos, ans)
	}
}

func (r *gitHubReader) account(a gitHubAccount, ans pipeline.Answer) {
	r.known = true
	r.record.Kind = gitHubKind(a)
	const extractor = "github-user/1"
	claim := func(field, key, text string) {
		if text = clip(text, 300); text != "" {
			r.record.Claims = append(r.record.Claims, pipeline.Claim{Field: field, Text: text, Evidence: note(ans, extractor, key+": "+text)})
		}
	}
	if name := clip(a.Name, 200); name != "" {
		r.record.Names = []string{name}
	}
	claim(pipeline.FieldName, "name", a.Name)
	claim(pipeline.FieldHeadline, "bio", a.Bio)
	claim(pipeline.FieldLocation, "location", a.Location)
	if company := gitHubCompany(a.Company); company != "" {
		r.record.Employers = []pipeline.Employer{{Name: company}}
		r.record.Claims = append(r.record.Claims, pipeline.Claim{Field: pipeline.FieldCurrentCompany, Text: company, Evidence: note(ans, extractor, "company: "+a.Company)})
	}
	if place := clip(a.Location, 200); place != "" {
		r.record.Locations = []string{place}
	}
	r.link(r.record.URL, note(ans, extractor, "login: "+a.Login))
	r.link(a.Blog, note(ans, extractor, "blog: "+a.Blog))
	if a.Twitter != "" {
		r.link("https://x.com/"+url.PathEscape(a.Twitter), note(ans, extractor, "twitter_username: "+a.Twitter))
	}
}

// gitHubCompany is the first company of the free text that GitHub has: "@acme" and "Acme @other" name acme.
func gitHubCompany(text string) string {
	text = clip(text, 200)
	if rest, ok := strings.CutPrefix(text, "@"); ok {
		first, _, _ := strings.Cut(rest, " ")
		return strings.TrimRight(first, ",;")
	}
	first, _, _ := strings.Cut(text, " @")
	return strings.TrimSpace(first)
}

// link notes an account or page that the profile names as its own.
func (r *gitHubReader) link(address string, ev pipeline.Evidence) {
	id, ok := extract.Identify(address)
	if !ok || id.Kind == "email" || slices.ContainsFunc(r.record.Identifiers, func(have pipeline.Identifier) bool { return have.Kind == id.Kind && have.Value == id.Value }) {
		return
	}
	r.record.Identifiers = append(r.record.Identifiers, id)
	r.record.Claims = append(r.record.Claims, pipeline.Claim{Field: pipeline.FieldLinks, Text: id.URL, Link: &id, Evidence: ev})
}

// repositories takes the languages of the account's own repositories as skills, the most used first.
func (r *gitHubReader) repositories(repos []gitHubRepo, ans pipeline.Answer) {
	type use struct {
		language string
		count    int
		last     time.Time
		example  string
	}
	var uses []use
	for _, repo := range repos {
		if repo.Fork {
			continue
		}
		r.record.Repositories = append(r.record.Repositories, repo.Name)
		if repo.Language == "" {
			continue
		}
		i := slices.IndexFunc(uses, func(u use) bool { return u.language == repo.Language })
		if i < 0 {
			uses = append(uses, use{language: repo.Language, example: repo.Name})
			i = len(uses) - 1
		}
		uses[i].count++
		if repo.PushedAt.After(uses[i].last) {
			uses[i].last = repo.PushedAt
		}
	}
	slices.SortStableFunc(uses, func(a, b use) int {
		return cmp.Or(cmp.Compare(b.count, a.count), strings.Compare(a.language, b.language))
	})
	for _, u := range uses {
		excerpt := fmt.Sprintf("language %s in %d of the latest repositories, such as %s", u.language, u.count, u.example)
		r.record.Claims = append(r.record.Claims, pipeline.Claim{Field: pipeline.FieldSkills, Text: u.language, HeldAt: u.last, Evidence: note(ans, "github-repos/1", excerpt)})
	}
}

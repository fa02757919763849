package sandbox

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"time"
)

// The objects of GitHub's API (docs.github.com/rest, 2022-11-28), with their fields in its order.
type (
	// gitHubOwner is a "simple user", as lists have it.
	gitHubOwner struct {
		Login             string `json:"login"`
		ID                int    `json:"id"`
		NodeID            string `json:"node_id"`
		AvatarURL         string `json:"avatar_url"`
		GravatarID        string `json:"gravatar_id"`
		URL               string `json:"url"`
		HTMLURL           string `json:"html_url"`
		FollowersURL      string `json:"followers_url"`
		FollowingURL      string `json:"following_url"`
		GistsURL          string `json:"gists_url"`
		StarredURL        string `json:"starred_url"`
		SubscriptionsURL  string `json:"subscriptions_url"`
		OrganizationsURL  string `json:"organizations_url"`
		ReposURL          string `json:"repos_url"`
		EventsURL         string `json:"events_url"`
		ReceivedEventsURL string `json:"received_events_url"`
		Type              string `json:"type"`
		UserViewType      string `json:"user_view_type"`
		SiteAdmin         bool   `json:"site_admin"`
	}
	// gitHubProfile is a "public user".
	gitHubProfile struct {
		gitHubOwner
		Name            *string   `json:"name"`
		Company         *string   `json:"company"`
		Blog            string    `json:"blog"`
		Location        *string   `json:"location"`
		Email           *string   `json:"email"`
		Hireable        *bool     `json:"hireable"`
		Bio             *string   `json:"bio"`
		TwitterUsername *string   `json:"twitter_username"`
		PublicRepos     int       `json:"public_repos"`
		PublicGists     int       `json:"public_gists"`
		Followers       int       `json:"followers"`
		Following       int       `json:"following"`
		CreatedAt       time.Time `json:"created_at"`
		UpdatedAt       time.Time `json:"updated_at"`
	}
	gitHubSearchItem struct {
		gitHubOwner
		Score float64 `json:"score"`
	}
	gitHubSearchPage struct {
		TotalCount        int                `json:"total_count"`
		IncompleteResults bool               `json:"incomplete_results"`
		Items             []gitHubSearchItem `json:"items"`
	}
	// gitHubRepository is a "minimal repository", without the address templates of everything below it.
	gitHubRepository struct {
		ID              int         `json:"id"`
		NodeID          string      `json:"node_id"`
		Name            string      `json:"name"`
		FullName        string      `json:"full_name"`
		Private         bool        `json:"private"`
		Owner           gitHubOwner `json:"owner"`
		HTMLURL         string      `json:"html_url"`
		Description     *string     `json:"description"`
		Fork            bool        `json:"fork"`
		URL             string      `json:"url"`
		LanguagesURL    string      `json:"languages_url"`
		CreatedAt       time.Time   `json:"created_at"`
		UpdatedAt       time.Time   `json:"updated_at"`
		PushedAt        time.Time   `json:"pushed_at"`
		GitURL          string      `json:"git_url"`
		SSHURL          string      `json:"ssh_url"`
		CloneURL        string      `json:"clone_url"`
		Homepage        *string     `json:"homepage"`
		Size            int         `json:"size"`
		StargazersCount int         `json:"stargazers_count"`
		WatchersCount   int         `json:"watchers_count"`
		Language        *string     `json:"language"`
		HasIssues       bool        `json:"has_issues"`
		HasProjects     bool        `json:"has_projects"`
		HasDownloads    bool        `json:"has_downloads"`
		HasWiki         bool        `json:"has_wiki"`
		HasPages        bool        `json:"has_pages"`
		HasDiscussions  bool        `json:"has_discussions"`
		ForksCount      int         `json:"forks_count"`
		MirrorURL       *string     `json:"mirror_url"`
		Archived        bool        `json:"archived"`
		Disabled        bool        `json:"disabled"`
		OpenIssuesCount int         `json:"open_issues_count"`
		License         *struct{}   `json:"license"`
		AllowForking    bool        `json:"allow_forking"`
		IsTemplate      bool        `json:"is_template"`
		Topics          []string    `json:"topics"`
		Visibility      string      `json:"visibility"`
		Forks           int         `json:"forks"`
		OpenIssues      int         `json:"open_issues"`
		Watchers        int         `json:"watchers"`
		DefaultBranch   string      `json:"default_branch"`
	}
)

func (g *gitHub) owner(a gitHubAccount) gitHubOwner {
	self := g.base + "/users/" + a.Login
	kind := "U"
	if a.Type == "Organization" {
		kind = "O"
	}
	return gitHubOwner{
		Login: a.Login, ID: a.ID, NodeID: nodeID(kind, a.ID),
		AvatarURL: "https://avatars.githubusercontent.com/u/" + itoa(a.ID) + "?v=4",
		URL:       self, HTMLURL: "https://github.com/" + a.Login,
		FollowersURL: self + "/followers", FollowingURL: self + "/following{/other_user}", GistsURL: self + "/gists{/gist_id}",
		StarredURL: self + "/starred{/owner}{/repo}", SubscriptionsURL: self + "/subscriptions", OrganizationsURL: self + "/orgs",
		ReposURL: self + "/repos", EventsURL: self + "/events{/privacy}", ReceivedEventsURL: self + "/received_events",
		Type: a.Type, UserViewType: "public",
	}
}

func (g *gitHub) profile(a gitHubAccount) gitHubProfile {
	return gitHubProfile{
		gitHubOwner: g.owner(a), Name: a.Name, Company: a.Company, Blog: a.Blog, Location: a.Location, Email: a.Email, Bio: a.Bio,
		TwitterUsername: a.Twitter, PublicRepos: len(a.Repos), Followers: a.Followers, Following: a.Following,
		CreatedAt: a.CreatedAt, UpdatedAt: a.updatedAt(),
	}
}

// updatedAt is when the account last did anything.
func (a gitHubAccount) updatedAt() time.Time {
	at := a.CreatedAt
	for _, repo := range a.Repos {
		if repo.PushedAt.After(at) {
			at = repo.PushedAt
		}
	}
	return at
}

// repositories lists an account's repositories in the order that the request asks for.
func (g *gitHub) repositories(a gitHubAccount, r *http.Request) []gitHubRepository {
	repos := make([]gitHubRepository, 0, len(a.Repos))
	for i, f := range a.Repos {
		full := a.Login + "/" + f.Name
		id := a.ID*100 + i
		topics := f.Topics
		if topics == nil {
			topics = []string{}
		}
		repos = append(repos, gitHubRepository{
			ID: id, NodeID: nodeID("R", id), Name: f.Name, FullName: full, Owner: g.owner(a), HTMLURL: "https://github.com/" + full,
			Description: f.Description, Fork: f.Fork, URL: g.base + "/repos/" + full, LanguagesURL: g.base + "/repos/" + full + "/languages",
			CreatedAt: f.PushedAt.AddDate(-1, 0, 0), UpdatedAt: f.PushedAt, PushedAt: f.PushedAt,
			GitURL: "git://github.com/" + full + ".git", SSHURL: "git@github.com:" + full + ".git", CloneURL: "https://github.com/" + full + ".git",
			Size: 400 + 37*i, StargazersCount: f.Stars, WatchersCount: f.Stars, Language: f.Language, HasIssues: !f.Fork, HasProjects: true,
			HasDownloads: true, AllowForking: true, Topics: topics, Visibility: "public", Watchers: f.Stars, DefaultBranch: "main",
		})
	}
	q := r.URL.Query()
	newest := q.Get("direction") != "asc"
	switch q.Get("sort") {
	case "pushed", "updated":
		slices.SortStableFunc(repos, func(a, b gitHubRepository) int { return a.PushedAt.Compare(b.PushedAt) })
	case "created":
		slices.SortStableFunc(repos, func(a, b gitHubRepository) int { return a.CreatedAt.Compare(b.CreatedAt) })
	default:
		slices.SortStableFunc(repos, func(a, b gitHubRepository) int { return cmp.Compare(a.FullName, b.FullName) })
		newest = q.Get("direction") == "desc"
	}
	if newest {
		slices.Reverse(repos)
	}
	return repos
}

// gitHubQuery is a search for users.
type gitHubQuery struct {
	words    []string
	kind     string // "user" or "org"; "" is either
	in       []string
	location string
	login    string
}

func readGitHubQuery(q string) gitHubQuery {
	var out gitHubQuery
	for _, term := range strings.Fields(strings.ToLower(strings.ReplaceAll(q, `"`, " "))) {
		name, value, qualified := strings.Cut(term, ":")
		switch {
		case !qualified:
			out.words = append(out.words, term)
		case name == "type":
			out.kind = value
		case name == "in":
			out.in = append(out.in, value)
		case name == "location":
			out.location = value
		case name == "user":
			out.login = value
		}
	}
	return out
}

func (q gitHubQuery) matches(a gitHubAccount) bool {
	switch {
	case q.kind == "user" && a.Type != "User", q.kind == "org" && a.Type != "Organization":
		return false
	case q.login != "" && !strings.EqualFold(q.login, a.Login):
		return false
	case q.location != "" && (a.Location == nil || !strings.Contains(strings.ToLower(*a.Location), q.location)):
		return false
	}
	var text []string
	if a.Name != nil && (len(q.in) == 0 || slices.Contains(q.in, "name") || slices.Contains(q.in, "fullname")) {
		text = append(text, strings.Fields(strings.ToLower(*a.Name))...)
	}
	if len(q.in) == 0 || slices.Contains(q.in, "login") {
		text = append(text, strings.ToLower(a.Login))
	}
	for _, word := range q.words {
		if !slices.ContainsFunc(text, func(t string) bool { return strings.HasPrefix(t, word) }) {
			return false
		}
	}
	return true
}

package sandbox

import (
	"encoding/base64"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// gitHub plays GitHub's REST API, version 2022-11-28, for the accounts of
// testdata/github: users, their social accounts, repositories and
// organisations, and the search for users. Errors, limits, ETags and links to
// further pages are as GitHub's own documentation and answers have them.
type gitHub struct {
	base     string // as clients see it
	accounts []gitHubAccount
	limits   *gitHubLimits
}

// gitHubAccount is one file of testdata/github: what is particular to an account.
type gitHubAccount struct {
	Login     string    `json:"login"`
	ID        int       `json:"id"`
	Type      string    `json:"type"`
	Name      *string   `json:"name"`
	Company   *string   `json:"company"`
	Blog      string    `json:"blog"`
	Location  *string   `json:"location"`
	Email     *string   `json:"email"`
	Bio       *string   `json:"bio"`
	Twitter   *string   `json:"twitter_username"`
	Followers int       `json:"followers"`
	Following int       `json:"following"`
	CreatedAt time.Time `json:"created_at"`
	// Fails is the status with which everything about this account fails; 0 is none.
	Fails  int                   `json:"fails"`
	Social []gitHubSocialAccount `json:"social_accounts"`
	Repos  []gitHubRepoFile      `json:"repos"`
}

type gitHubSocialAccount struct {
	Provider string `json:"provider"`
	URL      string `json:"url"`
}

type gitHubRepoFile struct {
	Name        string    `json:"name"`
	Language    *string   `json:"language"`
	Description *string   `json:"description"`
	Fork        bool      `json:"fork"`
	Stars       int       `json:"stars"`
	Topics      []string  `json:"topics"`
	PushedAt    time.Time `json:"pushed_at"`
}

func newGitHub(f filler, base string) (*gitHub, error) {
	const folder = "testdata/github"
	g := &gitHub{base: base, limits: newGitHubLimits()}
	entries, err := fs.ReadDir(files, folder)
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		var account gitHubAccount
		if err := f.decode(path.Join(folder, entry.Name()), &account); err != nil {
			return nil, err
		}
		g.accounts = append(g.accounts, account)
	}
	return g, nil
}

// Where GitHub's errors send their reader.
const gitHubDocs = "https://docs.github.com/rest"

func (g *gitHub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-GitHub-Media-Type", "github.v3; format=json")
	h.Set("X-GitHub-Api-Version-Selected", "2022-11-28")
	h.Set("X-GitHub-Request-Id", fmt.Sprintf("5A0D:%04X:%06X:%06X:%08X", len(r.URL.Path), len(r.URL.RawQuery), len(g.accounts), len(r.UserAgent())))
	h.Set("Server", "github.com")
	if r.UserAgent() == "" {
		h.Set("Content-Type", "text/html; charset=utf-8")
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, "Request forbidden by administrative rules. Please make sure your request has a User-Agent header.\n")
		return
	}
	caller, ok := gitHubCaller(r)
	if !ok {
		g.refuse(w, http.StatusUnauthorized, "Bad credentials", "")
		return
	}
	segments := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	resource := "core"
	if segments[0] == "search" {
		resource = "search"
	}
	if !g.limits.spend(h, caller, resource, time.Now()) {
		g.refuse(w, http.StatusForbidden, "API rate limit exceeded for "+caller.shown+".", "/using-the-rest-api/rate-limits-for-the-rest-api")
		return
	}
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		g.refuse(w, http.StatusNotFound, "Not Found", "")
	case resource == "search" && len(segments) == 2 && segments[1] == "users":
		g.search(w, r, caller)
	case segments[0] == "users" && (len(segments) == 2 || len(segments) == 3):
		g.user(w, r, caller, segments)
	default:
		g.refuse(w, http.StatusNotFound, "Not Found", "")
	}
}

// user answers what hangs below /users/{login}.
func (g *gitHub) user(w http.ResponseWriter, r *http.Request, caller gitHubIdentity, segments []string) {
	i := slices.IndexFunc(g.accounts, func(a gitHubAccount) bool { return strings.EqualFold(a.Login, segments[1]) })
	if i < 0 {
		g.refuse(w, http.StatusNotFound, "Not Found", "/users/users#get-a-user")
		return
	}
	account := g.accounts[i]
	if account.Fails != 0 {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.WriteHeader(account.Fails)
		fmt.Fprint(w, `{"message":"Server Error"}`)
		return
	}
	what := ""
	if len(segments) == 3 {
		what = segments[2]
	}
	switch what {
	case "":
		w.Header().Set("Last-Modified", account.updatedAt().Format(http.TimeFormat))
		g.answer(w, r, caller, g.profile(account))
	case "social_accounts":
		g.list(w, r, caller, toAny(account.Social))
	case "repos":
		g.list(w, r, caller, toAny(g.repositories(account, r)))
	case "orgs":
		g.list(w, r, caller, nil)
	default:
		g.refuse(w, http.StatusNotFound, "Not Found", "")
	}
}

// search finds accounts by the words of q, each of which must begin a word of
// the name or the login; it knows the qualifiers type, in, user and location.
func (g *gitHub) search(w http.ResponseWriter, r *http.Request, caller gitHubIdentity) {
	q := strings.TrimSpace(r.URL.Query().Get("q"))
	if q == "" {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.WriteHeader(http.StatusUnprocessableEntity)
		writeJSON(w, gitHubError{
			Message: "Validation Failed", Errors: []gitHubFieldError{{Resource: "Search", Field: "q", Code: "missing"}},
			DocumentationURL: gitHubDocs + "/search/search#search-users", Status: "422",
		})
		return
	}
	query := readGitHubQuery(q)
	found := []gitHubSearchItem{}
	for _, account := range g.accounts {
		if query.matches(account) {
			found = append(found, gitHubSearchItem{gitHubOwner: g.owner(account), Score: 1})
		}
	}
	from, to, ok := g.page(w, r, len(found))
	if !ok {
		return
	}
	g.answer(w, r, caller, gitHubSearchPage{TotalCount: len(found), Items: found[from:to]})
}

// list answers one page of a list.
func (g *gitHub) list(w http.ResponseWriter, r *http.Request, caller gitHubIdentity, all []any) {
	from, to, ok := g.page(w, r, len(all))
	if !ok {
		return
	}
	if all == nil {
		all = []any{}
	}
	g.answer(w, r, caller, all[from:to])
}

func toAny[T any](list []T) []any {
	out := make([]any, len(list))
	for i, v := range list {
		out[i] = v
	}
	return out
}

// page reads per_page and page, and links to the pages around (RFC 8288).
func (g *gitHub) page(w http.ResponseWriter, r *http.Request, total int) (from, to int, ok bool) {
	size, number := 30, 1
	if n, err := strconv.Atoi(r.URL.Query().Get("per_page")); err == nil && n > 0 {
		size = min(n, 100)
	}
	if n, err := strconv.Atoi(r.URL.Query().Get("page")); err == nil && n > 0 {
		number = n
	}
	const reach = 1000
	if number > reach {
		g.refuse(w, http.StatusUnprocessableEntity, "Only the first 1000 search results are available", "/search/search")
		return 0, 0, false
	}
	last := max(1, (total+size-1)/size)
	var links []string
	link := func(page int, rel string) {
		u := *r.URL
		q := u.Query()
		q.Set("page", strconv.Itoa(page))
		u.RawQuery = q.Encode()
		links = append(links, fmt.Sprintf(`<%s%s>; rel="%s"`, g.base, u.RequestURI(), rel))
	}
	if number > 1 {
		link(number-1, "prev")
	}
	if number < last {
		link(number+1, "next")
		link(last, "last")
	}
	if number > 1 {
		link(1, "first")
	}
	if len(links) > 0 {
		w.Header().Set("Link", strings.Join(links, ", "))
	}
	from = min((number-1)*size, total)
	return from, min(from+size, total), true
}

// answer writes a body with its ETag; to whoever holds it already it answers 304, which costs nothing of the limit.
func (g *gitHub) answer(w http.ResponseWriter, r *http.Request, caller gitHubIdentity, v any) {
	h := w.Header()
	body := jsonBytes(v)
	etag := `W/"` + hash(body) + `"`
	h.Set("ETag", etag)
	h.Set("Cache-Control", "public, max-age=60, s-maxage=60")
	h.Set("Vary", "Accept,Accept-Encoding, Accept, X-Requested-With")
	if caller.token {
		h.Set("Cache-Control", "private, max-age=60, s-maxage=60")
		h.Set("Vary", "Accept, Authorization, Cookie, X-GitHub-OTP,Accept-Encoding, Accept, X-Requested-With")
	}
	if holds(r, etag) {
		g.limits.giveBack(h, caller, h.Get("X-RateLimit-Resource"))
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", "application/json; charset=utf-8")
	_, _ = w.Write(body) // whoever asked is gone
}

func holds(r *http.Request, etag string) bool {
	for held := range strings.SplitSeq(r.Header.Get("If-None-Match"), ",") {
		if held = strings.TrimSpace(held); held == "*" || strings.TrimPrefix(held, "W/") == strings.TrimPrefix(etag, "W/") {
			return true
		}
	}
	return false
}

type gitHubError struct {
	Message          string             `json:"message"`
	Errors           []gitHubFieldError `json:"errors,omitempty"`
	DocumentationURL string             `json:"documentation_url"`
	Status           string             `json:"status"`
}

type gitHubFieldError struct {
	Resource string `json:"resource"`
	Field    string `json:"field"`
	Code     string `json:"code"`
}

func (g *gitHub) refuse(w http.ResponseWriter, status int, message, page string) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	writeJSON(w, gitHubError{Message: message, DocumentationURL: gitHubDocs + page, Status: strconv.Itoa(status)})
}

// nodeID is the opaque id of GitHub's GraphQL.
func nodeID(kind string, id int) string {
	return kind + "_" + base64.RawURLEncoding.EncodeToString([]byte("sandbox"+strconv.Itoa(id)))
}

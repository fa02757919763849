package sandbox

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// openAlex plays the authors of OpenAlex's API: one by id or ORCID iD, and
// lists by filter or search, with meta and results. It counts what a caller
// spends and says so in its headers, but the allowance never runs out, since a demo may run all day.
type openAlex struct {
	authors []openAlexAuthor

	mu     sync.Mutex
	spends map[string]float64 // dollars, by key
}

// openAlexFile is one author of testdata/openalex/authors.json: what is particular to them.
type openAlexFile struct {
	ID            string                `json:"id"`
	ORCID         *string               `json:"orcid"`
	Name          string                `json:"display_name"`
	Alternatives  []string              `json:"display_name_alternatives"`
	Works         int                   `json:"works_count"`
	Cited         int                   `json:"cited_by_count"`
	HIndex        int                   `json:"h_index"`
	I10Index      int                   `json:"i10_index"`
	MeanCitedness float64               `json:"mean_citedness"`
	Affiliations  []openAlexAffiliation `json:"affiliations"`
	Topics        []openAlexTopicFile   `json:"topics"`
}

type openAlexTopicFile struct {
	ID       string `json:"id"`
	Name     string `json:"display_name"`
	Count    int    `json:"count"`
	Subfield string `json:"subfield"`
	Field    string `json:"field"`
	Domain   string `json:"domain"`
}

func newOpenAlex(f filler) (*openAlex, error) {
	var list []openAlexFile
	if err := f.decode("testdata/openalex/authors.json", &list); err != nil {
		return nil, err
	}
	o := &openAlex{spends: map[string]float64{}}
	for _, author := range list {
		o.authors = append(o.authors, author.full(f.today))
	}
	return o, nil
}

// What calls cost, in dollars.
const (
	costOne    = 0
	costList   = 0.0001
	costSearch = 0.001
)

func (o *openAlex) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Access-Control-Allow-Origin", "*")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		o.refuse(w, http.StatusMethodNotAllowed, "Method not allowed.", "Only GET is supported.")
		return
	}
	key := r.URL.Query().Get("api_key")
	if key != "" && key != openAlexKey {
		o.refuse(w, http.StatusUnauthorized, "Invalid API key.", "The API key is not known.")
		return
	}
	switch id, below := strings.CutPrefix(r.URL.Path, "/authors/"); {
	case strings.TrimSuffix(r.URL.Path, "/") == "/authors":
		o.list(w, r, key)
	case below && id != "":
		o.one(w, id, key)
	default:
		o.notFound(w)
	}
}

// one answers a single author by OpenAlex id or ORCID iD, bare, as a URL or with its prefix.
func (o *openAlex) one(w http.ResponseWriter, id, key string) {
	o.charge(w, key, costOne, time.Now())
	i := slices.IndexFunc(o.authors, func(a openAlexAuthor) bool { return a.called(id) })
	if i < 0 {
		o.notFound(w)
		return
	}
	o.write(w, o.authors[i])
}

// called says whether an id in any of its spellings is this author's.
func (a openAlexAuthor) called(id string) bool {
	bare := strings.ToLower(id[strings.LastIndexAny(id, "/:")+1:])
	same := func(full *string) bool {
		return full != nil && strings.ToLower((*full)[strings.LastIndexByte(*full, '/')+1:]) == bare
	}
	return same(&a.ID) || same(a.ORCID)
}

// list answers authors by filter and search.
func (o *openAlex) list(w http.ResponseWriter, r *http.Request, key string) {
	began := time.Now()
	q := r.URL.Query()
	for name := range q {
		if !slices.Contains([]string{"filter", "search", "page", "per-page", "per_page", "sort", "select", "mailto", "api_key"}, name) {
			o.refuse(w, http.StatusBadRequest, "Invalid query parameters error.", name+" is not a valid parameter.")
			return
		}
	}
	found, field := o.filtered(q.Get("filter"))
	if field != "" {
		o.refuse(w, http.StatusBadRequest, "Invalid query parameters error.", field+" is not a valid field. Valid fields are: display_name.search, ids.openalex, openalex, orcid.")
		return
	}
	cost := costList
	if text := q.Get("search"); text != "" {
		cost = costSearch
		found = searched(found, text)
	}
	size, number, problem := openAlexPage(q)
	if problem != "" {
		o.refuse(w, http.StatusBadRequest, "Pagination error.", problem)
		return
	}
	o.charge(w, key, cost, began)
	from := min((number-1)*size, len(found))
	o.write(w, openAlexList{
		Meta:    openAlexMeta{Count: len(found), ResponseMS: 1, Page: number, PerPage: size, Cost: cost},
		Results: found[from:min(from+size, len(found))], GroupBy: []struct{}{},
	})
}

// filtered answers the authors that pass all parts of a filter, or the name of a field that is not known.
// Parts are joined by commas; the values of one by |.
func (o *openAlex) filtered(filter string) (found []openAlexAuthor, unknown string) {
	found = slices.Clone(o.authors)
	if filter == "" {
		return found, ""
	}
	for part := range strings.SplitSeq(filter, ",") {
		field, value, _ := strings.Cut(part, ":")
		var keep func(openAlexAuthor) bool
		switch field {
		case "orcid", "openalex", "ids.openalex":
			wanted := strings.Split(value, "|")
			keep = func(a openAlexAuthor) bool { return slices.ContainsFunc(wanted, a.called) }
		case "display_name.search":
			keep = func(a openAlexAuthor) bool { return a.named(value) }
		default:
			return nil, field
		}
		found = slices.DeleteFunc(found, func(a openAlexAuthor) bool { return !keep(a) })
	}
	return found, ""
}

// searched keeps the authors of whose names all words are part, and scores them by how much they are cited.
func searched(all []openAlexAuthor, text string) []openAlexAuthor {
	found := slices.DeleteFunc(all, func(a openAlexAuthor) bool { return !a.named(text) })
	for i := range found {
		score := 100 + float64(found[i].Cited)
		found[i].Relevance = &score
	}
	slices.SortStableFunc(found, func(a, b openAlexAuthor) int { return b.Cited - a.Cited })
	return found
}

// named says whether one of the author's names holds all words.
func (a openAlexAuthor) named(text string) bool {
	words := strings.Fields(strings.ToLower(text))
	return slices.ContainsFunc(append([]string{a.Name}, a.Alternatives...), func(name string) bool {
		has := strings.Fields(strings.ToLower(name))
		return !slices.ContainsFunc(words, func(w string) bool { return !slices.Contains(has, w) })
	})
}

func openAlexPage(q url.Values) (size, number int, problem string) {
	size, number = 25, 1
	given := q.Get("per-page")
	if given == "" {
		given = q.Get("per_page")
	}
	if given != "" {
		n, err := strconv.Atoi(given)
		if err != nil || n < 1 || n > 200 {
			return 0, 0, "per-page parameter must be between 1 and 200."
		}
		size = n
	}
	if given = q.Get("page"); given != "" {
		n, err := strconv.Atoi(given)
		if err != nil || n < 1 || n*size > 10_000 {
			return 0, 0, "page parameter must be at least 1, and the result within the first 10,000."
		}
		number = n
	}
	return size, number, ""
}

// charge books a call and tells what is left of the day's allowance.
func (o *openAlex) charge(w http.ResponseWriter, key string, cost float64, now time.Time) {
	allowance := 0.01
	if key != "" {
		allowance = 1
	}
	o.mu.Lock()
	o.spends[key] += cost
	left := max(0.001, allowance-o.spends[key])
	o.mu.Unlock()
	midnight := now.UTC().Truncate(24 * time.Hour).Add(24 * time.Hour)
	h := w.Header()
	h.Set("X-RateLimit-Limit-USD", fmt.Sprintf("%g", allowance))
	h.Set("X-RateLimit-Remaining-USD", fmt.Sprintf("%.4f", left))
	h.Set("X-RateLimit-Cost-USD", fmt.Sprintf("%g", cost))
	h.Set("X-RateLimit-Reset", strconv.Itoa(int(midnight.Sub(now.UTC()).Seconds())))
}

func (o *openAlex) write(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	writeJSON(w, v)
}

func (o *openAlex) refuse(w http.ResponseWriter, status int, title, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	writeJSON(w, struct {
		Error   string `json:"error"`
		Message string `json:"message"`
	}{title, message})
}

// notFound is a page, not JSON, as OpenAlex has it.
func (o *openAlex) notFound(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(http.StatusNotFound)
	fmt.Fprint(w, "<!doctype html>\n<html lang=en>\n<title>404 Not Found</title>\n<h1>Not Found</h1>\n<p>There is nothing at this address.</p>\n")
}

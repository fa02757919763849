package sandbox

import (
	"slices"
	"strings"
	"time"
)

// The objects of OpenAlex's API (developers.openalex.org), with their fields in its order.
type (
	openAlexList struct {
		Meta    openAlexMeta     `json:"meta"`
		Results []openAlexAuthor `json:"results"`
		GroupBy []struct{}       `json:"group_by"`
	}
	openAlexMeta struct {
		Count       int     `json:"count"`
		ResponseMS  int     `json:"db_response_time_ms"`
		Page        int     `json:"page"`
		PerPage     int     `json:"per_page"`
		GroupsCount *int    `json:"groups_count"`
		Cost        float64 `json:"cost_usd"`
	}
	openAlexAuthor struct {
		ID           string                `json:"id"`
		ORCID        *string               `json:"orcid"`
		Name         string                `json:"display_name"`
		Alternatives []string              `json:"display_name_alternatives"`
		Relevance    *float64              `json:"relevance_score,omitempty"`
		Works        int                   `json:"works_count"`
		Cited        int                   `json:"cited_by_count"`
		Stats        openAlexStats         `json:"summary_stats"`
		IDs          map[string]string     `json:"ids"`
		Affiliations []openAlexAffiliation `json:"affiliations"`
		LastKnown    []openAlexInstitution `json:"last_known_institutions"`
		Topics       []openAlexTopic       `json:"topics"`
		Concepts     []struct{}            `json:"x_concepts"`
		ByYear       []openAlexYear        `json:"counts_by_year"`
		WorksURL     string                `json:"works_api_url"`
		Updated      string                `json:"updated_date"`
		Created      string                `json:"created_date"`
	}
	openAlexStats struct {
		MeanCitedness float64 `json:"2yr_mean_citedness"`
		HIndex        int     `json:"h_index"`
		I10Index      int     `json:"i10_index"`
	}
	openAlexAffiliation struct {
		Institution openAlexInstitution `json:"institution"`
		Years       []int               `json:"years"`
	}
	openAlexInstitution struct {
		ID      string   `json:"id"`
		ROR     string   `json:"ror"`
		Name    string   `json:"display_name"`
		Country string   `json:"country_code"`
		Type    string   `json:"type"`
		Lineage []string `json:"lineage"`
	}
	openAlexTopic struct {
		ID       string        `json:"id"`
		Name     string        `json:"display_name"`
		Count    int           `json:"count"`
		Subfield openAlexLabel `json:"subfield"`
		Field    openAlexLabel `json:"field"`
		Domain   openAlexLabel `json:"domain"`
	}
	openAlexLabel struct {
		ID   string `json:"id"`
		Name string `json:"display_name"`
	}
	openAlexYear struct {
		Year  int `json:"year"`
		Works int `json:"works_count"`
		Cited int `json:"cited_by_count"`
	}
)

// full completes an author as the API gives it.
func (f openAlexFile) full(today time.Time) openAlexAuthor {
	a := openAlexAuthor{
		ID: f.ID, ORCID: f.ORCID, Name: f.Name, Alternatives: f.Alternatives, Works: f.Works, Cited: f.Cited,
		Stats: openAlexStats{f.MeanCitedness, f.HIndex, f.I10Index}, IDs: map[string]string{"openalex": f.ID},
		Topics: []openAlexTopic{}, Concepts: []struct{}{}, ByYear: []openAlexYear{}, LastKnown: []openAlexInstitution{},
		WorksURL: "https://api.openalex.org/works?filter=author.id:" + f.ID[strings.LastIndexByte(f.ID, '/')+1:],
		Updated:  today.AddDate(0, 0, -9).Format("2006-01-02T15:04:05.000000"), Created: today.AddDate(-3, 0, 0).Format(time.DateOnly),
	}
	if f.ORCID != nil {
		a.IDs["orcid"] = *f.ORCID
	}
	latest, years := 0, map[int]bool{}
	for _, at := range f.Affiliations {
		at.Institution.Lineage = []string{at.Institution.ID}
		a.Affiliations = append(a.Affiliations, at)
		if last := slices.Max(at.Years); last > latest {
			latest, a.LastKnown = last, []openAlexInstitution{at.Institution}
		}
		for _, year := range at.Years {
			years[year] = true
		}
	}
	for year := today.Year(); year > today.Year()-10; year-- {
		if years[year] {
			a.ByYear = append(a.ByYear, openAlexYear{year, f.Works / len(years), f.Cited / len(years)})
		}
	}
	for _, t := range f.Topics {
		label := func(kind, name string) openAlexLabel {
			return openAlexLabel{"https://openalex.org/" + kind + "/" + strings.ReplaceAll(strings.ToLower(name), " ", "-"), name}
		}
		a.Topics = append(a.Topics, openAlexTopic{t.ID, t.Name, t.Count, label("subfields", t.Subfield), label("fields", t.Field), label("domains", t.Domain)})
	}
	return a
}

package rest

import (
	"context"
	_ "embed"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/enrichd/enrichd/enrichment"
	"github.com/enrichd/enrichd/enrichment/pipeline"
	"github.com/enrichd/enrichd/internal/fault"
)

// renderBody is the answer of render-html, in the contract's field order.
type renderBody struct {
	Success       bool         `json:"success"`
	RenderedCount int          `json:"renderedCount"`
	Data          []renderItem `json:"data"`
}

type renderItem struct {
	ProfileID   string `json:"profileId"`
	Success     bool   `json:"success"`
	Name        string `json:"name,omitempty"`
	HTMLContent string `json:"htmlContent,omitempty"`
	ErrorCode   string `json:"errorCode,omitempty"`
}

// theme are the colours of a card.
type theme struct {
	Background, Panel, Border, Text, Muted, BadgeBack, BadgeText template.CSS
	// The name is painted in a gradient. A mail client that cannot cut a
	// background to the shape of its text shows NameText on the gradient, or on NameFrom.
	NameFrom, NameTo, NameText template.CSS
}

var themes = map[string]theme{
	"dark": {
		Background: "#0f172a", Panel: "#1e293b", Border: "#334155", Text: "#e2e8f0", Muted: "#94a3b8",
		BadgeBack: "#14532d", BadgeText: "#bbf7d0", NameFrom: "#93c5fd", NameTo: "#d8b4fe", NameText: "#0f172a",
	},
	"light": {
		Background: "#ffffff", Panel: "#f1f5f9", Border: "#e2e8f0", Text: "#0f172a", Muted: "#475569",
		BadgeBack: "#dcfce7", BadgeText: "#14532d", NameFrom: "#1d4ed8", NameTo: "#7e22ce", NameText: "#ffffff",
	},
}

// card is what a card shows; what is "" or empty is left out.
type card struct {
	Theme                                                theme
	Name, Position, Headline, Location, Rationale, Score string
	Skills                                               []string
	Linkedin                                             string
}

//go:embed card.html
var cardHTML string

// The template escapes every value for the place where it stands.
var cardTemplate = template.Must(template.New("card").Parse(strings.TrimSuffix(cardHTML, "\n")))

// primarySkills is how many skills a card shows.
const primarySkills = 12

func (a *API) renderHTML(w http.ResponseWriter, req *http.Request) error {
	body, err := readBody(w, req)
	if err != nil {
		return err
	}
	ids := body.texts("profileIds")
	if len(body.problems) == 0 {
		checkIDs(body, ids)
	}
	colours := themes["dark"]
	if name := body.text("theme"); name != nil {
		var known bool
		if colours, known = themes[*name]; !known {
			body.problem("theme", "must be dark or light")
		}
	}
	if err := body.err(); err != nil {
		return err
	}
	ids = distinct(ids)
	cards, err := a.cards(req.Context(), ids)
	if err != nil {
		return err
	}
	out := renderBody{Success: true, Data: make([]renderItem, len(ids))}
	for i, id := range ids {
		out.Data[i] = renderItem{ProfileID: id, ErrorCode: "PROFILE_NOT_FOUND"}
		c := cards[id]
		if c == nil {
			continue
		}
		c.Theme = colours
		var html strings.Builder
		if err := cardTemplate.Execute(&html, c); err != nil {
			return err
		}
		out.Data[i] = renderItem{ProfileID: id, Success: true, Name: c.Name, HTMLContent: html.String()}
		out.RenderedCount++
	}
	flat.answer(w, http.StatusOK, out)
	return nil
}

// distinct drops repeats and keeps the order.
func distinct(ids []string) []string {
	var kept []string
	for _, id := range ids {
		if !slices.Contains(kept, id) {
			kept = append(kept, id)
		}
	}
	return kept
}

// checkIDs holds ids to the rules of profileIds: 1 to 10, none empty.
func checkIDs(body *object, ids []string) {
	switch {
	case len(ids) == 0:
		body.problem("profileIds", "must name at least one profile")
		return
	case len(ids) > enrichment.MaxProfiles:
		body.problem("profileIds", "at most %d profiles, not %d", enrichment.MaxProfiles, len(ids))
		return
	}
	for i, id := range ids {
		path := "profileIds." + strconv.Itoa(i)
		if id == "" {
			body.problem(path, "must not be empty")
		} else if err := fault.Characters(path, id, maxProfileID); err != nil {
			body.problem(path, "%s", err)
		}
	}
}

// maxProfileID is the longest profile id in characters.
const maxProfileID = 200

// cards gathers what is known of profiles of the caller's company: what the
// newest run established, or else what was imported. Unknown profiles have no
// card, nor have those whose person objected. Cards are by the id as it was given.
func (a *API) cards(ctx context.Context, given []string) (map[string]*card, error) {
	own, err := a.Enrichment.Resolve(ctx, given)
	if err != nil {
		return nil, err
	}
	ids := make([]string, len(given))
	for i, id := range given {
		ids[i] = id
		if profile, found := own[id]; found {
			ids[i] = profile
		}
	}
	profiles, err := a.Enrichment.ProfilesByID(ctx, ids)
	if err != nil {
		return nil, err
	}
	shown := []*enrichment.Profile{}
	for _, p := range profiles {
		if !p.Suppressed {
			shown = append(shown, p)
		}
	}
	candidates, err := a.Enrichment.Candidates(ctx, shown)
	if err != nil {
		return nil, err
	}
	cards := make(map[string]*card, len(shown))
	for _, p := range shown {
		if c := candidates[p.ID]; c != nil {
			cards[p.ID] = enrichedCard(c)
			continue
		}
		cards[p.ID] = &card{
			Name: p.Name, Position: position(p.CurrentRole, p.CurrentCompany), Headline: orEmpty(p.Headline),
			Location: orEmpty(p.Location), Skills: primary(p.Skills), Linkedin: linkedinOf(p.Links),
		}
	}
	for _, id := range given {
		if c := cards[own[id]]; c != nil {
			copied := *c
			cards[id] = &copied
		}
	}
	return cards, nil
}

func enrichedCard(c *pipeline.Candidate) *card {
	return &card{
		Name: c.Name, Position: position(c.CurrentRole, c.CurrentCompany), Headline: orEmpty(c.Headline),
		Location: orEmpty(c.Location), Rationale: c.Rationale, Score: strconv.Itoa(c.MatchScore),
		Skills: primary(c.Skills), Linkedin: webLink(orEmpty(c.LinkedinURL)),
	}
}

func position(role, company *string) string {
	switch {
	case role == nil:
		return orEmpty(company)
	case company == nil:
		return *role
	}
	return *role + " at " + *company
}

func primary(skills []string) []string { return skills[:min(len(skills), primarySkills)] }

// linkedinOf is the first of the links that leads there.
func linkedinOf(links []string) string {
	for _, l := range links {
		if u, err := url.Parse(l); err == nil {
			host := strings.ToLower(u.Hostname())
			if host == "linkedin.com" || strings.HasSuffix(host, ".linkedin.com") {
				return webLink(l)
			}
		}
	}
	return ""
}

// webLink is s when it is an http or https address, and "" otherwise: no other kind of link is ever written.
func webLink(s string) string {
	u, err := url.Parse(s)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.User != nil {
		return ""
	}
	return u.String()
}

package rest

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/enrichd/enrichd/enrichment"
	"github.com/enrichd/enrichd/enrichment/pipeline"
	"github.com/enrichd/enrichd/internal/fault"
	"github.com/enrichd/enrichd/internal/ident"
)

// maxProfiles is how many profiles one call may bring.
const maxProfiles = 100

// importBody is the answer to POST /profiles.
type importBody struct {
	Success bool       `json:"success"`
	Data    importData `json:"data"`
}

type importData struct {
	Created   int           `json:"created"`
	Updated   int           `json:"updated"`
	Unchanged int           `json:"unchanged"`
	Profiles  []profileItem `json:"profiles"`
	// Refused are the problems of the profiles that were not taken; the field begins with profiles and the place in the request.
	Refused []fieldError `json:"refused"`
}

// profileBody is the answer to GET /profiles/{id}.
type profileBody struct {
	Success bool        `json:"success"`
	Data    profileItem `json:"data"`
}

// profileItem is a profile as it was brought. Of a suppressed person it shows
// that and nothing else.
type profileItem struct {
	ProfileID      string              `json:"profileId"`
	ExternalID     string              `json:"externalId"`
	Name           *string             `json:"name"`
	Headline       *string             `json:"headline"`
	Location       *string             `json:"location"`
	CurrentCompany *string             `json:"currentCompany"`
	CurrentRole    *string             `json:"currentRole"`
	Skills         []string            `json:"skills"`
	Emails         []string            `json:"emails"`
	Links          []string            `json:"links"`
	RoleBrief      *pipeline.RoleBrief `json:"roleBrief"`
	Suppressed     bool                `json:"suppressed"`
	LastEnrichedAt *string             `json:"lastEnrichedAt"`
	CreatedAt      string              `json:"createdAt"`
	UpdatedAt      string              `json:"updatedAt"`
}

func profileOf(p *enrichment.Profile) profileItem {
	item := profileItem{
		ProfileID: p.ID, ExternalID: p.ExternalID, Headline: p.Headline, Location: p.Location,
		CurrentCompany: p.CurrentCompany, CurrentRole: p.CurrentRole, Skills: list(p.Skills), Emails: list(p.Emails),
		Links: list(p.Links), RoleBrief: p.RoleBrief, Suppressed: p.Suppressed,
		CreatedAt: p.CreatedAt.UTC().Format(millis), UpdatedAt: p.UpdatedAt.UTC().Format(millis),
	}
	if p.Name != "" {
		item.Name = &p.Name
	}
	if p.LastEnrichedAt != nil {
		at := p.LastEnrichedAt.UTC().Format(millis)
		item.LastEnrichedAt = &at
	}
	return item
}

// putProfiles adds or updates profiles, matched on the caller's own id. Those
// that are refused do not stop the others; when none is left it is a 400.
func (a *API) putProfiles(w http.ResponseWriter, req *http.Request) error {
	body, err := readBody(w, req)
	if err != nil {
		return err
	}
	key, err := idempotencyKey(req)
	if err != nil {
		return err
	}
	if key == "" {
		key = ident.NewUUID() // bringing a profile twice changes nothing anyway
	}
	items := body.list("profiles")
	switch {
	case len(body.problems) > 0:
	case len(items) == 0:
		body.problem("profiles", "must hold at least one profile")
	case len(items) > maxProfiles:
		body.problem("profiles", "at most %d profiles, not %d", maxProfiles, len(items))
	}
	for i, item := range items {
		if item[0] != '{' {
			body.problem("profiles."+strconv.Itoa(i), "must be an object")
		}
	}
	if err := body.err(); err != nil {
		return err
	}
	var lines bytes.Buffer
	for _, item := range items {
		if err := json.Compact(&lines, item); err != nil {
			return badBody{message: "The body is not valid JSON"}
		}
		lines.WriteByte('\n')
	}
	rows, _, err := enrichment.ReadRows(enrichment.FormatJSONLines, &lines)
	if err != nil {
		return err
	}
	im, err := a.Enrichment.Import(req.Context(), key, rows)
	if err != nil {
		return err
	}
	out := importData{
		Created: im.Created, Updated: im.Updated, Unchanged: im.Unchanged, Profiles: []profileItem{}, Refused: inProfiles(im.Refused),
	}
	if len(im.Profiles) == 0 {
		return badFields(out.Refused)
	}
	for _, p := range im.Profiles {
		out.Profiles = append(out.Profiles, profileOf(p))
	}
	problem.answer(w, http.StatusOK, importBody{Success: true, Data: out})
	return nil
}

// inProfiles gives problems their place in the request's body.
func inProfiles(refused []fault.User) []fieldError {
	out := []fieldError{}
	for _, u := range refused {
		out = append(out, fieldError{strings.Join(append([]string{"profiles"}, u.Where()...), "."), u.Error()})
	}
	return out
}

func (a *API) getProfile(w http.ResponseWriter, req *http.Request) error {
	id := req.PathValue("id")
	missing := fault.NotFound{Head: fault.Head{Message: "Profile not found"}, Type: "Profile", ID: id}
	if err := fault.Characters("id", id, maxProfileID); err != nil {
		missing.ID = strconv.QuoteToASCII(id[:min(len(id), maxProfileID)])
		return missing
	}
	p, err := a.Enrichment.Profile(req.Context(), id)
	if err != nil {
		return err
	}
	if p == nil {
		return missing
	}
	problem.answer(w, http.StatusOK, profileBody{Success: true, Data: profileOf(p)})
	return nil
}

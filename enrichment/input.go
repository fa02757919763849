package enrichment

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/enrichd/enrichd/enrichment/email"
	"github.com/enrichd/enrichd/enrichment/pipeline"
	"github.com/enrichd/enrichd/internal/fault"
)

// Bounds of one imported profile.
const (
	maxName        = 200
	maxLine        = 300
	maxItems       = 100
	maxURL         = 2048
	maxMetadata    = 10 << 10
	maxBriefTitle  = 200
	maxBriefText   = 10_000
	maxBriefSkills = 30
)

// ProfileInput is what a caller knows about one person. Only ExternalID (the
// caller's own key) and Name are needed; each link or employer more makes the
// identity decision surer.
type ProfileInput struct {
	ExternalID     string              `json:"externalId"`
	Name           string              `json:"name"`
	Headline       *string             `json:"headline,omitempty"`
	Location       *string             `json:"location,omitempty"`
	CurrentCompany *string             `json:"currentCompany,omitempty"`
	CurrentRole    *string             `json:"currentRole,omitempty"`
	Skills         []string            `json:"skills,omitempty"`
	Emails         []string            `json:"emails,omitempty"`
	Links          []string            `json:"links,omitempty"`
	RoleBrief      *pipeline.RoleBrief `json:"roleBrief,omitempty"`
	Metadata       json.RawMessage     `json:"metadata,omitempty"`
}

// tidy trims white space, drops empty values, and gives links their scheme.
func (in *ProfileInput) tidy() {
	in.ExternalID, in.Name = strings.TrimSpace(in.ExternalID), strings.TrimSpace(in.Name)
	for _, s := range []**string{&in.Headline, &in.Location, &in.CurrentCompany, &in.CurrentRole} {
		if *s != nil {
			*s = optional(strings.TrimSpace(**s))
		}
	}
	in.Skills, in.Emails, in.Links = trimmed(in.Skills), trimmed(in.Emails), trimmed(in.Links)
	for i, l := range in.Links {
		if !strings.Contains(l, "://") {
			in.Links[i] = "https://" + l
		}
	}
	if b := in.RoleBrief; b != nil {
		b.Title = strings.TrimSpace(b.Title)
		b.MustHaveSkills, b.NiceToHaveSkills = trimmed(b.MustHaveSkills), trimmed(b.NiceToHaveSkills)
	}
	if string(in.Metadata) == "null" {
		in.Metadata = nil
	}
}

func trimmed(list []string) []string {
	out := []string{}
	for _, s := range list {
		if s = strings.TrimSpace(s); s != "" {
			out = append(out, s)
		}
	}
	return out
}

// check returns every problem of the input, each an InvalidInput whose field path begins with at.
func (in *ProfileInput) check(at string) []fault.User {
	var problems []fault.User
	bad := func(field, format string, args ...any) {
		problems = append(problems, fault.Invalid(at+"."+field, format, args...))
	}
	line := func(field, s string, max int) {
		if err := fault.Characters(at+"."+field, s, max); err != nil {
			users, _ := fault.Users(err)
			problems = append(problems, users...)
		}
	}
	if in.ExternalID == "" {
		bad("externalId", "is needed: your own key for the person")
	}
	if in.Name == "" {
		bad("name", "is needed")
	}
	line("externalId", in.ExternalID, maxID)
	line("name", in.Name, maxName)
	line("headline", text(in.Headline), maxLine)
	line("location", text(in.Location), maxLine)
	line("currentCompany", text(in.CurrentCompany), maxLine)
	line("currentRole", text(in.CurrentRole), maxLine)
	list := func(field string, items []string, max int) {
		if len(items) > maxItems {
			bad(field, "may hold %d items at most, not %d", maxItems, len(items))
		}
		for i, s := range items {
			line(field+"."+strconv.Itoa(i), s, max)
		}
	}
	list("skills", in.Skills, maxLine)
	list("emails", in.Emails, maxLine)
	list("links", in.Links, maxURL)
	for i, e := range in.Emails {
		if _, err := email.Parse(e); err != nil {
			bad(fmt.Sprintf("emails.%d", i), "is not an e-mail address")
		}
	}
	for i, l := range in.Links {
		if u, err := url.Parse(l); err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
			bad(fmt.Sprintf("links.%d", i), "is not an http or https address")
		}
	}
	if b := in.RoleBrief; b != nil {
		if b.Title == "" {
			bad("roleBrief.title", "is needed in a role brief")
		}
		line("roleBrief.title", b.Title, maxBriefTitle)
		line("roleBrief.description", text(b.Description), maxBriefText)
		line("roleBrief.location", text(b.Location), maxLine)
		for field, skills := range map[string][]string{"roleBrief.mustHaveSkills": b.MustHaveSkills, "roleBrief.niceToHaveSkills": b.NiceToHaveSkills} {
			if len(skills) > maxBriefSkills {
				bad(field, "may hold %d skills at most, not %d", maxBriefSkills, len(skills))
			}
			for i, s := range skills {
				line(field+"."+strconv.Itoa(i), s, maxLine)
			}
		}
	}
	if len(in.Metadata) > maxMetadata {
		bad("metadata", "may hold %d bytes at most, not %d", maxMetadata, len(in.Metadata))
	}
	if len(in.Metadata) > 0 && (!json.Valid(in.Metadata) || strings.Contains(string(in.Metadata), `\u0000`)) {
		bad("metadata", "must be valid JSON without NUL characters")
	}
	line("metadata", string(in.Metadata), 0)
	return problems
}

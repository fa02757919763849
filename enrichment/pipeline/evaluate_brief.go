package pipeline

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// briefCriteria are the criteria that a role brief states, each with its share of the weight.
func (e *evaluation) briefCriteria(b RoleBrief) []criterion {
	w := e.cfg.Weights
	criteria := e.skillCriteria(b.MustHaveSkills, w.MustHave, true)
	if strings.TrimSpace(b.Title) != "" {
		criteria = append(criteria, e.titleCriterion(b.Title, w.Title))
	}
	nice := slices.DeleteFunc(slices.Clone(b.NiceToHaveSkills), func(s string) bool {
		return slices.ContainsFunc(b.MustHaveSkills, func(m string) bool { return skillKey(m) == skillKey(s) })
	})
	criteria = append(criteria, e.skillCriteria(nice, w.NiceToHave, false)...)
	if b.Location != nil && strings.TrimSpace(*b.Location) != "" {
		criteria = append(criteria, e.locationCriterion(*b.Location, w.Location)...)
	}
	if b.Description != nil {
		criteria = append(criteria, e.descriptionCriterion(*b.Description, w.Description)...)
	}
	return criteria
}

// skillCriteria gives each skill an equal share. A skill scores the confidence
// of its fact; only a must-have is missed aloud.
func (e *evaluation) skillCriteria(skills []string, weight float64, must bool) []criterion {
	var criteria []criterion
	var seen []string
	for _, s := range skills {
		s = strings.TrimSpace(s)
		key := skillKey(s)
		if key == "" || slices.Contains(seen, key) {
			continue
		}
		seen = append(seen, key)
		c := criterion{name: s, evidence: e.all}
		if f, ok := e.skillFact(key); ok {
			c.score, c.evidence = f.Confidence, f.Evidence
			c.point = fmt.Sprintf("Public evidence of %s (%s)", clip(s, 60), sourcesOf(f.Evidence))
		} else if must {
			c.gap = "No public evidence of " + clip(s, 60)
		}
		criteria = append(criteria, c)
	}
	for i := range criteria {
		criteria[i].weight = weight / float64(len(criteria))
	}
	return criteria
}

func (e *evaluation) skillFact(key string) (Fact, bool) {
	for _, f := range e.c.AllFacts {
		if f.Name == FieldSkills && skillKey(unquoted(f.Value)) == key {
			return f, true
		}
	}
	return Fact{}, false
}

// earlierRole is what an earlier position counts, a current one counting 1.
const earlierRole = 0.7

// titleCriterion compares the title sought with every accepted role; the best one counts.
func (e *evaluation) titleCriterion(title string, weight float64) criterion {
	best := criterion{name: "title", weight: weight, evidence: e.all}
	consider := func(role string, current bool, f Fact) {
		part, lead := 1.0, "Works as"
		if !current {
			part, lead = earlierRole, "Has worked as"
		}
		if score := part * titleFit(title, role) * f.Confidence; rounded(score) > rounded(best.score) {
			best.score, best.evidence = score, f.Evidence
			best.point = fmt.Sprintf("%s %s, near the title sought", lead, clip(role, 80))
			if years := e.years(); years != "" {
				best.point += ", " + years + " in accepted positions"
			}
		}
	}
	for _, f := range e.c.AllFacts {
		switch f.Name {
		case FieldCurrentRole:
			consider(unquoted(f.Value), true, f)
		case FieldExperience:
			var x Experience
			if json.Unmarshal(f.Value, &x) == nil {
				consider(x.Role, strings.HasSuffix(deref(x.Duration), present), f)
			}
		}
	}
	return best
}

// locationCriterion counts the same place fully, and the same region or country
// by half. A place that cannot be read ("remote") states no criterion.
func (e *evaluation) locationCriterion(sought string, weight float64) []criterion {
	if readLocation(sought) == (location{}) {
		return nil
	}
	c := criterion{name: "location", weight: weight, evidence: e.all}
	i := slices.IndexFunc(e.c.AllFacts, func(f Fact) bool { return f.Name == FieldLocation })
	if i < 0 {
		return []criterion{c}
	}
	f := e.c.AllFacts[i]
	found := unquoted(f.Value)
	c.evidence = f.Evidence
	level := compareLocations(sought, found)
	switch {
	case samePlace(sought, found):
		c.score = f.Confidence
		c.point = "Based in " + clip(found, 80) + ", where the role is"
	case level == "region" || level == "country":
		c.score = f.Confidence / 2
		c.point = "Based in " + clip(found, 80) + ", the " + level + " of the role"
	case level == "different":
		c.gap = fmt.Sprintf("Public evidence places the person in %s, another country than the role's %s", clip(found, 60), clip(sought, 60))
	}
	return []criterion{c}
}

// descriptionTerms is how many of a description's terms are looked for.
const descriptionTerms = 40

// descriptionCriterion looks for the description's skills, whole words only, among the accepted ones. A
// description that names no skill we know of states no criterion.
func (e *evaluation) descriptionCriterion(description string, weight float64) []criterion {
	terms := skillsIn(description, descriptionTerms)
	for _, s := range e.c.Skills {
		if key := skillKey(s); mentions(description, s) && !slices.Contains(terms, key) {
			terms = append(terms, key)
		}
	}
	if len(terms) == 0 {
		return nil
	}
	c := criterion{name: "description", weight: weight, evidence: []Evidence{}}
	var hits []string
	for _, key := range terms {
		if f, ok := e.skillFact(key); ok {
			c.score += f.Confidence / float64(len(terms))
			c.evidence = append(c.evidence, f.Evidence...)
			hits = append(hits, unquoted(f.Value))
		}
	}
	if len(hits) > 0 {
		c.point = clip("Public evidence of terms in the description: "+strings.Join(hits, ", "), 160)
	}
	return []criterion{c}
}

// identityCriteria are what spoke for the identity, where there is no brief: per attribute the weightiest agreement.
func (e *evaluation) identityCriteria() []criterion {
	var criteria []criterion
	for _, m := range e.known.Matches {
		if m.Band != BandAccept {
			continue
		}
		for _, w := range m.Weights {
			if w.Log2 <= 0 {
				continue
			}
			c := criterion{
				name: w.Attribute, weight: w.Log2, score: 1, evidence: e.evidenceFrom(m.Source),
				point: fmt.Sprintf("%s agrees (%s) on %s", sentence(w.Attribute), w.Level, m.Source),
			}
			i := slices.IndexFunc(criteria, func(o criterion) bool { return o.name == c.name })
			switch {
			case i < 0:
				criteria = append(criteria, c)
			case c.weight > criteria[i].weight:
				criteria[i] = c
			}
		}
	}
	return criteria
}

// evidenceFrom is the strongest evidence of one source, or of all when none of its values was accepted.
func (e *evaluation) evidenceFrom(source string) []Evidence {
	for _, ev := range e.all {
		if ev.Source == source {
			return []Evidence{ev}
		}
	}
	return e.all
}

func sentence(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// unquoted is the string in a JSON string, or the JSON itself when it is none.
func unquoted(raw []byte) string {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return string(raw)
	}
	return s
}

package pipeline

// Evaluation is deterministic over the fused candidate: the same input gives
// the same bytes, and nothing is said that no evidence carries. Gaps in
// employment, age, sex, origin, health, belief, family and looks play no part.

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
)

// The most that is shown, and how long it may be.
const (
	fitPointsShown  = 5
	redFlagsShown   = 5
	positionsShown  = 5
	rationaleLength = 240 // characters
)

// The Candidate fields that evaluate fills; each is a legal fact name.
const (
	fieldMatchScore        = "matchScore"
	fieldRationale         = "rationale"
	fieldFitPoints         = "fitPoints"
	fieldRedFlags          = "redFlags"
	fieldDetailedRationale = "detailedRationale"
)

// factOrder is the order in which facts are listed.
var factOrder = []string{
	FieldName, FieldHeadline, FieldLocation, FieldCurrentCompany, FieldCurrentRole, fieldLinkedin, FieldSkills,
	fieldMatchScore, fieldRationale, fieldFitPoints, fieldRedFlags, fieldDetailedRationale, FieldExperience, FieldEmails, FieldLinks,
}

// criterion is one thing that the candidate is weighed by.
type criterion struct {
	name     string
	weight   float64
	score    float64 // 0 to 1
	point    string  // the fit point, when met
	gap      string  // what is missing, "" when its absence says nothing
	evidence []Evidence
}

func (c criterion) met() bool { return c.score >= 0.5 }

// statement is one sentence with what it rests on.
type statement struct {
	text     string
	evidence []Evidence
}

// evaluation weighs one candidate.
type evaluation struct {
	cfg      Config
	known    Known
	c        *Candidate
	jobs     []job  // behind c.Experience, same order
	disputed []Fact // accepted or not, what sources disagree on
	identity float64
	all      []Evidence // the strongest of each source: what "nothing was found" rests on
}

// evaluate fills score, rationale, points, flags and detailed rationale of a fused candidate, and says each as a fact.
func evaluate(cfg Config, k Known, c *Candidate, jobs []job, contested []Fact) {
	e := evaluation{cfg: cfg, known: k, c: c, jobs: jobs, disputed: append(slices.Clone(c.AllFacts), contested...), all: perSource(c.AllFacts)}
	for _, m := range k.Matches {
		if m.Band == BandAccept {
			e.identity = max(e.identity, m.Probability)
		}
	}
	ceiling := int(math.Round(100 * e.identity))
	var criteria []criterion
	if brief := k.Seed.Brief; brief != nil {
		criteria = e.briefCriteria(*brief)
	}
	fit, stated := mean(criteria)
	if stated {
		c.ScoreBasis = ScoreRole
		c.MatchScore = min(int(math.Round(100*fit)), ceiling)
	} else {
		c.ScoreBasis = ScoreIdentity
		c.MatchScore = ceiling
		criteria = e.identityCriteria()
	}
	slices.SortStableFunc(criteria, func(a, b criterion) int {
		return cmp.Or(cmp.Compare(rounded(b.weight), rounded(a.weight)), strings.Compare(a.name, b.name))
	})
	rationale := e.rationale(criteria, stated && int(math.Round(100*fit)) > ceiling)
	c.Rationale = rationale.text

	e.say(fieldMatchScore, c.MatchScore, rationale.evidence)
	e.say(fieldRationale, c.Rationale, rationale.evidence)
	for _, s := range e.fitPoints(criteria) {
		c.FitPoints = append(c.FitPoints, s.text)
		e.say(fieldFitPoints, s.text, s.evidence)
	}
	for _, s := range e.redFlags(criteria) {
		c.RedFlags = append(c.RedFlags, s.text)
		e.say(fieldRedFlags, s.text, s.evidence)
	}
	e.positions(criteria, stated)
	slices.SortStableFunc(c.AllFacts, func(a, b Fact) int {
		return cmp.Compare(slices.Index(factOrder, a.Name), slices.Index(factOrder, b.Name))
	})
}

// say adds a fact that was computed from others; its confidence is that of its strongest evidence, never above identity.
func (e *evaluation) say(name string, value any, from []Evidence) {
	from = strongest(from)
	if len(from) == 0 {
		from = e.all
	}
	e.c.AllFacts = append(e.c.AllFacts, NewFact(name, value, min(from[0].Confidence, e.identity), from[0], from[1:]...))
}

// mean is the weighted mean of what the brief states; stated is false when it states nothing.
func mean(criteria []criterion) (fit float64, stated bool) {
	var sum, weight float64
	for _, c := range criteria {
		sum += c.weight * c.score
		weight += c.weight
	}
	if weight == 0 {
		return 0, false
	}
	return sum / weight, true
}

// rationale is one sentence: the strongest criterion met, the weightiest missed, the basis.
func (e *evaluation) rationale(criteria []criterion, capped bool) statement {
	var parts []string
	var evidence []Evidence
	best := slices.IndexFunc(criteria, criterion.met)
	for i, c := range criteria {
		if best >= 0 && c.met() && rounded(c.weight*c.score) > rounded(criteria[best].weight*criteria[best].score) {
			best = i
		}
	}
	if best >= 0 {
		parts = append(parts, "Strongest: "+clip(criteria[best].point, 80))
		evidence = append(evidence, criteria[best].evidence...)
	}
	if i := slices.IndexFunc(criteria, func(c criterion) bool { return !c.met() && c.gap != "" }); i >= 0 {
		parts = append(parts, "weightiest gap: "+clip(criteria[i].gap, 80))
		evidence = append(evidence, criteria[i].evidence...)
	}
	switch {
	case e.c.ScoreBasis == ScoreIdentity:
		parts = append(parts, "scored by confidence of identity")
	case capped:
		parts = append(parts, "scored against the role brief, limited by confidence of identity")
	default:
		parts = append(parts, "scored against the role brief")
	}
	text := strings.Join(parts, "; ") + "."
	return statement{clip(strings.ToUpper(text[:1])+text[1:], rationaleLength), evidence}
}

func (e *evaluation) fitPoints(criteria []criterion) []statement {
	points := []statement{}
	for _, c := range criteria {
		if c.met() && c.point != "" && len(points) < fitPointsShown {
			points = append(points, statement{c.point, c.evidence})
		}
	}
	return points
}

// redFlags are what a reader should ask about, worded as what was not found, never as what the person lacks.
func (e *evaluation) redFlags(criteria []criterion) []statement {
	flags := []statement{}
	for _, c := range criteria {
		if c.gap != "" && c.score == 0 {
			flags = append(flags, statement{c.gap, c.evidence})
		}
	}
	for _, f := range e.disputed {
		if len(f.Conflicts) > 0 && f.Conflicts[0].Confidence >= e.cfg.Accept/2 {
			other := f.Conflicts[0]
			text := fmt.Sprintf("Sources disagree on %s: %s (%s) or %s (%s)", fieldWords[f.Name], shown(f.Value), f.Evidence[0].Source, shown(other.Value), other.Evidence[0].Source)
			flags = append(flags, statement{text, append(slices.Clone(f.Evidence), other.Evidence...)})
		}
	}
	if e.c.CurrentRole == nil && !slices.ContainsFunc(e.c.Experience, func(x Experience) bool { return strings.HasSuffix(deref(x.Duration), present) }) {
		flags = append(flags, statement{"No public evidence of a current position", e.all})
	}
	return flags[:min(len(flags), redFlagsShown)]
}

// fieldWords name the fields with one value as people say them.
var fieldWords = map[string]string{
	FieldName: "the name", FieldHeadline: "the headline", FieldLocation: "the location",
	FieldCurrentCompany: "the current company", FieldCurrentRole: "the current role",
}

// shown is a JSON string as people read it, short enough for a sentence.
func shown(raw []byte) string { return clip(unquoted(raw), 60) }

// perSource is the strongest evidence of each source, in order of sources' first mention.
func perSource(facts []Fact) []Evidence {
	best := map[string]Evidence{}
	for _, f := range facts {
		for _, ev := range f.Evidence {
			if b, ok := best[ev.Source]; !ok || strongest([]Evidence{b, ev})[0] != b {
				best[ev.Source] = ev
			}
		}
	}
	all := make([]Evidence, 0, len(best))
	for _, ev := range best {
		all = append(all, ev)
	}
	return strongest(all)
}

// sourcesOf lists the sources of some evidence, strongest first, each once.
func sourcesOf(all []Evidence) string {
	var names []string
	for _, ev := range strongest(all) {
		if !slices.Contains(names, ev.Source) {
			names = append(names, ev.Source)
		}
	}
	return strings.Join(names, ", ")
}

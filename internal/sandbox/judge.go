package sandbox

import (
	"fmt"
	"slices"
	"strings"
)

// Judge compares the results by external id with what is expected, and answers
// one sentence for each difference; none means that the run was correct.
// Profiles without a result are differences too.
func (s *Sandbox) Judge(results map[string]Result) []string {
	all := s.Expected()
	var problems []string
	for _, e := range all {
		got, ok := results[e.ExternalID]
		if !ok {
			problems = append(problems, e.ExternalID+": no result")
			continue
		}
		j := judgement{who: e.ExternalID}
		j.outcome(e, got)
		j.emails(e, got)
		j.facts(e, got)
		j.others(e, got, all)
		problems = append(problems, j.problems...)
	}
	return append(problems, s.judgeVisits(all)...)
}

// judgement gathers what is wrong with one result.
type judgement struct {
	who      string
	problems []string
}

func (j *judgement) say(format string, args ...any) {
	j.problems = append(j.problems, j.who+": "+fmt.Sprintf(format, args...))
}

func (j *judgement) outcome(e Expected, got Result) {
	if got.Outcome != e.Outcome {
		j.say("outcome %s instead of %s", got.Outcome, e.Outcome)
	}
	want, have := slices.Sorted(slices.Values(e.Missing)), slices.Sorted(slices.Values(got.Missing))
	if !slices.Equal(want, have) {
		j.say("missing %v instead of %v", have, want)
	}
	if e.ScoreBasis == "" {
		return
	}
	if got.ScoreBasis != e.ScoreBasis {
		j.say("score measures %q instead of %q", got.ScoreBasis, e.ScoreBasis)
	}
	most := e.MaxScore
	if most == 0 {
		most = 100
	}
	if got.MatchScore < e.MinScore || got.MatchScore > most {
		j.say("score %d instead of %d to %d", got.MatchScore, e.MinScore, most)
	}
}

func (j *judgement) emails(e Expected, got Result) {
	for _, want := range e.Emails {
		i := slices.IndexFunc(got.Emails, func(m ResultEmail) bool { return m.Address == want.Address })
		if i < 0 {
			j.say("address %s not returned", want.Address)
			continue
		}
		have := got.Emails[i]
		if have.Status != want.Status {
			j.say("address %s is %s instead of %s", want.Address, have.Status, want.Status)
		}
		if want.Method != "" && have.Method != want.Method {
			j.say("address %s was checked by %s instead of %s", want.Address, have.Method, want.Method)
		}
		for _, reason := range want.Reasons {
			if !slices.Contains(have.Reasons, reason) {
				j.say("address %s lacks the reason %s, it has %v", want.Address, reason, have.Reasons)
			}
		}
	}
	for _, have := range got.Emails {
		if !slices.ContainsFunc(e.Emails, func(m ExpectedEmail) bool { return m.Address == have.Address }) {
			j.say("address %s must not be returned", have.Address)
		}
	}
}

func (j *judgement) facts(e Expected, got Result) {
	if len(got.Facts) < e.MinFacts {
		j.say("%d facts instead of at least %d", len(got.Facts), e.MinFacts)
	}
	for _, field := range sortedKeys(e.Fields) {
		for _, want := range e.Fields[field] {
			if !slices.ContainsFunc(got.Facts, func(f ResultFact) bool { return f.Name == field && f.Value == want }) {
				j.say("%s lacks %q, it has %q", field, want, valuesOf(got, field))
			}
		}
	}
	for _, link := range e.VerifiedLinks {
		if !slices.Contains(got.VerifiedLinks, link) {
			j.say("link %s is not marked as verified", link)
		}
	}
	for _, source := range e.Sources {
		if !slices.ContainsFunc(got.Facts, func(f ResultFact) bool { return slices.Contains(f.Sources, source) }) {
			j.say("no evidence from %s", source)
		}
	}
	for _, f := range got.Facts {
		if len(f.Sources) == 0 {
			j.say("%s %q stands without evidence", f.Name, f.Value)
		}
		for _, source := range e.ForeignSources {
			if slices.Contains(f.Sources, source) {
				j.say("%s %q rests on %s", f.Name, f.Value, source)
			}
		}
	}
	for _, text := range e.Absent {
		for _, f := range got.Facts {
			if strings.Contains(strings.ToLower(f.Value), strings.ToLower(text)) {
				j.say("%s %q must not be there (%q)", f.Name, f.Value, text)
			}
		}
	}
	if e.MinFacts == 0 && len(got.Facts) > 0 {
		j.say("%d facts about somebody else", len(got.Facts))
	}
}

// others looks for what belongs to another person of the batch: nothing may cross over.
func (j *judgement) others(e Expected, got Result, all []Expected) {
	for _, other := range all {
		if other.ExternalID == e.ExternalID {
			continue
		}
		foreign := append([]string{}, other.Fields["name"]...)
		for _, m := range other.Emails {
			foreign = append(foreign, m.Address)
		}
		foreign = append(foreign, other.Fields["links"]...)
		for _, f := range got.Facts {
			if slices.Contains(foreign, f.Value) {
				j.say("%s %q belongs to %s", f.Name, f.Value, other.ExternalID)
			}
		}
	}
}

// judgeVisits looks for requests that nobody should have made.
func (s *Sandbox) judgeVisits(all []Expected) []string {
	var problems []string
	seen := map[string]bool{}
	for _, r := range s.Requests() {
		if seen[r.Host+r.Path] {
			continue
		}
		seen[r.Host+r.Path] = true
		for _, e := range all {
			if only, bounded := e.OnlyAsked[r.Host]; bounded && !slices.Contains(only, r.Path) {
				problems = append(problems, fmt.Sprintf("%s: %s%s was asked for, in spite of robots.txt", e.ExternalID, r.Host, r.Path))
			}
			if slices.ContainsFunc(e.NeverAsked, func(start string) bool { return strings.HasPrefix(r.Host+r.Path, start) }) {
				problems = append(problems, fmt.Sprintf("%s: %s%s was asked for, which the site forbids", e.ExternalID, r.Host, r.Path))
			}
		}
	}
	return problems
}

func valuesOf(r Result, field string) []string {
	values := []string{}
	for _, f := range r.Facts {
		if f.Name == field {
			values = append(values, f.Value)
		}
	}
	return values
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

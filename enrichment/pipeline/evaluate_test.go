package pipeline

import (
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// weighed against a brief; the identity is certain unless p says otherwise.
func against(brief *RoleBrief, p float64, records ...Record) *Candidate {
	f := fusing(records...)
	f.known.Seed.Brief = brief
	for i := range f.known.Matches {
		f.known.Matches[i].Probability = p
		f.known.Matches[i].Weights = []IdentityWeight{{Attribute: "name", Level: "exact", Log2: 9}, {Attribute: "location", Level: "different", Log2: -2}}
	}
	c, jobs := f.candidate()
	if c != nil {
		evaluate(f.cfg, f.known, c, jobs, f.contested)
	}
	return c
}

func text(s string) *string { return &s }

func TestScore(t *testing.T) {
	t.Parallel()
	t.Run("is confidence of identity without a brief", func(t *testing.T) {
		t.Parallel()
		c := against(nil, 0.967, held("a", says(FieldName, "Ada Byron"), says(FieldCurrentRole, "Engineer")))
		if c.MatchScore != 97 || c.ScoreBasis != ScoreIdentity || !slices.Equal(c.FitPoints, []string{"Name agrees (exact) on a"}) {
			t.Errorf("%d %s %q", c.MatchScore, c.ScoreBasis, c.FitPoints)
		}
	})
	t.Run("is the weighted mean of what the brief states", func(t *testing.T) {
		t.Parallel()
		c := against(&RoleBrief{Title: "Engineer", MustHaveSkills: []string{"Go", "Kafka"}}, 1,
			held("a", says(FieldCurrentRole, "Engineer"), says(FieldSkills, "golang")))
		// (25 × 0.9 + 25 × 0 + 20 × 0.9) / 70
		if c.MatchScore != 58 || c.ScoreBasis != ScoreRole {
			t.Errorf("%d %s", c.MatchScore, c.ScoreBasis)
		}
	})
	t.Run("never outruns identity", func(t *testing.T) {
		t.Parallel()
		f := held("a", says(FieldSkills, "Go"))
		g := held("b", says(FieldSkills, "Go"))
		c := against(&RoleBrief{MustHaveSkills: []string{"Go"}}, 0.6, f, g)
		if c.MatchScore != 60 || !strings.Contains(c.Rationale, "limited by confidence of identity") {
			t.Errorf("%d %q", c.MatchScore, c.Rationale)
		}
	})
	t.Run("counts an earlier position seven tenths", func(t *testing.T) {
		t.Parallel()
		p := Position{Role: "Engineer", StartYear: 2015, EndYear: 2017}
		earlier := Claim{Field: FieldExperience, Text: "Engineer", Pos: &p}
		c := against(&RoleBrief{Title: "Engineer"}, 1, held("a", earlier, says(FieldCurrentRole, "Baker")))
		if c.MatchScore != 63 {
			t.Errorf("%d", c.MatchScore)
		}
	})
}

func TestWords(t *testing.T) {
	t.Parallel()
	brief := &RoleBrief{Title: "Senior Engineer", MustHaveSkills: []string{"Java", "Go", "Rust", "Zig", "C++", "Perl", "Ada"}, Location: text("Berlin, Germany")}
	c := against(brief, 1,
		held("a", says(FieldSkills, "JavaScript"), says(FieldSkills, "Go"), says(FieldLocation, "Paris, France"), says(FieldCurrentCompany, "Acme")),
		held("b", says(FieldCurrentCompany, "Other Works")))
	t.Run("of red flags say what was not found, five at most, must-haves first", func(t *testing.T) {
		t.Parallel()
		if len(c.RedFlags) != 5 || !strings.HasPrefix(c.RedFlags[0], "Public evidence places the person in Paris, France, another country") && !strings.HasPrefix(c.RedFlags[0], "No public evidence of ") {
			t.Errorf("%q", c.RedFlags)
		}
		for _, flag := range c.RedFlags {
			if strings.Contains(flag, "lack") {
				t.Errorf("%q", flag)
			}
		}
	})
	t.Run("of the rationale are one sentence of at most 240 characters", func(t *testing.T) {
		t.Parallel()
		if n := utf8.RuneCountInString(c.Rationale); n > 240 || strings.Count(c.Rationale, ".") != 1 || !strings.HasSuffix(c.Rationale, ".") {
			t.Errorf("%d: %q", n, c.Rationale)
		}
	})
	t.Run("never meet Java with JavaScript", func(t *testing.T) {
		t.Parallel()
		if slices.ContainsFunc(c.FitPoints, func(p string) bool { return strings.Contains(p, "Java") }) {
			t.Errorf("%q", c.FitPoints)
		}
	})
	t.Run("name what sources disagree on, and a current position not found", func(t *testing.T) {
		t.Parallel()
		quiet := against(&RoleBrief{MustHaveSkills: []string{"Go"}}, 1,
			held("a", says(FieldSkills, "Go"), says(FieldCurrentCompany, "Acme")), held("b", says(FieldCurrentCompany, "Other Works")))
		want := []string{"Sources disagree on the current company: Acme (a) or Other Works (b)", "No public evidence of a current position"}
		if !slices.Equal(quiet.RedFlags, want) {
			t.Errorf("%q", quiet.RedFlags)
		}
	})
	t.Run("flag no gap between positions", func(t *testing.T) {
		t.Parallel()
		old, now := Position{Role: "Engineer", StartYear: 2001, EndYear: 2002}, Position{Role: "Engineer", StartYear: 2024, Current: true}
		gap := against(nil, 1, held("a", Claim{Field: FieldExperience, Text: "Engineer 1", Pos: &old}, Claim{Field: FieldExperience, Text: "Engineer 2", Pos: &now}))
		if len(gap.RedFlags) != 0 {
			t.Errorf("%q", gap.RedFlags)
		}
	})
}

func TestSkillKey(t *testing.T) {
	t.Parallel()
	for _, same := range [][]string{{"Go", "golang", "GoLang", "Go Lang"}, {"Node.js", "nodejs", "Node JS"}, {"K8s", "kubernetes"}, {"C++", "cpp"}, {"C#", "C Sharp"}, {".NET", "dotnet"}, {"CI/CD", "ci cd"}, {"PostgreSQL", "Postgres"}} {
		for _, s := range same {
			if skillKey(s) != skillKey(same[0]) {
				t.Errorf("%q is %q, %q is %q", s, skillKey(s), same[0], skillKey(same[0]))
			}
		}
	}
	for _, different := range [][2]string{{"Java", "JavaScript"}, {"C", "C++"}, {"C", "C#"}, {"C++", "C#"}, {"Go", "Google"}, {"R", "Rust"}, {"React", "React Native"}, {"SQL", "MySQL"}} {
		if skillKey(different[0]) == skillKey(different[1]) {
			t.Errorf("%q and %q are one", different[0], different[1])
		}
	}
	if got := skillsIn("You will go far: Golang, K8s and ruby on rails. Rest assured, no Java Script.", 10); !slices.Equal(got, []string{"go", "kubernetes", "ruby on rails", "javascript"}) {
		t.Errorf("%q", got)
	}
	if mentions("Wrote JavaScript at Google", "Java") || mentions("Wrote JavaScript at Google", "Go") || !mentions("Services in Golang.", "Go") {
		t.Error("whole words only")
	}
}

func TestDuration(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, time.March, 2, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		p            Position
		span, length string
	}{
		{Position{StartYear: 2023, Current: true}, "2023 - Present", "3 years"},
		{Position{StartYear: 2019, EndYear: 2022}, "2019 - 2022", "3 years"},
		{Position{StartYear: 2021, EndYear: 2021}, "2021", "less than a year"},
		{Position{StartYear: 2025, StartMonth: 10, Current: true}, "2025 - Present", "6 months"},
		{Position{StartYear: 2020, StartMonth: 1, EndYear: 2021, EndMonth: 12}, "2020 - 2021", "2 years"},
		{Position{StartYear: 2020, StartMonth: 5, EndYear: 2020, EndMonth: 5}, "2020", "1 month"},
		{Position{StartYear: 2020}, "From 2020", ""},
		{Position{EndYear: 2020}, "Until 2020", ""},
		{Position{Current: true}, "Present", ""},
		{Position{}, "", ""},
	} {
		if c.p.span() != c.span || c.p.length(now) != c.length {
			t.Errorf("%+v: %q, %q", c.p, c.p.span(), c.p.length(now))
		}
	}
	if got := overlapOnce([][2]int{{10, 20}, {15, 30}, {0, 5}, {16, 18}}); got != 25 {
		t.Errorf("overlapping months count once: %d", got)
	}
}

func TestTitleFit(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		sought, role string
		least, most  float64
	}{
		{"Senior Backend Engineer", "Senior Back-End Developer", 1, 1},
		{"Senior Backend Engineer", "Backend Engineer", 0.9, 0.95},
		{"Senior Backend Engineer", "Junior Backend Engineer", 0.8, 0.9},
		{"Senior Backend Engineer", "Senior Accountant", 0, 0},
		{"Engineer", "Software Engineer", 1, 1},
		{"Data Scientist", "Professor of Data", 0.5, 0.5},
	} {
		if got := titleFit(c.sought, c.role); got < c.least-1e-9 || got > c.most+1e-9 {
			t.Errorf("%s, %s: %v", c.sought, c.role, got)
		}
	}
}

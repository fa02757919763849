package pipeline

import (
	"fmt"
	"strings"
	"testing"
)

// BenchmarkRun is the pipeline's own work for one profile: three sources that
// answer at once, some forty claims each.
func BenchmarkRun(b *testing.B) {
	var text strings.Builder
	text.WriteString(facts + "location: Providence, RI, USA\ncurrentCompany: Brown University\nheadline: Studies cracked pots\n")
	for i := range 30 {
		fmt.Fprintf(&text, "skills: Skill number %d\n", i)
	}
	r := runner(good("alpha", text.String(), 0), good("beta", text.String(), 0), good("gamma", text.String(), 0))
	in := carberry()
	in.Brief = &RoleBrief{Title: "Professor", MustHaveSkills: []string{"Ceramics", "Alchemy"}}
	b.ReportAllocs()
	for b.Loop() {
		if res := r.Run(b.Context(), "enr_1", in, &told{}); res.Outcome != Enriched {
			b.Fatal(res.Outcome)
		}
	}
}

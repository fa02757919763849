package source

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/enrichd/enrichd/enrichment/extract"
	"github.com/enrichd/enrichd/enrichment/pipeline"
)

type quiet struct{}

func (quiet) Stage(pipeline.Stage, bool)                              {}
func (quiet) Source(string, pipeline.SourceState, pipeline.Loss, int) {}
func (quiet) Fields([]string)                                         {}

func TestSandbox(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]pipeline.Outcome{
		ReservedSuccess: pipeline.Enriched, ReservedNoEmail: pipeline.Enriched, ReservedPartial: pipeline.Partial, ReservedNoMatch: pipeline.NoMatch,
		ReservedTimeout: pipeline.TimedOut, ReservedFailure: pipeline.Failed, ReservedSlow: pipeline.Enriched, "prof_of_somebody": pipeline.NoMatch,
	} {
		t.Run(id+" is "+string(want)+", the same every time", func(t *testing.T) {
			t.Parallel()
			var first string
			for day := range 3 {
				synctest.Test(t, func(t *testing.T) {
					now := time.Now().AddDate(day, day, 0)
					r := &pipeline.Runner{Sources: Sandbox(), Verifier: SandboxVerifier{}, Identify: extract.Identify, Prepare: SandboxInput, Now: func() time.Time { return now }}
					began := time.Now()
					res := r.Run(t.Context(), "enr_1", pipeline.Input{ProfileID: id, Name: id}, quiet{})
					if res.Outcome != want {
						t.Fatalf("%s: %+v", res.Outcome, res)
					}
					if took := time.Since(began); took > 4*time.Second || id == ReservedSlow && took < 2*time.Second {
						t.Errorf("took %v", took)
					}
					if c := res.Candidate; c != nil && (len(c.Emails) == 1) == (id == ReservedNoEmail) {
						t.Errorf("%d addresses", len(c.Emails))
					}
					raw, err := json.Marshal(res)
					if err != nil {
						t.Fatal(err)
					}
					if first == "" {
						first = string(raw)
					}
					if string(raw) != first {
						t.Errorf("differs on another day:\n%s\n%s", first, raw)
					}
				})
			}
			if want == pipeline.Enriched && !strings.Contains(first, "Staff Data Engineer") {
				t.Errorf("%s", first)
			}
		})
	}
}

package pipeline

import (
	"context"
	"slices"
	"sync/atomic"
	"time"
)

// Runner takes profiles through the eight stages. One Runner serves many
// profiles at once; nothing of one profile is kept in it. All fields but
// Sources are optional, except that addresses stay UNKNOWN without a Verifier
// and links stay unread without Identify.
type Runner struct {
	// Sources in order of preference: ties between values fall to the earlier one.
	Sources  []Source
	Verifier Verifier
	// Identify turns a link or address into its canonical identifier (enrichment/extract has it).
	Identify func(string) (Identifier, bool)
	// Prepare may put another input in the place of the caller's before anything is done; nil leaves it. The sandbox has its own people.
	Prepare func(Input) Input
	Config  Config
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// OnPanic is told where something panicked, and the value with its stack; for the log.
	OnPanic func(where, detail string)

	abandoned atomic.Int64
}

// Abandoned answers how many outside calls have outlived their slice and still hold a goroutine.
func (r *Runner) Abandoned() int64 { return r.abandoned.Load() }

// Failure codes of a Result; the set grows.
const (
	FailureTimeout     = "timeout"         // every source was silent, or the profile's own time ended
	FailureSourcesLost = "sources_lost"    // every source was lost, at least one to an error
	FailureRefused     = "sources_refused" // every source refused; asking again would not help
	FailureInternal    = "internal"        // a fault of ours
)

// Run takes one profile through the eight stages and answers what came of it.
// ctx bounds the whole; its deadline is the profile's ten seconds. Progress is
// told from the calling goroutine. Run always returns: a Source that hangs
// costs its slice, one that panics is lost as broken, and a panic anywhere
// else ends this profile as Failed. A ctx that ends first is TimedOut.
func (r *Runner) Run(ctx context.Context, runID string, in Input, p Progress) (res Result) {
	defer func() {
		if v := recover(); v != nil {
			r.panicked("profile", v)
			res = Result{Outcome: Failed, Missing: []string{}, FailureCode: FailureInternal, FailureMessage: "something broke while this profile was worked on"}
		}
	}()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	start := r.now()
	cfg := r.Config.withDefaults()
	if deadline, ok := ctx.Deadline(); ok {
		cfg = cfg.within(time.Until(deadline) - cfg.SettleTime)
	}
	p.Stage(Normalize, false)
	if r.Prepare != nil {
		in = r.Prepare(in)
	}
	rec := recording{runID: runID, start: start, seed: NormalizeInput(in, r.identify)}

	g := newGather(r, cfg, rec, p)
	g.run(ctx)
	p.Stage(Resolve, false)
	rec.answers = g.answers
	known := r.resolve(rec)
	rec.checks = g.verify(ctx, known)

	if ctx.Err() != nil {
		_, missing, _ := r.standings(rec.answers)
		return timedOut(missing)
	}
	res = r.conclude(cfg, rec, known)
	p.Stage(Fuse, res.Candidate == nil)
	if res.Candidate != nil {
		g.tellFields(res.Candidate.AllFacts)
	}
	p.Stage(Evaluate, res.Candidate == nil)
	return res
}

func (r *Runner) now() time.Time {
	if r.Now != nil {
		return r.Now()
	}
	return time.Now().UTC()
}

func (r *Runner) identify(s string) (Identifier, bool) {
	if r.Identify == nil {
		return Identifier{}, false
	}
	return r.Identify(s)
}

// recording is all that came in from outside for one profile. The same
// recording and configuration give the same Candidate, byte for byte,
// whatever the order in which the answers arrived.
type recording struct {
	runID   string
	start   time.Time
	seed    Seed
	answers []Answer
	checks  map[string]EmailCheck // by addressKey
}

// resolve reads every answer and decides about every record. Reading sees the
// seed only, never other records, so that it cannot depend on what came first.
func (r *Runner) resolve(rec recording) Known {
	k := Known{Seed: rec.seed, Now: rec.start, RunID: rec.runID}
	var records []Record
	for _, src := range r.Sources {
		records = append(records, read(src, k, rec.answers)...)
	}
	return decided(k, records)
}

// read has a source read its own answers, those that brought something back, in an order that does not depend on arrival.
func read(src Source, k Known, answers []Answer) []Record {
	mine := answersOf(src.Name(), answers)
	if len(mine) == 0 {
		return nil
	}
	records := src.Read(k, mine)
	for i := range records {
		records[i].Source = src.Name()
	}
	return records
}

func decided(k Known, records []Record) Known {
	k.Records = records
	k.Matches = Decide(k)
	return k
}

func answersOf(source string, answers []Answer) []Answer {
	var mine []Answer
	for _, a := range answers {
		if a.Ask.Source == source && a.Loss == "" {
			mine = append(mine, a)
		}
	}
	slices.SortFunc(mine, func(a, b Answer) int { return compareAsks(a.Ask, b.Ask) })
	return mine
}

// conclude fuses and evaluates what is known, and names the outcome.
func (r *Runner) conclude(cfg Config, rec recording, k Known) Result {
	answered, missing, losses := r.standings(rec.answers)
	f := fuser{cfg: cfg, order: r.order(), policies: r.policies(), known: k, checks: rec.checks}
	if c, jobs := f.candidate(); c != nil {
		evaluate(cfg, k, c, jobs, f.contested)
		res := Result{Outcome: Enriched, Candidate: c, Missing: missing, Identifiers: identifiers(k)}
		if len(missing) > 0 {
			res.Outcome = Partial
		}
		return res
	}
	switch {
	case answered || len(missing) == 0:
		return Result{Outcome: NoMatch, Missing: missing, Identifiers: identifiers(k)}
	case !slices.ContainsFunc(losses, func(l Loss) bool { return l != LossTimeout }):
		return timedOut(missing)
	case !slices.ContainsFunc(losses, func(l Loss) bool { return l != LossRefused }):
		return Result{Outcome: Failed, Missing: missing, FailureCode: FailureRefused, FailureMessage: "every source refused to answer"}
	}
	return Result{Outcome: Failed, Missing: missing, FailureCode: FailureSourcesLost, FailureMessage: "every source was lost", Retryable: true}
}

func timedOut(missing []string) Result {
	return Result{Outcome: TimedOut, Missing: missing, FailureCode: FailureTimeout, FailureMessage: "no source answered in time", Retryable: true}
}

// standings answers whether any source answered, which sources were lost
// (wholly or in part, in source order), and all losses. Robots is an answer:
// the site said no.
func (r *Runner) standings(answers []Answer) (answered bool, missing []string, losses []Loss) {
	missing = []string{}
	hit := map[string]bool{}
	for _, a := range answers {
		if a.Loss == "" || a.Loss == LossRobots {
			answered = true
			continue
		}
		losses = append(losses, a.Loss)
		hit[a.Ask.Source] = true
	}
	for _, src := range r.Sources {
		if hit[src.Name()] {
			missing = append(missing, src.Name())
		}
	}
	return answered, missing, losses
}

func (r *Runner) order() map[string]int {
	order := make(map[string]int, len(r.Sources))
	for i, src := range r.Sources {
		order[src.Name()] = i
	}
	return order
}

func (r *Runner) policies() map[string]Policy {
	policies := make(map[string]Policy, len(r.Sources))
	for _, src := range r.Sources {
		policies[src.Name()] = src.Policy()
	}
	return policies
}

// identifiers are all identifiers met on accepted records, each once, for the
// suppression check before anything is returned: what a record names, the
// addresses it claims, and the record itself.
func identifiers(k Known) []Identifier {
	all := []Identifier{}
	seen := map[[2]string]bool{}
	add := func(id Identifier) {
		if key := [2]string{id.Kind, id.Value}; id.Value != "" && !seen[key] {
			seen[key] = true
			all = append(all, id)
		}
	}
	for i, rec := range k.Records {
		if k.Matches[i].Band != BandAccept {
			continue
		}
		kind := rec.Source
		if kind == "site" {
			kind = "website"
		}
		add(Identifier{Kind: kind, Value: rec.ID, URL: rec.URL})
		for _, id := range rec.Identifiers {
			add(id)
		}
		for _, c := range rec.Claims {
			switch {
			case c.Link != nil:
				add(*c.Link)
			case c.Field == FieldEmails:
				add(Identifier{Kind: "email", Value: addressKey(c.Text)})
			}
		}
	}
	return all
}

package pipeline

import (
	"cmp"
	"context"
	"net/url"
	"slices"
	"strings"
	"time"
)

// gather asks the sources for one profile. It is owned by the goroutine of
// Run: outside calls deliver into channels with room for all of them, so that
// an abandoned one never blocks and never touches this state.
type gather struct {
	r        *Runner
	cfg      Config
	progress Progress
	began    time.Time // by the timers' clock
	seed     Known     // seed, start and run only: what Read sees
	known    Known
	records  map[string][]Record // by source
	soFar    *Candidate          // what is accepted of known; nil is nothing

	asked    map[[2]string]bool // source, URL
	asks     map[string]int     // by source
	pages    int
	inFlight map[Stage]int
	standing map[string]*standing // by source
	lanes    map[[2]string][]Ask  // crawl asks by source and host; the first of a lane is out, the rest wait
	answers  []Answer
	arrivals chan arrival

	early    map[string]bool // addresses already being checked
	checks   map[string]EmailCheck
	verdicts chan verdict

	stage  Stage
	fields []string // last told
}

type arrival struct {
	ask    Ask
	cut    bool // the window, not the slice, ended it
	answer Answer
}

// standing is where one source stands: how many of its asks are out or wait, and what the answered ones said.
type standing struct {
	pending int
	loss    Loss
}

func newGather(r *Runner, cfg Config, rec recording, p Progress) *gather {
	k := Known{Seed: rec.seed, Now: rec.start, RunID: rec.runID}
	return &gather{
		r: r, cfg: cfg, progress: p, began: time.Now(), seed: k, known: k,
		records: map[string][]Record{}, asked: map[[2]string]bool{}, asks: map[string]int{},
		inFlight: map[Stage]int{}, standing: map[string]*standing{}, lanes: map[[2]string][]Ask{},
		arrivals: make(chan arrival, len(r.Sources)*cfg.AsksPerSource+cfg.CrawlPages),
		early:    map[string]bool{}, checks: map[string]EmailCheck{}, verdicts: make(chan verdict, 4*cfg.Addresses),
	}
}

func (g *gather) elapsed() time.Duration { return time.Since(g.began) }

// run asks until all is answered or the crawl window ends. The windows of
// lookup, discover and crawl overlap; their progress is told in order.
func (g *gather) run(ctx context.Context) {
	g.ask(ctx, Lookup)
	g.ask(ctx, Crawl)
	g.enter(Lookup, g.inFlight[Lookup] == 0)
	for {
		g.advance(ctx)
		if g.stage == Crawl && g.idle() {
			return
		}
		g.wait(ctx)
	}
}

func (g *gather) idle() bool {
	for _, n := range g.inFlight {
		if n > 0 {
			return false
		}
	}
	return true
}

// wait takes in one arrival, one verdict, or the next boundary of a window.
func (g *gather) wait(ctx context.Context) {
	next := g.cfg.CrawlEnd
	for _, edge := range []time.Duration{g.cfg.DiscoverAt, g.cfg.LookupEnd, g.cfg.DiscoverEnd} {
		if edge > g.elapsed() && edge < next {
			next = edge
		}
	}
	var edge <-chan time.Time
	if d := next - g.elapsed(); d > 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		edge = timer.C
	}
	select {
	case a := <-g.arrivals:
		g.take(ctx, a)
	case v := <-g.verdicts:
		g.checks[v.key] = v.check
	case <-edge:
	}
}

// advance moves on to discover and crawl when their time has come.
func (g *gather) advance(ctx context.Context) {
	if g.stage == Lookup {
		over := g.inFlight[Lookup] == 0 || g.elapsed() >= g.cfg.LookupEnd
		ready := g.elapsed() >= g.cfg.DiscoverAt || g.inFlight[Crawl] == 0 && !g.awaitsCheck()
		if !over || !ready {
			return
		}
		g.stage = Discover
		if g.worthSearching() {
			g.ask(ctx, Discover)
		}
		g.progress.Stage(Discover, g.inFlight[Discover] == 0)
	}
	if g.stage == Discover && (g.inFlight[Discover] == 0 || g.elapsed() >= g.cfg.DiscoverEnd) {
		g.enter(Crawl, g.pages == 0 && g.idle())
	}
	if g.elapsed() >= g.cfg.CrawlEnd || ctx.Err() != nil {
		g.dropWaiting()
	}
}

func (g *gather) enter(s Stage, skipped bool) {
	g.stage = s
	g.progress.Stage(s, skipped)
}

// ask puts a stage's new questions of every source on their way.
func (g *gather) ask(ctx context.Context, s Stage) {
	for _, src := range g.r.Sources {
		for _, a := range g.questions(src, s) {
			a.Source, a.Stage = src.Name(), s
			g.start(ctx, src, a)
		}
	}
}

// questions is Source.Ask, with a panic taken as one lost ask.
func (g *gather) questions(src Source, s Stage) (asks []Ask) {
	defer func() {
		if v := recover(); v != nil {
			g.r.panicked(src.Name(), v)
			a := Ask{Source: src.Name(), Stage: s, Kind: "plan"}
			if key := [2]string{a.Source, ""}; !g.asked[key] {
				g.asked[key] = true
				g.answers = append(g.answers, lost(a, LossBroken, "the source could not plan its questions", g.r.now()))
			}
			asks = nil
		}
	}()
	return src.Ask(g.known, s)
}

func (g *gather) start(ctx context.Context, src Source, a Ask) {
	key := [2]string{a.Source, a.URL}
	if g.asked[key] || g.asks[a.Source] >= g.cfg.AsksPerSource || g.left(a) < g.cfg.LeastSlice || ctx.Err() != nil {
		return
	}
	if a.Stage == Crawl {
		if g.pages >= g.cfg.CrawlPages {
			return
		}
		g.pages++
	}
	g.asked[key] = true
	g.asks[a.Source]++
	g.inFlight[a.Stage]++
	st := g.standing[a.Source]
	if st == nil {
		st = &standing{}
		g.standing[a.Source] = st
	}
	if st.pending == 0 {
		g.progress.Source(a.Source, SourceAsked, "", 0)
	}
	st.pending++
	if a.Stage == Crawl {
		// One connection a host: a page's slice begins when its turn comes.
		lane := laneOf(a)
		g.lanes[lane] = append(g.lanes[lane], a)
		if len(g.lanes[lane]) > 1 {
			return
		}
	}
	g.fly(ctx, src, a)
}

// left is how much time the window of an ask's stage still has.
func (g *gather) left(a Ask) time.Duration {
	end := g.cfg.CrawlEnd
	switch {
	case a.Stage == Lookup && g.stage == "":
		end = g.cfg.LookupEnd
	case a.Stage == Discover:
		end = g.cfg.DiscoverEnd
	}
	return end - g.elapsed()
}

func (g *gather) fly(ctx context.Context, src Source, a Ask) {
	slice, left := g.cfg.Slice, g.left(a)
	away(g.r, ctx, min(slice, left), g.cfg.Grace,
		func(ctx context.Context) Answer { return src.Fetch(ctx, a) },
		func() Answer { return lost(a, LossTimeout, "no answer in time", g.r.now()) },
		func() Answer { return lost(a, LossBroken, "the source broke while it was asked", g.r.now()) },
		func(ans Answer) { g.arrivals <- arrival{ask: a, cut: left < slice, answer: ans} })
}

// take notes an answer, decides anew, and asks what follows from it.
func (g *gather) take(ctx context.Context, in arrival) {
	a := in.ask
	g.inFlight[a.Stage]--
	st := g.standing[a.Source]
	st.pending--
	ans := in.answer
	ans.Ask = a
	if !g.dispensable(in) {
		g.answers = append(g.answers, ans)
		if ans.Loss != "" && ans.Loss != LossRobots {
			st.loss = ans.Loss
		}
	}
	src := g.source(a.Source)
	if ans.Loss == "" {
		g.records[a.Source] = read(src, g.seed, g.answers)
		g.decide(ctx)
	}
	g.nextInLane(ctx, src, a)
	g.ask(ctx, Lookup)
	if g.stage == Discover {
		g.ask(ctx, Discover)
	}
	g.ask(ctx, Crawl)
	g.tellSource(a.Source, st)
}

// dispensable says that a page was only cut short by our own crawl window and
// was a source's own idea: then it was not asked, rather than lost.
func (g *gather) dispensable(in arrival) bool {
	return in.answer.Loss == LossTimeout && in.cut && in.ask.Stage == Crawl && strings.HasPrefix(in.ask.Origin, in.ask.Source+":")
}

func (g *gather) tellSource(name string, st *standing) {
	switch {
	case st.pending > 0:
	case st.loss != "":
		g.progress.Source(name, SourceLost, st.loss, len(g.records[name]))
	default:
		g.progress.Source(name, SourceAnswered, "", len(g.records[name]))
	}
}

func (g *gather) nextInLane(ctx context.Context, src Source, a Ask) {
	if a.Stage != Crawl {
		return
	}
	key := laneOf(a)
	lane := g.lanes[key][1:]
	g.lanes[key] = lane
	if len(lane) == 0 {
		return
	}
	if g.left(lane[0]) < g.cfg.LeastSlice || ctx.Err() != nil {
		g.dropLane(key, lane)
		return
	}
	g.fly(ctx, src, lane[0])
}

// dropWaiting gives up the pages whose turn has not come; what is out comes back by its own slice.
func (g *gather) dropWaiting() {
	for key, lane := range g.lanes {
		if len(lane) > 1 {
			g.dropLane(key, lane[1:])
			g.lanes[key] = lane[:1]
		}
	}
}

func (g *gather) dropLane(key [2]string, waiting []Ask) {
	for _, a := range waiting {
		g.inFlight[Crawl]--
		g.standing[a.Source].pending--
	}
	g.lanes[key] = nil
}

// decide takes all records together, and starts checking the addresses that are accepted by now.
func (g *gather) decide(ctx context.Context) {
	var records []Record
	for _, src := range g.r.Sources {
		records = append(records, g.records[src.Name()]...)
	}
	g.known = decided(g.seed, records)
	f := fuser{cfg: g.cfg, order: g.r.order(), policies: g.r.policies(), known: g.known}
	if g.soFar, _ = f.candidate(); g.soFar == nil {
		return
	}
	g.tellFields(g.soFar.AllFacts)
	for _, address := range published(&f, g.cfg.Addresses) {
		g.check(ctx, address)
	}
}

// tellFields tells which fields hold accepted values, when that has changed.
func (g *gather) tellFields(facts []Fact) {
	names := []string{}
	for _, f := range facts {
		if !slices.Contains(names, f.Name) {
			names = append(names, f.Name)
		}
	}
	if len(names) > 0 && !slices.Equal(names, g.fields) {
		g.fields = names
		g.progress.Fields(names)
	}
}

// worthSearching says whether discover has anything to go by, and anything left to find.
func (g *gather) worthSearching() bool {
	in := g.seed.Seed.Input
	second := in.CurrentCompany != "" || in.Location != "" || len(in.Emails) > 0 || len(in.Links) > 0
	return strings.TrimSpace(in.Name) != "" && second && !g.enough()
}

// enough is the stop rule: identity accepted; name, role, company and location
// at Config.Enough; and one VALID address. Then no further search is made.
func (g *gather) enough() bool {
	return g.certain() && slices.ContainsFunc(g.soFar.Emails, func(e Email) bool { return g.checks[addressKey(e.Address)].Status == EmailValid })
}

// awaitsCheck says that only the check of an address, which is under way, still decides whether to search.
func (g *gather) awaitsCheck() bool {
	return len(g.early) > len(g.checks) && g.certain() && !g.enough()
}

// certain says whether all that the stop rule wants, but an address, is accepted with Config.Enough.
func (g *gather) certain() bool {
	if g.soFar == nil {
		return false
	}
	for _, field := range []string{FieldName, FieldCurrentRole, FieldCurrentCompany, FieldLocation} {
		if !slices.ContainsFunc(g.soFar.AllFacts, func(f Fact) bool { return f.Name == field && f.Confidence >= g.cfg.Enough }) {
			return false
		}
	}
	return true
}

func (g *gather) source(name string) Source {
	for _, src := range g.r.Sources {
		if src.Name() == name {
			return src
		}
	}
	return nil
}

func laneOf(a Ask) [2]string {
	host := a.URL
	if u, err := url.Parse(a.URL); err == nil {
		host = u.Host
	}
	return [2]string{a.Source, host}
}

func compareAsks(a, b Ask) int {
	return cmp.Or(strings.Compare(a.Source, b.Source), strings.Compare(a.URL, b.URL), strings.Compare(a.Kind, b.Kind))
}

package pipeline

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

const facts = "name: Josiah Carberry\ncurrentRole: Professor of Psychoceramics\nskills: Ceramics\nemails: josiah@carberry.example\n"

func TestOutcome(t *testing.T) {
	t.Parallel()
	unknown := good("alpha", "", 0)
	unknown.fetch = func(_ context.Context, a Ask) Answer {
		return Answer{Ask: a, URL: a.URL, Status: 404, FetchedAt: began}
	}
	for _, c := range []struct {
		name      string
		sources   []Source
		outcome   Outcome
		missing   []string
		code      string
		retryable bool
	}{
		{"is ENRICHED when every source answered", []Source{good("alpha", facts, 0), good("beta", facts, 0)}, Enriched, nil, "", false},
		{"is PARTIAL when one of two was lost to an error", []Source{good("alpha", facts, 0), loses("beta", LossBroken)}, Partial, []string{"beta"}, "", false},
		{"is PARTIAL when one of two was lost to time", []Source{good("alpha", facts, 0), silent("beta")}, Partial, []string{"beta"}, "", false},
		{"is ENRICHED when one was refused by the site's own rules", []Source{good("alpha", facts, 0), loses("beta", LossRobots)}, Enriched, nil, "", false},
		{"is NO_MATCH when a source knows nobody", []Source{unknown}, NoMatch, nil, "", false},
		{"is NO_MATCH with what was lost when one knows nobody and one broke", []Source{unknown, loses("beta", LossBroken)}, NoMatch, []string{"beta"}, "", false},
		{"is NO_MATCH when robots kept us out of the only site", []Source{loses("alpha", LossRobots)}, NoMatch, nil, "", false},
		{"is NO_MATCH when there was nobody to ask", nil, NoMatch, nil, "", false},
		{"is TIMED_OUT when every source was silent", []Source{silent("alpha"), silent("beta")}, TimedOut, []string{"alpha", "beta"}, FailureTimeout, true},
		{"is FAILED when all were lost, one to an error", []Source{silent("alpha"), loses("beta", LossBroken)}, Failed, []string{"alpha", "beta"}, FailureSourcesLost, true},
		{"is FAILED when all were limited", []Source{loses("alpha", LossLimited)}, Failed, []string{"alpha"}, FailureSourcesLost, true},
		{"is FAILED for good when all refused", []Source{loses("alpha", LossRefused)}, Failed, []string{"alpha"}, FailureRefused, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				res, _ := run(t, runner(c.sources...))
				if res.Outcome != c.outcome || !slices.Equal(res.Missing, c.missing) || res.FailureCode != c.code || res.Retryable != c.retryable {
					t.Errorf("got %s, missing %v, code %q, retryable %v", res.Outcome, res.Missing, res.FailureCode, res.Retryable)
				}
				if (res.Candidate != nil) != (c.outcome == Enriched || c.outcome == Partial) {
					t.Errorf("candidate: %v", res.Candidate)
				}
			})
		})
	}
}

func TestRun(t *testing.T) {
	t.Parallel()
	t.Run("tells the eight stages once and in order", func(t *testing.T) {
		t.Parallel()
		_, p := run(t, runner(good("alpha", facts, 0)))
		if !slices.Equal(p.stages, Stages) {
			t.Errorf("stages %v", p.stages)
		}
		if want := []string{"alpha ASKED", "alpha ANSWERED"}; !slices.Equal(p.sources, want) {
			t.Errorf("sources %v", p.sources)
		}
		for _, f := range []string{"name", "currentRole", "skills", "emails", "matchScore"} {
			if !slices.Contains(p.fields, f) {
				t.Errorf("field %s was not told: %v", f, p.fields)
			}
		}
	})
	t.Run("gives a hanging source its slice and no more", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			res, p := run(t, runner(good("alpha", facts, time.Second), silent("beta")))
			if d := time.Since(start); d > 3200*time.Millisecond {
				t.Errorf("took %v", d)
			}
			if res.Outcome != Partial || !slices.Contains(p.sources, "beta LOST timeout") {
				t.Errorf("%s, %v", res.Outcome, p.sources)
			}
		})
	})
	t.Run("returns although a fetch ignores its context, and counts it", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			release := make(chan struct{})
			stuck := good("beta", "", 0)
			stuck.fetch = func(_ context.Context, a Ask) Answer { <-release; return body(a, facts) }
			r := runner(good("alpha", facts, 0), stuck)
			start := time.Now()
			res, _ := run(t, r)
			if d := time.Since(start); d > 3200*time.Millisecond || res.Outcome != Partial {
				t.Errorf("took %v, %s", d, res.Outcome)
			}
			if r.Abandoned() != 1 {
				t.Errorf("abandoned %d", r.Abandoned())
			}
			close(release)
			synctest.Wait()
			if r.Abandoned() != 0 {
				t.Errorf("abandoned %d after it came back", r.Abandoned())
			}
		})
	})
	t.Run("ends in time when everything hangs, search and pages included", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			var sources []Source
			for _, stage := range []Stage{Lookup, Discover, Crawl} {
				s := silent(strings.ToLower(string(stage)))
				s.ask = asks("https://"+s.name+".example/", stage)
				sources = append(sources, s)
			}
			start := time.Now()
			res, p := run(t, runner(sources...))
			if d := time.Since(start); d > 6200*time.Millisecond || res.Outcome != TimedOut {
				t.Errorf("took %v, %s", d, res.Outcome)
			}
			if !slices.Equal(p.stages, Stages) {
				t.Errorf("stages %v", p.stages)
			}
		})
	})
	t.Run("answers before a caller's shorter deadline", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			res := runner(good("alpha", facts, 0), silent("beta")).Run(ctx, "enr_1", carberry(), &told{})
			if ctx.Err() != nil || res.Outcome != Partial {
				t.Errorf("%v, %s", ctx.Err(), res.Outcome)
			}
		})
	})
	t.Run("is TIMED_OUT and empty when the caller's context ends first", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Second, cancel)
			start := time.Now()
			res := runner(good("alpha", facts, 0), silent("beta")).Run(ctx, "enr_1", carberry(), &told{})
			if res.Outcome != TimedOut || res.Candidate != nil || time.Since(start) > 1200*time.Millisecond {
				t.Errorf("%s after %v", res.Outcome, time.Since(start))
			}
		})
	})
	t.Run("takes a panic of a fetch or a plan as that source's loss", func(t *testing.T) {
		t.Parallel()
		fetch, plan := good("beta", "", 0), good("gamma", "", 0)
		fetch.fetch = func(context.Context, Ask) Answer { panic("fetch") }
		plan.ask = func(Known, Stage) []Ask { panic("plan") }
		var mu sync.Mutex
		var panics []string
		r := runner(good("alpha", facts, 0), fetch, plan)
		r.OnPanic = func(where, _ string) { mu.Lock(); defer mu.Unlock(); panics = append(panics, where) }
		res, _ := run(t, r)
		if res.Outcome != Partial || !slices.Equal(res.Missing, []string{"beta", "gamma"}) || len(panics) < 2 {
			t.Errorf("%s %v, told %v", res.Outcome, res.Missing, panics)
		}
	})
	t.Run("fails only this profile when a parser panics", func(t *testing.T) {
		t.Parallel()
		broken := good("alpha", facts, 0)
		broken.read = func(k Known, answers []Answer) []Record {
			if k.Seed.ProfileID == "prof_bad" {
				panic("parser")
			}
			return lines("alpha")(k, answers)
		}
		r := runner(broken)
		var group sync.WaitGroup
		for i := range 10 {
			group.Go(func() {
				in, want := carberry(), Enriched
				if i == 3 {
					in.ProfileID, want = "prof_bad", Failed
				}
				if res := r.Run(t.Context(), "enr_1", in, &told{}); res.Outcome != want {
					t.Errorf("profile %d: %s", i, res.Outcome)
				}
			})
		}
		group.Wait()
	})
	t.Run("leaves an address UNKNOWN when its check hangs", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			r := runner(good("alpha", facts, 0))
			r.Verifier = verifierFunc(func(ctx context.Context, address string, _ bool) EmailCheck {
				<-ctx.Done()
				return untold(address, "timeout")
			})
			start := time.Now()
			res, _ := run(t, r)
			if d := time.Since(start); d > 3200*time.Millisecond {
				t.Errorf("took %v", d)
			}
			if res.Outcome != Enriched || len(res.Candidate.Emails) != 1 || res.Candidate.Emails[0].Status != EmailUnknown {
				t.Errorf("%s %+v", res.Outcome, res.Candidate)
			}
		})
	})
	t.Run("leaves an address UNKNOWN when its check panics", func(t *testing.T) {
		t.Parallel()
		r := runner(good("alpha", facts, 0))
		r.Verifier = verifierFunc(func(context.Context, string, bool) EmailCheck { panic("dns") })
		if res, _ := run(t, r); res.Outcome != Enriched || res.Candidate.Emails[0].Status != EmailUnknown {
			t.Errorf("%+v", res)
		}
	})
	t.Run("never hands one profile's values to another", func(t *testing.T) {
		t.Parallel()
		echo := good("alpha", "", 0)
		echo.ask = func(k Known, s Stage) []Ask {
			if s != Lookup {
				return nil
			}
			return []Ask{{Kind: "user", URL: "https://alpha.example/" + k.Seed.ProfileID, Origin: "seed"}}
		}
		echo.fetch = func(_ context.Context, a Ask) Answer {
			mark := a.URL[strings.LastIndexByte(a.URL, '/')+1:]
			return body(a, "name: Josiah Carberry\nskills: "+mark+"-skill\nemails: "+mark+"@carberry.example\nheadline: about "+mark+"\n")
		}
		r := runner(echo)
		results := make([]string, 10)
		var group sync.WaitGroup
		for i := range results {
			group.Go(func() {
				in := carberry()
				in.ProfileID = fmt.Sprintf("planted%d", i)
				raw, err := json.Marshal(r.Run(t.Context(), "enr_1", in, &told{}))
				if err != nil {
					t.Error(err)
				}
				results[i] = string(raw)
			})
		}
		group.Wait()
		for i, raw := range results {
			for j := range results {
				if has := strings.Contains(raw, fmt.Sprintf("planted%d", j)); has != (i == j) {
					t.Errorf("result %d holds the marks of profile %d: %v", i, j, has)
				}
			}
		}
	})
}

func TestDiscover(t *testing.T) {
	t.Parallel()
	search := func() *scripted {
		s := good("beta", facts, 0)
		s.ask = asks("https://beta.example/search", Discover)
		return s
	}
	t.Run("searches when lookup gave too little", func(t *testing.T) {
		t.Parallel()
		res, p := run(t, runner(search()))
		if res.Outcome != Enriched || slices.Contains(p.skipped, Discover) {
			t.Errorf("%s, skipped %v", res.Outcome, p.skipped)
		}
	})
	t.Run("does not search by a name alone", func(t *testing.T) {
		t.Parallel()
		p := &told{}
		res := runner(search()).Run(t.Context(), "enr_1", Input{ProfileID: "prof_1", Name: "Josiah Carberry"}, p)
		if res.Outcome != NoMatch || !slices.Contains(p.skipped, Discover) || len(p.sources) > 0 {
			t.Errorf("%s, skipped %v, %v", res.Outcome, p.skipped, p.sources)
		}
	})
	t.Run("does not search when lookup gave enough", func(t *testing.T) {
		t.Parallel()
		full := facts + "currentCompany: Brown University\nlocation: Providence, RI, USA\n"
		_, p := run(t, runner(good("alpha", full, 0), good("gamma", full, 0), search()))
		if !slices.Contains(p.skipped, Discover) {
			t.Errorf("skipped %v, %v", p.skipped, p.sources)
		}
	})
	t.Run("waits for own sites until half past one", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			slow := silent("alpha")
			slow.ask = asks(page, Crawl)
			s, start := search(), time.Now()
			var at time.Duration
			fetch := s.fetch
			s.fetch = func(ctx context.Context, a Ask) Answer { at = time.Since(start); return fetch(ctx, a) }
			run(t, runner(slow, s))
			if at != 1500*time.Millisecond {
				t.Errorf("searched after %v", at)
			}
		})
	})
}

func TestCrawl(t *testing.T) {
	t.Parallel()
	// pages is a site whose home page leads to n others.
	pages := func(n int, d time.Duration, visits *[]time.Duration) *scripted {
		start := time.Now()
		s := good("site", facts, d)
		s.ask = func(_ Known, st Stage) []Ask {
			if st != Crawl {
				return nil
			}
			asks := []Ask{{Kind: "home", URL: page, Origin: "seed"}}
			for i := range n {
				asks = append(asks, Ask{Kind: "page", URL: fmt.Sprintf("%spage%d", page, i), Origin: "site:" + page})
			}
			return asks
		}
		fetch := s.fetch
		s.fetch = func(ctx context.Context, a Ask) Answer {
			*visits = append(*visits, time.Since(start))
			return fetch(ctx, a)
		}
		return s
	}
	t.Run("reads one page of a host at a time, six at most", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			var visits []time.Duration
			res, _ := run(t, runner(pages(20, 500*time.Millisecond, &visits)))
			if len(visits) != 6 || visits[5] != 2500*time.Millisecond || res.Outcome != Enriched {
				t.Errorf("%v, %s", visits, res.Outcome)
			}
		})
	})
	t.Run("does not count as lost what its own window cut off", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			var visits []time.Duration
			start := time.Now()
			res, _ := run(t, runner(pages(5, 2500*time.Millisecond, &visits)))
			if d := time.Since(start); d > 6200*time.Millisecond || len(visits) != 3 || res.Outcome != Enriched {
				t.Errorf("%v, %v, %s %v", d, visits, res.Outcome, res.Missing)
			}
		})
	})
}

func TestReplay(t *testing.T) {
	t.Parallel()
	sources := []Source{
		good("alpha", facts+"location: Providence, RI, USA\n", 0),
		good("beta", "name: Josiah S. Carberry\nlocation: Boston, MA, USA\nskills: ceramics\nskills: Pottery\n", 0),
		good("gamma", "name: J. Carberry\nlocation: Providence\nemails: josiah@carberry.example\n", 0),
	}
	var first string
	for i := range 20 {
		synctest.Test(t, func(t *testing.T) {
			delayed := make([]Source, len(sources))
			for j, src := range sources {
				s := *src.(*scripted)
				s.fetch = after(time.Duration(rand.IntN(2500))*time.Millisecond, func(a Ask) Answer {
					ans := src.Fetch(context.Background(), a)
					ans.FetchedAt = began // recorded, like the rest of the answer
					return ans
				})
				delayed[j] = &s
			}
			res, _ := run(t, runner(delayed...))
			raw, err := json.Marshal(res)
			if err != nil {
				t.Fatal(err)
			}
			if first == "" {
				first = string(raw)
			}
			if string(raw) != first {
				t.Errorf("run %d differs:\n%s\n%s", i, raw, first)
			}
		})
	}
	if !strings.Contains(first, "ENRICHED") {
		t.Errorf("nothing was compared: %s", first)
	}
}

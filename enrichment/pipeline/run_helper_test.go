package pipeline

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// scripted is a source of a test: each part does what the test says.
type scripted struct {
	name   string
	policy Policy
	ask    func(k Known, s Stage) []Ask
	fetch  func(ctx context.Context, a Ask) Answer
	read   func(k Known, answers []Answer) []Record
}

func (s *scripted) Name() string                { return s.name }
func (s *scripted) Policy() Policy              { return s.policy }
func (s *scripted) Ask(k Known, st Stage) []Ask { return s.ask(k, st) }
func (s *scripted) Fetch(ctx context.Context, a Ask) Answer {
	return s.fetch(ctx, a)
}
func (s *scripted) Read(k Known, answers []Answer) []Record { return s.read(k, answers) }

const page = "https://carberry.example/"

var began = time.Date(2026, time.March, 2, 10, 0, 0, 0, time.UTC)

// asks lists the stages in which a source asks its one question.
func asks(url string, stages ...Stage) func(Known, Stage) []Ask {
	return func(_ Known, s Stage) []Ask {
		if !slices.Contains(stages, s) {
			return nil
		}
		return []Ask{{Kind: "user", URL: url, Origin: "seed"}}
	}
}

func body(a Ask, text string) Answer {
	sum := sha256.Sum256([]byte(text))
	return Answer{Ask: a, URL: a.URL, Status: 200, Body: []byte(text), Hash: hex.EncodeToString(sum[:]), FetchedAt: began}
}

func after(d time.Duration, do func(Ask) Answer) func(context.Context, Ask) Answer {
	return func(ctx context.Context, a Ask) Answer {
		select {
		case <-time.After(d):
			return do(a)
		case <-ctx.Done():
			return lost(a, LossTimeout, "", began)
		}
	}
}

// lines reads "field: value" lines into one record about the seed's person.
func lines(name string) func(Known, []Answer) []Record {
	return func(k Known, answers []Answer) []Record {
		r := Record{
			Source: name, ID: "https://" + name + ".example/carberry", URL: "https://" + name + ".example/carberry", Kind: Person,
			Names: []string{k.Seed.Name}, Employers: []Employer{{Name: "Brown University"}}, Locations: []string{"Providence, RI, USA"},
			Identifiers: []Identifier{{Kind: "website", Value: page, URL: page}},
		}
		for _, ans := range answers {
			for line := range strings.Lines(string(ans.Body)) {
				field, text, ok := strings.Cut(strings.TrimSpace(line), ": ")
				if !ok {
					continue
				}
				url, hash := ans.URL, ans.Hash
				r.Claims = append(r.Claims, Claim{Field: field, Text: text, Evidence: Evidence{
					URL: &url, ContentHash: &hash, Extractor: "lines/1", ContactEligible: true, ObservedAt: ans.FetchedAt,
				}})
			}
		}
		if len(r.Claims) == 0 {
			return nil
		}
		return []Record{r}
	}
}

// good is a source that answers with these lines after a while.
func good(name, text string, d time.Duration) *scripted {
	return &scripted{
		name: name, policy: Policy{Reliability: 0.9, ContactEligible: true},
		ask: asks("https://"+name+".example/carberry", Lookup), fetch: after(d, func(a Ask) Answer { return body(a, text) }), read: lines(name),
	}
}

// loses is a source that is lost in one way.
func loses(name string, loss Loss) *scripted {
	s := good(name, "", 0)
	s.fetch = func(_ context.Context, a Ask) Answer { return lost(a, loss, "", began) }
	return s
}

// silent is a source that never answers but obeys its context.
func silent(name string) *scripted {
	s := good(name, "", 0)
	s.fetch = func(ctx context.Context, a Ask) Answer {
		<-ctx.Done()
		return lost(a, LossTimeout, "", began)
	}
	return s
}

func carberry() Input {
	return Input{
		ProfileID: "prof_1", Name: "Josiah Carberry", Location: "Providence, RI, USA", CurrentCompany: "Brown University", Links: []string{page},
	}
}

func identifyWebsite(s string) (Identifier, bool) {
	if !strings.HasPrefix(s, "https://") {
		return Identifier{}, false
	}
	return Identifier{Kind: "website", Value: s, URL: s}, true
}

func runner(sources ...Source) *Runner {
	return &Runner{Sources: sources, Identify: identifyWebsite, Now: func() time.Time { return began }, Verifier: verifierFunc(valid)}
}

type verifierFunc func(ctx context.Context, address string, published bool) EmailCheck

func (f verifierFunc) Check(ctx context.Context, address string, published bool) EmailCheck {
	return f(ctx, address, published)
}

func valid(_ context.Context, address string, published bool) EmailCheck {
	if !published {
		return EmailCheck{Address: address, Status: EmailRisky, Method: EmailDNSOnly}
	}
	return EmailCheck{Address: address, Status: EmailValid, Method: EmailSelfPublished, Reasons: []string{"published"}}
}

// told is a Progress that remembers.
type told struct {
	mu      sync.Mutex
	stages  []Stage
	skipped []Stage
	sources []string
	fields  []string
}

func (p *told) Stage(s Stage, skipped bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stages = append(p.stages, s)
	if skipped {
		p.skipped = append(p.skipped, s)
	}
}

func (p *told) Source(name string, state SourceState, loss Loss, _ int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	text := name + " " + string(state)
	if loss != "" {
		text += " " + string(loss)
	}
	p.sources = append(p.sources, text)
}

func (p *told) Fields(names []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fields = slices.Clone(names)
}

func run(t *testing.T, r *Runner) (Result, *told) {
	t.Helper()
	p := &told{}
	return r.Run(t.Context(), "enr_1", carberry(), p), p
}

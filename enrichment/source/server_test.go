package source

import (
	"compress/gzip"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/enrichd/enrichd/enrichment/extract"
	"github.com/enrichd/enrichd/enrichment/pipeline"
	"github.com/enrichd/enrichd/internal/egress"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// web is a local server that plays one host and remembers who asked what when.
type web struct {
	*httptest.Server
	mu   sync.Mutex
	hits []hit
}

type hit struct {
	path   string
	at     time.Time
	header http.Header
}

func newWeb(t *testing.T, handle http.HandlerFunc) *web {
	t.Helper()
	w := &web{}
	w.Server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		w.hits = append(w.hits, hit{r.URL.RequestURI(), time.Now(), r.Header.Clone()})
		w.mu.Unlock()
		handle(rw, r)
	}))
	t.Cleanup(func() {
		w.CloseClientConnections()
		w.Close()
	})
	return w
}

// paths are what was asked for, in order.
func (w *web) paths() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var paths []string
	for _, h := range w.hits {
		paths = append(paths, h.path)
	}
	return paths
}

func (w *web) port() uint16 {
	u, _ := url.Parse(w.URL)
	n, _ := strconv.Atoi(u.Port())
	return uint16(n)
}

// set makes sources that may visit the given local servers.
func newSet(t *testing.T, change func(*Config), webs ...*web) *Set {
	t.Helper()
	cfg := Config{
		CrawlRate: 200, Slice: time.Second, URLs: map[string]string{}, Tokens: map[string]string{}, Contact: "ops@enrichd.example",
		Policy: egress.Policy{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, AllowHTTP: true, UserAgent: "enrichd/test (+https://enrichd.example)"},
	}
	for _, w := range webs {
		cfg.Policy.Ports = append(cfg.Policy.Ports, w.port())
		cfg.URLs["github"], cfg.URLs["openalex"] = w.URL, w.URL
	}
	if change != nil {
		change(&cfg)
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func (s *Set) named(t *testing.T, name string) pipeline.Source {
	t.Helper()
	for _, src := range s.Sources {
		if src.Name() == name {
			return src
		}
	}
	t.Fatalf("no source %s", name)
	return nil
}

func fetch(t *testing.T, src pipeline.Source, a pipeline.Ask) pipeline.Answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	return src.Fetch(ctx, a)
}

func seed(links ...string) pipeline.Known {
	in := pipeline.Input{ProfileID: "prof_1", Name: "Ada Byron", Location: "London, UK", CurrentCompany: "Analytical Engines", Links: links}
	return pipeline.Known{Seed: pipeline.NormalizeInput(in, extract.Identify), Now: time.Now().UTC(), RunID: "enr_1"}
}

// contract is what every connector keeps, whatever the other side does. ask is
// one of its questions under base, and good the body that answers it.
func contract(t *testing.T, name string, ask func(base string) pipeline.Ask, contentType, good string) {
	t.Helper()
	type play struct {
		src  pipeline.Source
		set  *Set
		web  *web
		ask  pipeline.Ask
		then func() pipeline.Answer
	}
	start := func(t *testing.T, handle http.HandlerFunc) play {
		t.Helper()
		w := newWeb(t, func(rw http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/robots.txt" {
				rw.WriteHeader(404)
				return
			}
			handle(rw, r)
		})
		set := newSet(t, nil, w)
		p := play{src: set.named(t, name), set: set, web: w, ask: ask(w.URL)}
		p.then = func() pipeline.Answer { return fetch(t, p.src, p.ask) }
		return p
	}
	serve := func(rw http.ResponseWriter) {
		rw.Header().Set("Content-Type", contentType)
		fmt.Fprint(rw, good)
	}
	asked := func(p play) int {
		n := 0
		for _, path := range p.web.paths() {
			if path != "/robots.txt" {
				n++
			}
		}
		return n
	}
	expect := func(t *testing.T, ans pipeline.Answer, loss pipeline.Loss) {
		t.Helper()
		if ans.Loss != loss || loss != "" && len(ans.Body) > 0 {
			t.Errorf("status %d, loss %q (%s), %d bytes; want loss %q", ans.Status, ans.Loss, ans.Detail, len(ans.Body), loss)
		}
	}

	t.Run("answers 200 with body, hash and time", func(t *testing.T) {
		t.Parallel()
		p := start(t, func(rw http.ResponseWriter, _ *http.Request) { serve(rw) })
		ans := p.then()
		expect(t, ans, "")
		if ans.Status != 200 || len(ans.Body) == 0 || len(ans.Hash) != 64 || time.Since(ans.FetchedAt) > time.Minute || ans.URL != p.ask.URL {
			t.Errorf("%+v", ans)
		}
		if ua := p.web.hits[0].header.Get("User-Agent"); !strings.HasPrefix(ua, "enrichd/") {
			t.Errorf("user agent %q", ua)
		}
	})
	t.Run("takes 404 as an answer, and does not ask again for an hour", func(t *testing.T) {
		t.Parallel()
		p := start(t, func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(404) })
		for range 3 {
			ans := p.then()
			expect(t, ans, "")
			if ans.Status != 404 {
				t.Errorf("status %d", ans.Status)
			}
		}
		if asked(p) != 1 {
			t.Errorf("asked %d times", asked(p))
		}
	})
	t.Run("takes 403 as refused", func(t *testing.T) {
		t.Parallel()
		p := start(t, func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(403) })
		expect(t, p.then(), pipeline.LossRefused)
	})
	t.Run("takes 429 as limited, and leaves the source alone until Retry-After", func(t *testing.T) {
		t.Parallel()
		p := start(t, func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Retry-After", "60")
			rw.WriteHeader(429)
		})
		expect(t, p.then(), pipeline.LossLimited)
		before := asked(p)
		began := time.Now()
		expect(t, p.then(), pipeline.LossLimited)
		if asked(p) != before || time.Since(began) > 500*time.Millisecond {
			t.Errorf("asked %d times more, took %v", asked(p)-before, time.Since(began))
		}
	})
	t.Run("takes 5xx as broken", func(t *testing.T) {
		t.Parallel()
		p := start(t, func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(502) })
		expect(t, p.then(), pipeline.LossBroken)
		if asked(p) > 2 {
			t.Errorf("asked %d times", asked(p))
		}
	})
	t.Run("takes silence as a timeout within its slice", func(t *testing.T) {
		t.Parallel()
		p := start(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		began := time.Now()
		expect(t, p.then(), pipeline.LossTimeout)
		if d := time.Since(began); d > 1500*time.Millisecond {
			t.Errorf("took %v", d)
		}
	})
	t.Run("takes a body cut short as broken", func(t *testing.T) {
		t.Parallel()
		p := start(t, func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Type", contentType)
			rw.Header().Set("Content-Length", "100000")
			fmt.Fprint(rw, good[:len(good)/2])
		})
		expect(t, p.then(), pipeline.LossBroken)
	})
	t.Run("reads gzip", func(t *testing.T) {
		t.Parallel()
		p := start(t, func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Type", contentType)
			rw.Header().Set("Content-Encoding", "gzip")
			zw := gzip.NewWriter(rw)
			fmt.Fprint(zw, good)
			zw.Close()
		})
		ans := p.then()
		expect(t, ans, "")
		if len(p.src.Read(seed(), []pipeline.Answer{ans})) != 1 {
			t.Error("nothing could be read")
		}
	})
	t.Run("takes a body that never ends as broken or late, and stops reading", func(t *testing.T) {
		t.Parallel()
		p := start(t, func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Content-Type", contentType)
			for r.Context().Err() == nil {
				if _, err := rw.Write([]byte(strings.Repeat(" ", 8<<10))); err != nil {
					return
				}
			}
		})
		began := time.Now()
		if ans := p.then(); ans.Loss != pipeline.LossBroken && ans.Loss != pipeline.LossTimeout || time.Since(began) > 1500*time.Millisecond {
			t.Errorf("%q after %v", ans.Loss, time.Since(began))
		}
	})
	t.Run("takes a connection that is refused as broken", func(t *testing.T) {
		t.Parallel()
		p := start(t, func(http.ResponseWriter, *http.Request) {})
		p.web.CloseClientConnections()
		p.web.Close()
		expect(t, p.then(), pipeline.LossBroken)
	})
	t.Run("makes one call of equal ones, and a waiter that leaves ends it for nobody", func(t *testing.T) {
		t.Parallel()
		entered, release := make(chan struct{}), make(chan struct{})
		var once sync.Once
		p := start(t, func(rw http.ResponseWriter, _ *http.Request) {
			once.Do(func() { close(entered) })
			<-release
			serve(rw)
		})
		impatient, leave := context.WithCancel(t.Context())
		var group sync.WaitGroup
		group.Go(func() {
			if ans := p.src.Fetch(impatient, p.ask); ans.Loss != pipeline.LossTimeout {
				t.Errorf("the one that left got %q", ans.Loss)
			}
		})
		<-entered
		joined := make(chan struct{}, 5)
		for range 5 {
			group.Go(func() {
				joined <- struct{}{}
				if ans := p.then(); ans.Loss != "" {
					t.Errorf("loss %q: %s", ans.Loss, ans.Detail)
				}
			})
		}
		for range 5 {
			<-joined
		}
		for waiting := 0; waiting < 6; { // all six wait for one call
			waiting = p.set.guards[name].flights.waiters()
		}
		leave()
		close(release)
		group.Wait()
		if asked(p) != 1 {
			t.Errorf("asked %d times", asked(p))
		}
	})
	t.Run("stops asking what keeps failing, and probes it once after the pause", func(t *testing.T) {
		t.Parallel()
		healthy := make(chan struct{})
		w := newWeb(t, func(rw http.ResponseWriter, r *http.Request) {
			select {
			case <-healthy:
				serve(rw)
			default:
				if r.URL.Path == "/robots.txt" {
					rw.WriteHeader(404)
					return
				}
				rw.WriteHeader(500)
			}
		})
		set := newSet(t, func(c *Config) { c.CircuitPause = 300 * time.Millisecond }, w)
		src, a := set.named(t, name), ask(w.URL)
		for range 5 {
			expect(t, fetch(t, src, a), pipeline.LossBroken)
		}
		before := len(w.paths())
		for range 5 {
			expect(t, fetch(t, src, a), pipeline.LossBroken)
		}
		if n := len(w.paths()) - before; n != 0 {
			t.Errorf("asked %d times though the circuit is open", n)
		}
		close(healthy)
		for deadline := time.Now().Add(3 * time.Second); fetch(t, src, a).Loss != ""; {
			if time.Now().After(deadline) {
				t.Fatal("the circuit never closed again")
			}
		}
	})
	t.Run("is silent when it is switched off", func(t *testing.T) {
		t.Parallel()
		p := start(t, func(rw http.ResponseWriter, _ *http.Request) { serve(rw) })
		if !p.set.Switch(name, false) || p.set.Switch("nobody", false) {
			t.Error("switch")
		}
		expect(t, p.then(), pipeline.LossRefused)
		p.set.Switch(name, true)
		expect(t, p.then(), "")
	})
	t.Run("refuses private addresses", func(t *testing.T) {
		t.Parallel()
		p := start(t, func(rw http.ResponseWriter, _ *http.Request) { serve(rw) })
		p.set.SetPolicy(egress.Policy{AllowHTTP: true, Ports: []uint16{p.web.port()}})
		expect(t, p.then(), pipeline.LossRefused)
		if asked(p) != 0 {
			t.Error("was asked")
		}
	})
}

// waiters counts who waits for a call under way.
func (f *flights) waiters() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, fl := range f.under {
		n += fl.waiters
	}
	return n
}

// silentPort is an address that accepts connections and says nothing.
func silentPort(t *testing.T) (address string, port uint16) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return "http://" + l.Addr().String(), uint16(l.Addr().(*net.TCPAddr).Port)
}

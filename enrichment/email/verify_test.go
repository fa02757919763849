package email

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/enrichd/enrichd/enrichment/pipeline"
	"github.com/enrichd/enrichd/internal/egress"
	"github.com/miekg/dns"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// nameServer is a real DNS server on loopback, over UDP and TCP.
type nameServer struct {
	addr string
	zone map[string][]string // fixed before it starts; a name without entry is NXDOMAIN

	mu    sync.Mutex
	rcode map[string]int
	asked map[string]int // queries by "name TYPE"
	hold  chan struct{}  // not nil: answers wait for it
}

func serveDNS(t testing.TB, zone map[string][]string) *nameServer {
	t.Helper()
	s := &nameServer{zone: map[string][]string{}, rcode: map[string]int{}, asked: map[string]int{}}
	for name, records := range zone {
		s.zone[dns.CanonicalName(name)] = records
	}
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	udp, err := net.ListenPacket("udp", tcp.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s.addr = tcp.Addr().String()
	for _, server := range []*dns.Server{{Listener: tcp, Handler: s}, {PacketConn: udp, Handler: s}} {
		started, done := make(chan struct{}), make(chan struct{})
		server.NotifyStartedFunc = func() { close(started) }
		go func() { defer close(done); _ = server.ActivateAndServe() }()
		<-started
		t.Cleanup(func() { _ = server.Shutdown(); <-done })
	}
	return s
}

func (s *nameServer) fails(name string, rcode int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rcode[dns.CanonicalName(name)] = rcode
}

func (s *nameServer) queries(name, qtype string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[dns.CanonicalName(name)+" "+qtype]
}

func (s *nameServer) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	m := new(dns.Msg)
	m.SetReply(q)
	question := q.Question[0]
	name := dns.CanonicalName(question.Name)
	s.mu.Lock()
	s.asked[name+" "+dns.TypeToString[question.Qtype]]++
	rcode, hold := s.rcode[name], s.hold
	s.mu.Unlock()
	if hold != nil {
		<-hold
	}
	records, ok := s.zone[name]
	switch {
	case rcode != 0:
		m.Rcode, records = rcode, nil
	case !ok:
		m.Rcode = dns.RcodeNameError
	}
	for _, text := range records {
		rr, err := dns.NewRR(question.Name + " 60 IN " + text)
		if err != nil {
			panic(err)
		}
		if h := rr.Header(); h.Rrtype == question.Qtype || h.Rrtype == dns.TypeCNAME {
			m.Answer = append(m.Answer, rr)
		}
	}
	_ = w.WriteMsg(m)
}

func TestCheck(t *testing.T) {
	t.Parallel()
	ns := serveDNS(t, map[string][]string{
		"good.test":            {"MX 10 mx.good.test.", "A 192.0.2.1"},
		"mx.good.test":         {"A 192.0.2.25"},
		"six.test":             {"MX 10 mx6.good.test."},
		"mx6.good.test":        {"AAAA 2001:db8::25"},
		"second.test":          {"MX 10 gone.good.test.", "MX 20 mx.good.test."},
		"null.test":            {"MX 0 .", "A 192.0.2.1"},
		"mixed.test":           {"MX 0 .", "MX 10 mx.good.test."},
		"implicit.test":        {"A 192.0.2.1"},
		"empty.test":           {"TXT \"nothing else\""},
		"deadmx.test":          {"MX 10 gone.good.test.", "MX 20 nodata.good.test."},
		"nodata.good.test":     nil,
		"halfdead.test":        {"MX 10 gone.good.test.", "MX 20 broken.test."},
		"alias.test":           {"CNAME good.test."},
		"deadalias.test":       {"CNAME nowhere.test."},
		"xn--bcher-kva.test":   {"MX 10 mx.good.test."},
		"gmail.com":            {"MX 10 mx.good.test."},
		"mailinator.com":       {"MX 10 mx.mailinator.com."},
		"mx.mailinator.com":    {"A 192.0.2.66"},
		"sub.mailinator.com":   {"MX 10 mx.mailinator.com."},
		"fresh-throwaway.test": {"MX 10 mx.mailinator.com."},
		"trashmail.com":        {"MX 0 ."},
	})
	ns.fails("broken.test", dns.RcodeServerFailure)
	ns.fails("refusing.test", dns.RcodeRefused)
	ns.fails("yopmail.com", dns.RcodeServerFailure)
	v := &Verifier{DNS: &egress.Resolver{Server: ns.addr}}

	for _, c := range []struct {
		says      string
		address   string
		published bool
		status    pipeline.EmailStatus
		method    pipeline.EmailMethod
		reasons   string
	}{
		{"published is valid when the domain takes mail", "ada@good.test", true, pipeline.EmailValid, pipeline.EmailSelfPublished, "published"},
		{"a guess is at most risky", "ada@good.test", false, pipeline.EmailRisky, pipeline.EmailDNSOnly, "pattern_guess"},
		{"a mail host may have IPv6 only", "ada@six.test", true, pipeline.EmailValid, pipeline.EmailSelfPublished, "published"},
		{"one working mail host is enough", "ada@second.test", true, pipeline.EmailValid, pipeline.EmailSelfPublished, "published"},
		{"a null MX takes no mail", "ada@null.test", true, pipeline.EmailInvalid, pipeline.EmailDNSOnly, "published null_mx"},
		{"a null MX beside others says nothing", "ada@mixed.test", true, pipeline.EmailValid, pipeline.EmailSelfPublished, "published"},
		{"an address record is the implicit MX", "ada@implicit.test", true, pipeline.EmailValid, pipeline.EmailSelfPublished, "published no_mx_a_fallback"},
		{"no MX and no address is no mail host", "ada@empty.test", true, pipeline.EmailInvalid, pipeline.EmailDNSOnly, "published no_mail_host"},
		{"mail hosts that do not exist are none", "ada@deadmx.test", false, pipeline.EmailInvalid, pipeline.EmailDNSOnly, "pattern_guess no_mail_host"},
		{"a mail host that cannot be looked up leaves it open", "ada@halfdead.test", false, pipeline.EmailUnknown, pipeline.EmailDNSOnly, "pattern_guess no_mail_host dns_failure"},
		{"a clean NXDOMAIN is no domain", "ada@nowhere.test", true, pipeline.EmailInvalid, pipeline.EmailDNSOnly, "published no_domain"},
		{"a server failure is not a no", "ada@broken.test", true, pipeline.EmailUnknown, pipeline.EmailDNSOnly, "published dns_failure"},
		{"a refusal is not a no", "ada@refusing.test", false, pipeline.EmailUnknown, pipeline.EmailDNSOnly, "pattern_guess dns_failure"},
		{"an alias leads to the mail hosts of its target", "ada@alias.test", true, pipeline.EmailValid, pipeline.EmailSelfPublished, "published"},
		{"an alias to nowhere is no domain", "ada@deadalias.test", true, pipeline.EmailInvalid, pipeline.EmailDNSOnly, "published no_domain"},
		{"bad syntax is invalid", "ada@", true, pipeline.EmailInvalid, pipeline.EmailDNSOnly, "published syntax"},
		{"a damaged address is invalid", "a\ufffda@good.test", false, pipeline.EmailInvalid, pipeline.EmailDNSOnly, "pattern_guess syntax"},
		{"an internationalised domain is asked in ASCII", "Ada@BÜCHER.test", true, pipeline.EmailValid, pipeline.EmailSelfPublished, "published"},
		{"letters outside ASCII need SMTPUTF8", "adä@good.test", true, pipeline.EmailValid, pipeline.EmailSelfPublished, "published smtputf8_needed"},
		{"a free provider is named", "ada@gmail.com", true, pipeline.EmailValid, pipeline.EmailSelfPublished, "published free_provider"},
		{"a throw-away domain", "ada@mailinator.com", true, pipeline.EmailDisposable, pipeline.EmailSelfPublished, "published disposable"},
		{"a name below a throw-away domain", "ada@sub.mailinator.com", false, pipeline.EmailDisposable, pipeline.EmailDNSOnly, "pattern_guess disposable"},
		{"a fresh domain on a throw-away service's mail host", "ada@fresh-throwaway.test", false, pipeline.EmailDisposable, pipeline.EmailDNSOnly, "pattern_guess disposable"},
		{"invalid goes before disposable", "ada@trashmail.com", false, pipeline.EmailInvalid, pipeline.EmailDNSOnly, "pattern_guess disposable null_mx"},
		{"disposable goes before role", "info@mailinator.com", false, pipeline.EmailDisposable, pipeline.EmailDNSOnly, "pattern_guess disposable role"},
		{"disposable goes before unknown", "ada@yopmail.com", false, pipeline.EmailDisposable, pipeline.EmailDNSOnly, "pattern_guess disposable dns_failure"},
		{"role goes before valid", "Info@good.test", true, pipeline.EmailRole, pipeline.EmailSelfPublished, "published role"},
		{"role goes before unknown", "jobs@broken.test", false, pipeline.EmailRole, pipeline.EmailDNSOnly, "pattern_guess role dns_failure"},
		{"invalid goes before role", "info@nowhere.test", false, pipeline.EmailInvalid, pipeline.EmailDNSOnly, "pattern_guess role no_domain"},
	} {
		t.Run(c.says, func(t *testing.T) {
			t.Parallel()
			got := v.Check(t.Context(), c.address, c.published)
			if got.Status != c.status || got.Method != c.method || strings.Join(got.Reasons, " ") != c.reasons {
				t.Errorf("%s: %+v", c.address, got)
			}
		})
	}
	t.Run("returns the address normalised, and a damaged one as it came", func(t *testing.T) {
		t.Parallel()
		if got := v.Check(t.Context(), "Ada@XN--BCHER-KVA.Test", true); got.Address != "Ada@bücher.test" {
			t.Error(got.Address)
		}
		if got := v.Check(t.Context(), "Ada@", true); got.Address != "Ada@" {
			t.Error(got.Address)
		}
	})
}

func TestCache(t *testing.T) {
	t.Parallel()
	setup := func(t *testing.T) (*nameServer, *Verifier, func(time.Duration)) {
		ns := serveDNS(t, map[string][]string{"good.test": {"MX 10 mx.good.test."}, "mx.good.test": {"A 192.0.2.25"}})
		var mu sync.Mutex
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		v := &Verifier{DNS: &egress.Resolver{Server: ns.addr}, TTL: time.Minute, Now: func() time.Time {
			mu.Lock()
			defer mu.Unlock()
			return now
		}}
		return ns, v, func(d time.Duration) { mu.Lock(); now = now.Add(d); mu.Unlock() }
	}
	t.Run("asks once for as long as the answer lives", func(t *testing.T) {
		t.Parallel()
		ns, v, pass := setup(t)
		for _, local := range []string{"a", "b", "c"} {
			v.Check(t.Context(), local+"@good.test", false)
			pass(19 * time.Second)
		}
		if n := ns.queries("good.test", "MX"); n != 1 {
			t.Error(n, "questions")
		}
		pass(time.Minute)
		v.Check(t.Context(), "a@good.test", false)
		if n := ns.queries("good.test", "MX"); n != 2 {
			t.Error(n, "questions after the time")
		}
	})
	t.Run("remembers a failure for a short time only", func(t *testing.T) {
		t.Parallel()
		ns, v, pass := setup(t)
		ns.fails("good.test", dns.RcodeServerFailure)
		if got := v.Check(t.Context(), "a@good.test", true); got.Status != pipeline.EmailUnknown {
			t.Error(got)
		}
		ns.fails("good.test", 0)
		if got := v.Check(t.Context(), "a@good.test", true); got.Status != pipeline.EmailUnknown {
			t.Error("asked again at once:", got)
		}
		pass(failureTTL)
		if got := v.Check(t.Context(), "a@good.test", true); got.Status != pipeline.EmailValid {
			t.Error(got)
		}
	})
	t.Run("lets equal questions share one lookup", func(t *testing.T) {
		t.Parallel()
		ns, v, _ := setup(t)
		hold := make(chan struct{})
		ns.hold = hold
		var wg sync.WaitGroup
		got := make([]pipeline.EmailCheck, 20)
		for i := range got {
			wg.Go(func() { got[i] = v.Check(t.Context(), "a@good.test", true) })
		}
		for ns.queries("good.test", "MX") == 0 {
			time.Sleep(time.Millisecond)
		}
		close(hold)
		wg.Wait()
		if n := ns.queries("good.test", "MX"); n != 1 {
			t.Error(n, "questions")
		}
		if slices.ContainsFunc(got, func(c pipeline.EmailCheck) bool { return c.Status != pipeline.EmailValid }) {
			t.Error(got)
		}
	})
	t.Run("does not let one caller's end spoil the others", func(t *testing.T) {
		t.Parallel()
		_, v, _ := setup(t)
		inner := v.DNS
		begun := make(chan struct{})
		var once sync.Once
		v.DNS = gate{inner, func(ctx context.Context) {
			first := false
			once.Do(func() { first = true })
			if first {
				close(begun)
				<-ctx.Done()
			}
		}}
		ctx, cancel := context.WithCancel(t.Context())
		leader := make(chan pipeline.EmailCheck)
		go func() { leader <- v.Check(ctx, "a@good.test", true) }()
		<-begun
		follower := make(chan pipeline.EmailCheck)
		go func() { follower <- v.Check(t.Context(), "b@good.test", true) }()
		cancel()
		if got := <-leader; got.Status != pipeline.EmailUnknown || !slices.Equal(got.Reasons, []string{"published", "dns_failure", "timeout"}) {
			t.Error(got)
		}
		if got := <-follower; got.Status != pipeline.EmailValid {
			t.Error(got)
		}
	})
	t.Run("waits for another's lookup no longer than its own context", func(t *testing.T) {
		t.Parallel()
		_, v, _ := setup(t)
		release := make(chan struct{})
		begun := make(chan struct{}, 8)
		v.DNS = gate{v.DNS, func(context.Context) { begun <- struct{}{}; <-release }}
		done := make(chan struct{})
		go func() { defer close(done); v.Check(t.Context(), "a@good.test", true) }()
		<-begun
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if got := v.Check(ctx, "b@good.test", true); got.Status != pipeline.EmailUnknown {
			t.Error(got)
		}
		close(release)
		<-done
	})
	t.Run("stays bounded", func(t *testing.T) {
		t.Parallel()
		var c cache
		now := func() time.Time { return time.Time{}.Add(time.Hour) }
		for i := range maxCached + 10 {
			c.get(t.Context(), string(rune('a'+i%26))+time.Duration(i).String(), now, time.Hour, func(context.Context) finding { return finding{verdict: yes} })
		}
		if len(c.entries) > maxCached {
			t.Error(len(c.entries))
		}
	})
	t.Run("frees the domain when a lookup panics", func(t *testing.T) {
		t.Parallel()
		var c cache
		func() {
			defer func() { _ = recover() }()
			c.get(t.Context(), "a", time.Now, time.Hour, func(context.Context) finding { panic("boom") })
		}()
		if f := c.get(t.Context(), "a", time.Now, time.Hour, func(context.Context) finding { return finding{verdict: yes} }); f.verdict != yes {
			t.Error(f)
		}
	})
}

// gate passes through a point that a test controls before it asks for MX.
type gate struct {
	Resolver
	before func(context.Context)
}

func (g gate) MX(ctx context.Context, name string) ([]egress.MX, error) {
	g.before(ctx)
	return g.Resolver.MX(ctx, name)
}

func (g gate) Addrs(ctx context.Context, name string) ([]netip.Addr, error) {
	return g.Resolver.Addrs(ctx, name)
}

func TestLists(t *testing.T) {
	t.Parallel()
	l := known()
	t.Run("hold well-formed entries, none twice over", func(t *testing.T) {
		for name, set := range map[string]map[string]bool{"disposable": l.disposable, "free": l.free} {
			if len(set) < 300 {
				t.Errorf("%s has %d entries", name, len(set))
			}
			for domain := range set {
				if a, err := Parse("a@" + domain); err != nil || a.Domain != domain {
					t.Errorf("%s: %q %v", name, domain, err)
				}
			}
		}
		for local := range l.role {
			if a, err := Parse(local + "@example.org"); err != nil || a.Local != strings.ToLower(local) {
				t.Errorf("role: %q %v", local, err)
			}
		}
		for domain := range l.free {
			if l.isDisposable(domain) {
				t.Errorf("%s is both free and disposable", domain)
			}
		}
	})
	t.Run("tell functions from people", func(t *testing.T) {
		for local, want := range map[string]bool{
			"info": true, "INFO": true, "jobs+berlin": true, "no-reply": true, "human.resources": true, "press-office": true, "geschäftsführung": true, "rrhh": true,
			"ada": false, "ada.info": false, "h.r": false, "info.ada": false, "hrafn": false, "adminov": false, "": false, "+info": false,
		} {
			if got := l.isRole(local); got != want {
				t.Errorf("%q: %v", local, got)
			}
		}
	})
	t.Run("match whole labels only", func(t *testing.T) {
		for host, want := range map[string]bool{"mailinator.com": true, "a.b.mailinator.com": true, "notamailinator.com": false, "com": false, "": false} {
			if got := l.isDisposable(host); got != want {
				t.Errorf("%q: %v", host, got)
			}
		}
	})
}

package egress

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var loopback = prefixes("127.0.0.0/8")

func portOf(t testing.TB, address string) uint16 {
	t.Helper()
	ap, err := netip.ParseAddrPort(strings.TrimPrefix(strings.TrimPrefix(address, "http://"), "https://"))
	if err != nil {
		t.Fatal(err)
	}
	return ap.Port()
}

// bundle is a web server on loopback and a client that may visit it.
type bundle struct {
	url    string
	policy Policy
	client *Client
}

func setup(t testing.TB, use Use, h http.HandlerFunc) bundle {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	p := Policy{Allow: loopback, Ports: []uint16{portOf(t, s.URL)}, AllowHTTP: true}
	return bundle{url: s.URL, policy: p, client: client(t, p, use)}
}

func client(t testing.TB, p Policy, use Use) *Client {
	c := NewClient(p, use)
	t.Cleanup(c.Close)
	return c
}

// raw is a TCP server that hands each connection to f.
func raw(t testing.TB, f func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); f(c) }()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return "http://" + l.Addr().String()
}

func rawClient(t testing.TB, url string) *Client {
	return client(t, Policy{Allow: loopback, Ports: []uint16{portOf(t, url)}}, ForCrawl)
}

func readRequest(c net.Conn) {
	buf := make([]byte, 4096)
	for seen := ""; !strings.Contains(seen, "\r\n\r\n"); {
		n, err := c.Read(buf)
		seen += string(buf[:n])
		if err != nil {
			return
		}
	}
}

func want(t *testing.T, err error, kind Kind) *Error {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || !errors.Is(err, kind) || KindOf(err) != kind {
		t.Fatalf("got %v, want %s", err, kind)
	}
	return e
}

func TestDo(t *testing.T) {
	t.Parallel()
	t.Run("brings back status, headers, body, address and times", func(t *testing.T) {
		t.Parallel()
		b := setup(t, ForWebhook, func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			w.Header().Set("X-Seen", strings.TrimSpace(r.Method+" "+r.UserAgent()+" "+r.Header.Get("Accept-Encoding")))
			w.WriteHeader(http.StatusTeapot)
			_, _ = w.Write(body)
		})
		res, err := b.client.Do(t.Context(), Request{Method: "POST", URL: b.url + "/x?y", Body: []byte("hello"), Header: Header{"Host": {"evil.test"}}})
		if err != nil {
			t.Fatal(err)
		}
		if res.Status != 418 || string(res.Body) != "hello" || res.Header.Get("X-Seen") != "POST enrichd" || res.Truncated ||
			res.URL != b.url+"/x?y" || res.RemoteIP.String() != "127.0.0.1" {
			t.Errorf("%+v", res)
		}
		if tm := res.Timings; tm.Connect <= 0 || tm.FirstByte <= 0 || tm.Total < tm.FirstByte || tm.TLS != 0 {
			t.Errorf("%+v", tm)
		}
		again, err := b.client.Do(t.Context(), Request{URL: b.url})
		if err != nil || again.Timings.Connect != 0 {
			t.Error("the connection was not kept:", again.Timings, err)
		}
	})
	t.Run("resolves names through the policy's server", func(t *testing.T) {
		t.Parallel()
		ns := serveDNS(t, map[string][]string{"ada.example-site.test": {"A 127.0.0.1"}})
		b := setup(t, ForCrawl, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Host) })
		b.policy.Resolver = ns.addr
		c := client(t, b.policy, ForCrawl)
		host := fmt.Sprintf("ada.example-site.test:%d", portOf(t, b.url))
		res, err := c.Do(t.Context(), Request{URL: "http://" + host})
		if err != nil || string(res.Body) != host || res.Timings.DNS <= 0 {
			t.Errorf("%+v %v", res, err)
		}
		_, err = c.Do(t.Context(), Request{URL: fmt.Sprintf("http://nobody.test:%d", portOf(t, b.url))})
		if e := want(t, err, Broken); e.Phase != PhaseDNS || !errors.Is(err, ErrNoName) {
			t.Error(e)
		}
	})
	t.Run("tells a cancelled caller from a deadline", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		b := setup(t, ForCrawl, func(_ http.ResponseWriter, r *http.Request) { cancel(); <-r.Context().Done() })
		_, err := b.client.Do(ctx, Request{URL: b.url})
		want(t, err, Cancelled)
		short, stop := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer stop()
		_, err = b.client.Do(short, Request{URL: b.url})
		want(t, err, Timeout)
	})
}

// Not parallel, because it sets the environment.
func TestProxiesOfTheEnvironmentAreIgnored(t *testing.T) {
	var proxied atomic.Int32
	proxy := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { proxied.Add(1) }))
	defer proxy.Close()
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"} {
		t.Setenv(name, proxy.URL)
	}
	ns := serveDNS(t, map[string][]string{"site.test": {"A 127.0.0.1"}})
	b := setup(t, ForCrawl, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "direct") })
	b.policy.Resolver = ns.addr
	res, err := client(t, b.policy, ForCrawl).Do(t.Context(), Request{URL: fmt.Sprintf("http://site.test:%d/", portOf(t, b.url))})
	if err != nil || string(res.Body) != "direct" || proxied.Load() != 0 {
		t.Error(string(res.Body), err, proxied.Load())
	}
}

func TestGuardOnTheSocket(t *testing.T) {
	t.Parallel()
	var hits atomic.Int32
	secret := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits.Add(1) }))
	t.Cleanup(secret.Close)
	port := portOf(t, secret.URL)
	at := func(host string) string { return fmt.Sprintf("http://%s:%d/", host, port) }

	t.Run("refuses a name that leads to loopback", func(t *testing.T) {
		ns := serveDNS(t, map[string][]string{
			"evil.example.com": {"A 127.0.0.1"}, "alias.example.com": {"CNAME evil.example.com."},
			"mapped.example.com": {"AAAA ::ffff:127.0.0.1"}, "mappedpublic.example.com": {"AAAA ::ffff:1.1.1.1"}, "six.example.com": {"AAAA ::1"},
			"zero.example.com": {"A 0.0.0.0"}, "nat.example.com": {"AAAA 64:ff9b::7f00:1"},
		})
		c := client(t, Policy{Resolver: ns.addr, Ports: []uint16{port}}, ForCrawl)
		for name := range ns.zone {
			_, err := c.Do(t.Context(), Request{URL: at(strings.TrimSuffix(name, "."))})
			if e := want(t, err, Refused); e.Reason != "address" || e.Phase != PhaseConnect {
				t.Error(name, e)
			}
		}
		_, err := c.Do(t.Context(), Request{URL: at("localhost.example.net")})
		want(t, err, Broken)
	})
	t.Run("refuses a name server that changes its mind", func(t *testing.T) {
		ns := serveDNS(t, nil)
		// First a permitted address, at which the check at save or a first visit succeeds, then loopback.
		ns.changes("rebind.example.com", []string{"A 127.0.0.9"}, []string{"A 127.0.0.1"})
		first, err := net.Listen("tcp", fmt.Sprintf("127.0.0.9:%d", port))
		if err != nil {
			t.Skip("no second loopback address:", err)
		}
		s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Connection", "close") })}
		served := make(chan struct{})
		go func() { defer close(served); _ = s.Serve(first) }()
		t.Cleanup(func() { s.Close(); <-served })
		c := client(t, Policy{Resolver: ns.addr, Ports: []uint16{port}, Allow: prefixes("127.0.0.9/32")}, ForCrawl)
		if _, err := c.Do(t.Context(), Request{URL: at("rebind.example.com")}); err != nil {
			t.Fatal(err)
		}
		_, err = c.Do(t.Context(), Request{URL: at("rebind.example.com")})
		want(t, err, Refused)
	})
	t.Run("passes over a refused address among permitted ones", func(t *testing.T) {
		ns := serveDNS(t, map[string][]string{"mixed.example.com": {"A 10.0.0.1", "A 169.254.169.254", "AAAA ::1", "A 127.0.0.1"}})
		c := client(t, Policy{Resolver: ns.addr, Ports: []uint16{port}, Allow: loopback}, ForCrawl)
		res, err := c.Do(t.Context(), Request{URL: at("mixed.example.com")})
		if err != nil || res.RemoteIP.String() != "127.0.0.1" {
			t.Error(res.RemoteIP, err)
		}
		hits.Add(-1)
	})
	t.Run("refuses redirects into the inside, and to other schemes", func(t *testing.T) {
		for _, location := range []string{"http://169.254.169.254/latest/meta-data/", "http://10.0.0.1/", "file:///etc/passwd", "gopher://127.0.0.1/",
			"//[::1]/", "http://2130706433/", "http://u:p@example.com/", "http://127.0.0.1:1/"} {
			b := setup(t, ForCrawl, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", location)
				w.WriteHeader(http.StatusFound)
			})
			_, err := b.client.Do(t.Context(), Request{URL: b.url})
			if e := want(t, err, Refused); e.Phase != PhaseRedirect {
				t.Error(location, e)
			}
		}
	})
	t.Run("refuses in the socket's own check what passed everything before", func(t *testing.T) {
		d := NewDialer(Policy{}, port)
		for _, c := range [][2]string{{"tcp4", secret.Listener.Addr().String()}, {"tcp4", "1.1.1.1:22"}, {"udp4", fmt.Sprintf("1.1.1.1:%d", port)}, {"unix", "/tmp/x"}, {"tcp6", fmt.Sprintf("[fe80::1%%lo]:%d", port)}, {"tcp4", "1.1.1.1:0"}} {
			if err := d.control(t.Context(), c[0], c[1], nil); !errors.Is(err, Refused) {
				t.Error(c, err)
			}
		}
		if err := d.control(t.Context(), "tcp4", fmt.Sprintf("1.1.1.1:%d", port), nil); err != nil {
			t.Error(err)
		}
	})
	t.Run("dials for others under the same rules", func(t *testing.T) {
		d := NewDialer(Policy{Allow: loopback}, port)
		conn, err := d.DialContext(t.Context(), "tcp", secret.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
		for _, address := range []string{"127.0.0.1:1", "127.0.0.1", "127.1:" + fmt.Sprint(port), "127.0.0.1:x"} {
			if _, err := d.DialContext(t.Context(), "tcp", address); !errors.Is(err, Refused) {
				t.Error(address, err)
			}
		}
		_, err = NewDialer(Policy{}, port).DialContext(t.Context(), "tcp", secret.Listener.Addr().String())
		want(t, err, Refused)
	})
	t.Run("does not use a connection from before the policy changed", func(t *testing.T) {
		b := setup(t, ForCrawl, func(http.ResponseWriter, *http.Request) {})
		if _, err := b.client.Do(t.Context(), Request{URL: b.url}); err != nil {
			t.Fatal(err)
		}
		b.client.SetPolicy(Policy{Ports: b.policy.Ports})
		_, err := b.client.Do(t.Context(), Request{URL: b.url})
		want(t, err, Refused)
	})
	if hits.Load() != 0 {
		t.Errorf("the inside was reached %d times", hits.Load())
	}
}

func TestRedirects(t *testing.T) {
	t.Parallel()
	chain := func(w http.ResponseWriter, r *http.Request) {
		var n int
		fmt.Sscanf(r.URL.Path, "/%d", &n)
		if n == 0 {
			fmt.Fprint(w, "end")
			return
		}
		http.Redirect(w, r, fmt.Sprintf("/%d", n-1), http.StatusMovedPermanently)
	}
	t.Run("follows five for a crawl and no more", func(t *testing.T) {
		t.Parallel()
		b := setup(t, ForCrawl, chain)
		var asked []string
		res, err := b.client.Do(t.Context(), Request{URL: b.url + "/5", OnRedirect: func(_ context.Context, u *url.URL) error {
			asked = append(asked, u.Path)
			return nil
		}})
		if err != nil || string(res.Body) != "end" || res.Redirects != 5 || res.URL != b.url+"/0" || len(asked) != 5 {
			t.Errorf("%+v %v %v", res, err, asked)
		}
		_, err = b.client.Do(t.Context(), Request{URL: b.url + "/6"})
		want(t, err, TooManyRedirects)
		_, err = b.client.Do(t.Context(), Request{URL: b.url + "/2", MaxRedirects: 1})
		want(t, err, TooManyRedirects)
	})
	t.Run("gives a webhook the redirect as its answer", func(t *testing.T) {
		t.Parallel()
		b := setup(t, ForWebhook, chain)
		for _, r := range []Request{{URL: b.url + "/1"}, {URL: b.url + "/1", Method: "POST", MaxRedirects: 3}} {
			res, err := b.client.Do(t.Context(), r)
			if err != nil || res.Status != 301 || res.Redirects != 0 {
				t.Errorf("%+v %v", res, err)
			}
		}
	})
	t.Run("never redirects a body", func(t *testing.T) {
		t.Parallel()
		b := setup(t, ForAPI, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/other", http.StatusTemporaryRedirect)
		})
		res, err := b.client.Do(t.Context(), Request{Method: "POST", URL: b.url, Body: []byte("x")})
		if err != nil || res.Status != 307 {
			t.Error(res.Status, err)
		}
	})
	t.Run("asks the caller, whose no can be recognised", func(t *testing.T) {
		t.Parallel()
		b := setup(t, ForCrawl, chain)
		no := errors.New("robots.txt forbids it")
		_, err := b.client.Do(t.Context(), Request{URL: b.url + "/1", OnRedirect: func(context.Context, *url.URL) error { return no }})
		if want(t, err, Refused); !errors.Is(err, no) {
			t.Error(err)
		}
	})
	t.Run("keeps secrets from another site", func(t *testing.T) {
		t.Parallel()
		got := make(chan Header, 2)
		other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got <- r.Header.Clone() }))
		t.Cleanup(other.Close)
		b := setup(t, ForAPI, func(w http.ResponseWriter, r *http.Request) {
			got <- r.Header.Clone()
			http.Redirect(w, r, other.URL, http.StatusFound)
		})
		b.policy.Ports = append(b.policy.Ports, portOf(t, other.URL))
		h := Header{"Authorization": {"Bearer s"}, "X-Api-Key": {"s"}, "Cookie": {"s"}, "Accept": {"application/json"}, "User-Agent": {"ua"}}
		if _, err := client(t, b.policy, ForAPI).Do(t.Context(), Request{URL: b.url, Header: h}); err != nil {
			t.Fatal(err)
		}
		if first := <-got; first.Get("Authorization") == "" || first.Get("X-Api-Key") == "" {
			t.Error("the first site was not told:", first)
		}
		second := <-got
		if second.Get("Authorization") != "" || second.Get("X-Api-Key") != "" || second.Get("Cookie") != "" || second.Get("Accept") != "application/json" || second.Get("User-Agent") != "ua" {
			t.Error(second)
		}
	})
}

package egress

import (
	"bytes"
	"compress/gzip"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestLimits(t *testing.T) {
	t.Parallel()
	packed := func(n int) []byte {
		var buf bytes.Buffer
		zw := gzip.NewWriter(&buf)
		_, _ = io.CopyN(zw, zeros{}, int64(n))
		zw.Close()
		return buf.Bytes()
	}
	t.Run("stops an endless body", func(t *testing.T) {
		t.Parallel()
		b := setup(t, ForCrawl, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.Copy(w, zeros{}) })
		res, err := b.client.Do(t.Context(), Request{URL: b.url, MaxBytes: 100_000})
		if want(t, err, TooLarge); len(res.Body) != 100_000 || !res.Truncated || res.Status != 200 {
			t.Error(len(res.Body), res.Truncated)
		}
		res, err = b.client.Do(t.Context(), Request{URL: b.url, MaxBytes: 1000, Truncate: true})
		if err != nil || len(res.Body) != 1000 || !res.Truncated {
			t.Error(len(res.Body), err)
		}
	})
	t.Run("takes a body of exactly the limit", func(t *testing.T) {
		t.Parallel()
		b := setup(t, ForCrawl, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 1000)) })
		res, err := b.client.Do(t.Context(), Request{URL: b.url, MaxBytes: 1000})
		if err != nil || len(res.Body) != 1000 || res.Truncated {
			t.Error(len(res.Body), err)
		}
		_, err = b.client.Do(t.Context(), Request{URL: b.url, MaxBytes: 999})
		want(t, err, TooLarge)
	})
	t.Run("does not read a body that announces itself as too large", func(t *testing.T) {
		t.Parallel()
		u := raw(t, func(c net.Conn) {
			readRequest(c)
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n")
			_, _ = c.Read(make([]byte, 1)) // waits for the other side to leave
		})
		_, err := rawClient(t, u).Do(t.Context(), Request{URL: u})
		want(t, err, TooLarge)
	})
	t.Run("unpacks gzip, and refuses what grows too much", func(t *testing.T) {
		t.Parallel()
		bodies := map[string][]byte{"/honest": packed(60_000), "/bomb": packed(400_000), "/large": nil, "/bad": []byte("no gzip"), "/cut": packed(50_000)[:40], "/empty": nil}
		b := setup(t, ForCrawl, func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Accept-Encoding") != "gzip" {
				t.Error("gzip was not asked for")
			}
			w.Header().Set("Content-Encoding", "gzip")
			if r.URL.Path == "/large" { // empty members for ever: many bytes, no text
				for member := packed(0); ; {
					if _, err := w.Write(member); err != nil {
						return
					}
				}
			}
			_, _ = w.Write(bodies[r.URL.Path])
		})
		res, err := b.client.Do(t.Context(), Request{URL: b.url + "/honest"})
		if err != nil || len(res.Body) != 60_000 {
			t.Error(len(res.Body), err)
		}
		for path, kind := range map[string]Kind{"/bomb": Bomb, "/large": TooLarge, "/bad": Broken, "/cut": Broken} {
			_, err := b.client.Do(t.Context(), Request{URL: b.url + path, Timeout: 5 * time.Second})
			if KindOf(err) != kind {
				t.Errorf("%s: %v, want %s", path, err, kind)
			}
		}
		if res, err := b.client.Do(t.Context(), Request{URL: b.url + "/empty"}); err != nil || len(res.Body) != 0 {
			t.Error(err)
		}
	})
	t.Run("refuses an encoding that was not asked for", func(t *testing.T) {
		t.Parallel()
		b := setup(t, ForCrawl, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip, gzip")
			_, _ = w.Write([]byte("x"))
		})
		_, err := b.client.Do(t.Context(), Request{URL: b.url})
		want(t, err, Broken)
	})
	t.Run("ends a body that drips, by the attempt's deadline", func(t *testing.T) {
		t.Parallel()
		b := setup(t, ForWebhook, func(w http.ResponseWriter, r *http.Request) {
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for {
				fmt.Fprint(w, ".")
				w.(http.Flusher).Flush()
				select {
				case <-tick.C:
				case <-r.Context().Done():
					return
				}
			}
		})
		res, err := b.client.Do(t.Context(), Request{URL: b.url, Timeout: 200 * time.Millisecond})
		if e := want(t, err, Timeout); e.Phase != PhaseBody || res.Status != 200 || len(res.Body) == 0 || res.Timings.Total > 2*time.Second {
			t.Errorf("%v %+v", e, res.Timings)
		}
	})
	t.Run("ends a server that accepts and never answers", func(t *testing.T) {
		t.Parallel()
		u := raw(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
		res, err := rawClient(t, u).Do(t.Context(), Request{URL: u, Timeout: 100 * time.Millisecond})
		if e := want(t, err, Timeout); e.Phase != PhaseHeaders || res.Status != 0 || !res.RemoteIP.IsValid() || res.Timings.Total > 2*time.Second {
			t.Errorf("%v %+v", e, res)
		}
	})
	t.Run("calls a connection that is reset in mid-body broken", func(t *testing.T) {
		t.Parallel()
		u := raw(t, func(c net.Conn) {
			readRequest(c)
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
			_ = c.(*net.TCPConn).SetLinger(0)
		})
		res, err := rawClient(t, u).Do(t.Context(), Request{URL: u})
		if e := want(t, err, Broken); e.Phase != PhaseBody || res.Status != 200 {
			t.Errorf("%v %+v", e, res)
		}
	})
	t.Run("refuses endless headers and nonsense", func(t *testing.T) {
		t.Parallel()
		for _, f := range []func(net.Conn){
			func(c net.Conn) {
				fmt.Fprint(c, "HTTP/1.1 200 OK\r\n")
				for {
					if _, err := fmt.Fprintf(c, "X-A: %s\r\n", strings.Repeat("a", 1000)); err != nil {
						return
					}
				}
			},
			func(c net.Conn) { fmt.Fprint(c, "SSH-2.0-OpenSSH\r\n") },
			func(net.Conn) {},
		} {
			u := raw(t, func(c net.Conn) { readRequest(c); f(c) })
			_, err := rawClient(t, u).Do(t.Context(), Request{URL: u, Timeout: 5 * time.Second})
			want(t, err, Broken)
		}
	})
	t.Run("says where nobody listens", func(t *testing.T) {
		t.Parallel()
		l, _ := net.Listen("tcp", "127.0.0.1:0")
		u := "http://" + l.Addr().String()
		l.Close()
		_, err := rawClient(t, u).Do(t.Context(), Request{URL: u})
		if e := want(t, err, Broken); e.Phase != PhaseConnect {
			t.Error(e)
		}
	})
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestTLS(t *testing.T) {
	t.Parallel()
	var conns atomic.Int32
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Proto) }))
	s.EnableHTTP2 = true
	s.Config.ConnState = func(_ net.Conn, st http.ConnState) {
		if st == http.StateNew {
			conns.Add(1)
		}
	}
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // refused handshakes are the test's own doing
	s.StartTLS()
	t.Cleanup(s.Close)
	port := portOf(t, s.URL)
	ns := serveDNS(t, map[string][]string{"example.com": {"A 127.0.0.1"}, "www.example.com": {"A 127.0.0.1"}, "other.test": {"A 127.0.0.1"}})
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	p := Policy{Allow: loopback, Ports: []uint16{port}, Resolver: ns.addr, RootCAs: pool}
	at := func(host string) Request { return Request{URL: fmt.Sprintf("https://%s:%d/", host, port)} }

	t.Run("speaks HTTP/2, one connection for each name", func(t *testing.T) {
		c := client(t, p, ForCrawl)
		before := conns.Load()
		for _, host := range []string{"example.com", "www.example.com", "example.com"} {
			res, err := c.Do(t.Context(), at(host))
			if err != nil || string(res.Body) != "HTTP/2.0" {
				t.Errorf("%s: %s %v", host, res.Body, err)
			}
		}
		if n := conns.Load() - before; n != 2 {
			t.Errorf("%d connections for two names on one address with one certificate, want 2", n)
		}
	})
	t.Run("verifies the name and the issuer", func(t *testing.T) {
		_, err := client(t, p, ForCrawl).Do(t.Context(), at("other.test"))
		if e := want(t, err, Broken); e.Phase != PhaseTLS {
			t.Error(e)
		}
		strange := p
		strange.RootCAs = x509.NewCertPool()
		_, err = client(t, strange, ForCrawl).Do(t.Context(), at("example.com"))
		if e := want(t, err, Broken); e.Phase != PhaseTLS {
			t.Error(e)
		}
	})
	t.Run("speaks nothing older than TLS 1.2", func(t *testing.T) {
		old := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		old.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
		old.Config.ErrorLog = s.Config.ErrorLog
		old.StartTLS()
		defer old.Close()
		pool := x509.NewCertPool()
		pool.AddCert(old.Certificate())
		q := Policy{Allow: loopback, Ports: []uint16{portOf(t, old.URL)}, RootCAs: pool}
		_, err := client(t, q, ForCrawl).Do(t.Context(), Request{URL: old.URL})
		want(t, err, Broken)
	})
}

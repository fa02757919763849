package egress

import (
	"crypto/tls"
	"net"
	"net/http/httptrace"
	"net/netip"
	"sync"
	"time"
)

// Timings say where an attempt's time went. DNS, Connect and TLS are those of
// the last connection and zero when it was reused; FirstByte is from the start
// of the last hop to its first byte; Total is everything, the body included.
type Timings struct {
	DNS, Connect, TLS, FirstByte, Total time.Duration
}

// watch follows one attempt. The transport calls it from several goroutines: a
// dial may go on for another request after this one took an idle connection.
type watch struct {
	mu                        sync.Mutex
	began, hopBegan           time.Time
	dnsBegan, connBegan, tlsB time.Time
	last                      string
	t                         Timings
	remote                    netip.Addr
	connected                 bool
}

func newWatch() *watch { return &watch{began: time.Now(), last: PhaseURL} }

func (w *watch) with(f func(now time.Time)) {
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	f(now)
}

// hop begins a request.
func (w *watch) hop() {
	w.with(func(now time.Time) {
		w.hopBegan, w.last, w.connected = now, PhaseConnect, false
		w.dnsBegan, w.connBegan, w.tlsB = time.Time{}, time.Time{}, time.Time{}
		w.t = Timings{}
	})
}

// headers says that a hop's header fields are complete.
func (w *watch) headers() { w.with(func(time.Time) { w.last = PhaseBody }) }

func (w *watch) phase() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last
}

func (w *watch) result() (Timings, netip.Addr) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.t.Total = time.Since(w.began)
	return w.t, w.remote
}

// step notes a stage of connecting, unless a connection was already found.
func (w *watch) step(phase string, f func(now time.Time)) {
	w.with(func(now time.Time) {
		if !w.connected {
			w.last = phase
			f(now)
		}
	})
}

func (w *watch) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		DNSStart: func(httptrace.DNSStartInfo) { w.step(PhaseDNS, func(now time.Time) { w.dnsBegan = now }) },
		DNSDone:  func(httptrace.DNSDoneInfo) { w.step(PhaseDNS, func(now time.Time) { w.t.DNS = now.Sub(w.dnsBegan) }) },
		ConnectStart: func(string, string) {
			w.step(PhaseConnect, func(now time.Time) {
				if w.connBegan.IsZero() {
					w.connBegan = now
				}
			})
		},
		ConnectDone: func(_, _ string, err error) {
			if err == nil {
				w.step(PhaseConnect, func(now time.Time) { w.t.Connect = now.Sub(w.connBegan) })
			}
		},
		TLSHandshakeStart: func() { w.step(PhaseTLS, func(now time.Time) { w.tlsB = now }) },
		TLSHandshakeDone: func(tls.ConnectionState, error) {
			w.step(PhaseTLS, func(now time.Time) { w.t.TLS = now.Sub(w.tlsB) })
		},
		GotConn: func(info httptrace.GotConnInfo) {
			w.with(func(time.Time) {
				w.last, w.connected, w.remote = PhaseSend, true, address(info.Conn.RemoteAddr())
				if info.Reused {
					w.t.DNS, w.t.Connect, w.t.TLS = 0, 0, 0
				}
			})
		},
		WroteRequest: func(info httptrace.WroteRequestInfo) {
			if info.Err == nil {
				w.with(func(time.Time) { w.last = PhaseHeaders })
			}
		},
		GotFirstResponseByte: func() { w.with(func(now time.Time) { w.t.FirstByte = now.Sub(w.hopBegan) }) },
	}
}

func address(a net.Addr) netip.Addr {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

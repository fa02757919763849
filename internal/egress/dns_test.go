package egress

import (
	"net"
	"sync"
	"testing"

	"github.com/miekg/dns"
)

// nameServer is a real DNS server on loopback, UDP and TCP on one port, that
// answers from zone lines; a name without any is NXDOMAIN.
type nameServer struct {
	addr string

	mu sync.Mutex
	// records of a name, in presentation format; nil value: the name exists without records.
	zone map[string][]string
	// turns of a name: each query takes the next, the last stays.
	turns map[string][][]string
	rcode map[string]int
}

func serveDNS(t testing.TB, zone map[string][]string) *nameServer {
	t.Helper()
	s := &nameServer{zone: map[string][]string{}, turns: map[string][][]string{}, rcode: map[string]int{}}
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
		started := make(chan struct{})
		server.NotifyStartedFunc = func() { close(started) }
		done := make(chan struct{})
		go func() { defer close(done); _ = server.ActivateAndServe() }()
		<-started
		t.Cleanup(func() { _ = server.Shutdown(); <-done })
	}
	return s
}

// fails makes the server answer name with rcode; -1 is silence.
func (s *nameServer) fails(name string, rcode int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rcode[dns.CanonicalName(name)] = rcode
}

// changes makes the server answer each query for an address of name with the next turn.
func (s *nameServer) changes(name string, turns ...[]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.turns[dns.CanonicalName(name)] = turns
}

func (s *nameServer) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	m := new(dns.Msg)
	m.SetReply(q)
	name := dns.CanonicalName(q.Question[0].Name)
	s.mu.Lock()
	records, ok := s.zone[name]
	if turns := s.turns[name]; len(turns) > 0 && q.Question[0].Qtype == dns.TypeA {
		records, ok = turns[0], true
		if len(turns) > 1 {
			s.turns[name] = turns[1:]
		}
	}
	rcode := s.rcode[name]
	s.mu.Unlock()
	switch {
	case rcode == -1:
		return // says nothing
	case rcode != 0:
		m.Rcode = rcode
	case !ok:
		m.Rcode = dns.RcodeNameError
	}
	for _, text := range records {
		rr, err := dns.NewRR(q.Question[0].Name + " 60 IN " + text)
		if err != nil {
			panic(err)
		}
		if h := rr.Header(); h.Rrtype == q.Question[0].Qtype || h.Rrtype == dns.TypeCNAME {
			m.Answer = append(m.Answer, rr)
		}
	}
	if w.RemoteAddr().Network() == "udp" {
		size := dns.MinMsgSize
		if o := q.IsEdns0(); o != nil {
			size = int(o.UDPSize())
		}
		m.Truncate(size)
	}
	_ = w.WriteMsg(m)
}

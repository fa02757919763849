package sandbox

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"

	"github.com/miekg/dns"
)

// zone is everything that the DNS server knows.
type zone struct {
	records map[string][]dns.RR // by canonical name
	exists  map[string]bool     // names that have records, and those above them
	fails   []string            // canonical names for which, and below which, the server fails
}

// loadZone reads the mail zone and gives every host the address of loopback.
func loadZone(hosts, fails []string) (*zone, error) {
	z := &zone{records: map[string][]dns.RR{}, exists: map[string]bool{}}
	raw, err := files.ReadFile("testdata/names.zone")
	if err != nil {
		return nil, err
	}
	parser := dns.NewZoneParser(bytes.NewReader(raw), ".", "names.zone")
	for rr, ok := parser.Next(); ok; rr, ok = parser.Next() {
		z.add(rr)
	}
	if err := parser.Err(); err != nil {
		return nil, fmt.Errorf("names.zone: %w", err)
	}
	loopback := netip.MustParseAddr("127.0.0.1").AsSlice()
	for _, host := range hosts {
		z.add(&dns.A{Hdr: dns.RR_Header{Name: dns.Fqdn(host), Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60}, A: loopback})
	}
	for _, name := range fails {
		z.fails = append(z.fails, dns.CanonicalName(name))
	}
	return z, nil
}

func (z *zone) add(rr dns.RR) {
	name := dns.CanonicalName(rr.Header().Name)
	z.records[name] = append(z.records[name], rr)
	for at, end := 0, false; !end; at, end = dns.NextLabel(name, at) {
		z.exists[name[at:]] = true
	}
}

// answer makes the reply to a query. A name without the records asked for is an
// empty answer (NODATA); one that nothing is known of does not exist (RFC 8020).
func (z *zone) answer(query *dns.Msg) *dns.Msg {
	reply := new(dns.Msg).SetReply(query)
	reply.RecursionAvailable = true
	if len(query.Question) != 1 {
		reply.Rcode = dns.RcodeFormatError
		return reply
	}
	q := query.Question[0]
	name := dns.CanonicalName(q.Name)
	switch {
	case query.Opcode != dns.OpcodeQuery:
		reply.Rcode = dns.RcodeNotImplemented
	case q.Qclass != dns.ClassINET:
		reply.Rcode = dns.RcodeRefused
	case slices.ContainsFunc(z.fails, func(above string) bool { return dns.IsSubDomain(above, name) }):
		reply.Rcode = dns.RcodeServerFailure
	default:
		for _, rr := range z.records[name] {
			if rr.Header().Rrtype == q.Qtype || q.Qtype == dns.TypeANY {
				rr = dns.Copy(rr)
				rr.Header().Name = q.Name // with the case that was asked
				reply.Answer = append(reply.Answer, rr)
			}
		}
		if !z.exists[name] {
			reply.Rcode = dns.RcodeNameError
		}
		if len(reply.Answer) == 0 {
			reply.Ns = []dns.RR{soa()}
		}
	}
	if edns := query.IsEdns0(); edns != nil {
		reply.SetEdns0(dns.DefaultMsgSize, false)
	}
	return reply
}

// soa bounds how long a negative answer is kept (RFC 2308).
func soa() dns.RR {
	return &dns.SOA{
		Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: 60},
		Ns:  "ns.sandbox.test.", Mbox: "hostmaster.sandbox.test.", Serial: 1, Refresh: 3600, Retry: 600, Expire: 86400, Minttl: 60,
	}
}

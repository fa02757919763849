package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// ErrNoName says that the name does not exist: a clean NXDOMAIN. A name that
// exists without the records asked for is an empty answer and no error; every
// other error means that nothing could be found out.
var ErrNoName = errors.New("no such name")

// MX is one mail exchanger. Host is in lower case without trailing dot; "" is the root, the null MX of RFC 7505.
type MX struct {
	Host       string
	Preference uint16
}

// Resolver asks DNS and keeps three answers apart: records (or none), no such
// name, and failure. The zero value uses the system's configuration.
type Resolver struct {
	// Server is "host" or "host:port"; "" is /etc/resolv.conf, and where there is none the platform's own resolver.
	Server string
}

const (
	resolvConf = "/etc/resolv.conf"
	// ednsSize keeps answers below the smallest common path limit, so that they are never fragmented (DNS flag day 2020).
	ednsSize  = 1232
	maxCNAMEs = 8
)

// tryTimeouts bound the rounds over all servers: a lost packet costs one second.
var tryTimeouts = []time.Duration{time.Second, 2 * time.Second}

// Addrs returns the IPv4 and IPv6 addresses of name. One family's answer is
// enough; with none, a failure of either family is a failure.
func (r *Resolver) Addrs(ctx context.Context, name string) ([]netip.Addr, error) {
	servers, err := r.servers()
	if err != nil {
		return nil, err
	}
	if servers == nil {
		return notFoundIsEmpty(platformAddrs(ctx, name))
	}
	type answer struct {
		addrs []netip.Addr
		err   error
	}
	ask := func(qtype uint16) answer {
		rrs, err := r.lookup(ctx, servers, name, qtype)
		var a answer
		a.err = err
		for _, rr := range rrs {
			switch rr := rr.(type) {
			case *dns.A:
				if ip, ok := netip.AddrFromSlice(rr.A); ok {
					a.addrs = append(a.addrs, ip.Unmap())
				}
			case *dns.AAAA:
				// Not unmapped: a mapped address in AAAA is somebody's trick and is refused as what it is.
				if ip, ok := netip.AddrFromSlice(rr.AAAA); ok {
					a.addrs = append(a.addrs, ip)
				}
			}
		}
		return a
	}
	second := make(chan answer, 1)
	go func() { second <- ask(dns.TypeAAAA) }()
	v4, v6 := ask(dns.TypeA), <-second

	addrs := append(v4.addrs, v6.addrs...)
	switch {
	case len(addrs) > 0:
		return addrs, nil
	case v4.err != nil && !errors.Is(v4.err, ErrNoName):
		return nil, v4.err
	case v6.err != nil && !errors.Is(v6.err, ErrNoName):
		return nil, v6.err
	case v4.err != nil && v6.err != nil:
		return nil, ErrNoName
	}
	return nil, nil
}

// MX returns the mail exchangers of name, best preference first.
func (r *Resolver) MX(ctx context.Context, name string) ([]MX, error) {
	servers, err := r.servers()
	if err != nil {
		return nil, err
	}
	var out []MX
	if servers == nil {
		records, err := notFoundIsEmpty(net.DefaultResolver.LookupMX(ctx, name))
		if err != nil {
			return nil, err
		}
		for _, mx := range records {
			out = append(out, MX{Host: hostName(mx.Host), Preference: mx.Pref})
		}
	} else {
		rrs, err := r.lookup(ctx, servers, name, dns.TypeMX)
		if err != nil {
			return nil, err
		}
		for _, rr := range rrs {
			if mx, ok := rr.(*dns.MX); ok {
				out = append(out, MX{Host: hostName(mx.Mx), Preference: mx.Preference})
			}
		}
	}
	slices.SortFunc(out, func(a, b MX) int {
		if a.Preference != b.Preference {
			return int(a.Preference) - int(b.Preference)
		}
		return strings.Compare(a.Host, b.Host)
	})
	return out, nil
}

// TXT returns the text records of name, the strings of each joined.
func (r *Resolver) TXT(ctx context.Context, name string) ([]string, error) {
	servers, err := r.servers()
	if err != nil {
		return nil, err
	}
	if servers == nil {
		return notFoundIsEmpty(net.DefaultResolver.LookupTXT(ctx, name))
	}
	rrs, err := r.lookup(ctx, servers, name, dns.TypeTXT)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, rr := range rrs {
		if txt, ok := rr.(*dns.TXT); ok {
			out = append(out, strings.Join(txt.Txt, ""))
		}
	}
	return out, nil
}

// host resolves a name to dial it. With the system's configuration this goes
// through the platform's resolver, which also knows /etc/hosts and search domains.
func (r *Resolver) host(ctx context.Context, name string) ([]netip.Addr, error) {
	if r.Server == "" {
		return platformAddrs(ctx, name)
	}
	if name == "localhost" || strings.HasSuffix(name, ".localhost") {
		// RFC 6761, section 6.3: never asked of a server.
		return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}, nil
	}
	addrs, err := r.Addrs(ctx, name)
	if err == nil && len(addrs) == 0 {
		err = errors.New("the name has no address")
	}
	return addrs, err
}

// servers lists whom to ask; nil without error is the platform's resolver.
func (r *Resolver) servers() ([]string, error) {
	if r.Server != "" {
		host, port, err := net.SplitHostPort(r.Server)
		if err != nil {
			host, port = strings.Trim(r.Server, "[]"), "53"
		}
		if host == "" || port == "" {
			return nil, fmt.Errorf("DNS server %q: want host:port", r.Server)
		}
		return []string{net.JoinHostPort(host, port)}, nil
	}
	// Read anew each time: containers and laptops change it while we run, and it is small.
	conf, err := dns.ClientConfigFromFile(resolvConf)
	if err != nil || len(conf.Servers) == 0 {
		return nil, nil
	}
	servers := make([]string, len(conf.Servers))
	for i, s := range conf.Servers {
		servers[i] = net.JoinHostPort(s, conf.Port)
	}
	return servers, nil
}

// lookup returns the records of one type, following CNAMEs; also across
// answers, because an authoritative server gives only its own part of a chain.
func (r *Resolver) lookup(ctx context.Context, servers []string, name string, qtype uint16) ([]dns.RR, error) {
	owner := dns.CanonicalName(name)
	if _, ok := dns.IsDomainName(owner); !ok {
		return nil, fmt.Errorf("%q is not a domain name", name)
	}
	for range maxCNAMEs {
		reply, err := exchange(ctx, servers, owner, qtype)
		if err != nil {
			return nil, err
		}
		asked := owner
		for range maxCNAMEs {
			next := alias(reply.Answer, owner)
			if next == "" {
				break
			}
			owner = next
		}
		var found []dns.RR
		for _, rr := range reply.Answer {
			if rr.Header().Rrtype == qtype && dns.CanonicalName(rr.Header().Name) == owner {
				found = append(found, rr)
			}
		}
		switch {
		case len(found) > 0:
			return found, nil
		case reply.Rcode == dns.RcodeNameError:
			return nil, fmt.Errorf("%s: %w", name, ErrNoName)
		case owner == asked:
			return nil, nil
		}
	}
	return nil, fmt.Errorf("%s: more than %d aliases", name, maxCNAMEs)
}

func alias(answer []dns.RR, owner string) string {
	for _, rr := range answer {
		if c, ok := rr.(*dns.CNAME); ok && dns.CanonicalName(c.Hdr.Name) == owner {
			return dns.CanonicalName(c.Target)
		}
	}
	return ""
}

// exchange asks the servers in turn until one answers with records, none, or
// NXDOMAIN; anything else a server says is its own trouble, so the next is asked.
func exchange(ctx context.Context, servers []string, owner string, qtype uint16) (*dns.Msg, error) {
	var last error
	for _, timeout := range tryTimeouts {
		for _, server := range servers {
			reply, err := exchangeOnce(ctx, server, owner, qtype, timeout)
			if err == nil {
				return reply, nil
			}
			last = err
			if ctx.Err() != nil {
				return nil, fmt.Errorf("look up %s: %w", owner, ctx.Err())
			}
		}
	}
	return nil, fmt.Errorf("look up %s: %w", owner, last)
}

func exchangeOnce(ctx context.Context, server, owner string, qtype uint16, timeout time.Duration) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	q := new(dns.Msg)
	q.SetQuestion(owner, qtype)
	q.SetEdns0(ednsSize, false)
	client := &dns.Client{Net: "udp", Timeout: timeout}
	reply, _, err := client.ExchangeContext(ctx, q, server)
	if err == nil && reply.Truncated {
		client.Net = "tcp"
		reply, _, err = client.ExchangeContext(ctx, q, server)
	}
	switch {
	case err != nil:
		return nil, err
	case !reply.Response || len(reply.Question) != 1 || reply.Question[0].Qtype != qtype ||
		dns.CanonicalName(reply.Question[0].Name) != owner:
		return nil, errors.New("the answer is to another question")
	case reply.Rcode != dns.RcodeSuccess && reply.Rcode != dns.RcodeNameError:
		return nil, fmt.Errorf("the server answered %s", dns.RcodeToString[reply.Rcode])
	}
	return reply, nil
}

func platformAddrs(ctx context.Context, name string) ([]netip.Addr, error) {
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", name)
	for i := range addrs {
		addrs[i] = addrs[i].Unmap()
	}
	return addrs, err
}

// notFoundIsEmpty reads the platform resolver's "not found", which does not tell
// a name without records from no such name, as the weaker of the two.
func notFoundIsEmpty[T any](found []T, err error) ([]T, error) {
	var dnsErr *net.DNSError
	if errors.As(err, &dnsErr) && dnsErr.IsNotFound {
		return nil, nil
	}
	return found, err
}

func hostName(fqdn string) string {
	return strings.ToLower(strings.TrimSuffix(fqdn, "."))
}

package egress

import (
	"context"
	"errors"
	"net"
	"net/http/httptrace"
	"net/netip"
	"slices"
	"strconv"
	"syscall"
	"time"
)

const (
	dnsTimeout     = 3 * time.Second
	connectTimeout = 3 * time.Second
	// nextAddressAfter is how long one address may take before the next is tried beside it (RFC 8305).
	nextAddressAfter = 250 * time.Millisecond
	maxAddresses     = 8
)

// Dialer opens TCP connections under a policy. It is what Client dials with,
// and what anything that is not HTTP must dial with.
type Dialer struct {
	policy   Policy
	ports    []uint16
	resolver *Resolver
}

// NewDialer makes a dialer for exactly the given ports, the policy's extra ones included.
func NewDialer(p Policy, ports ...uint16) *Dialer {
	return &Dialer{policy: p, ports: append(slices.Clone(ports), p.Ports...), resolver: &Resolver{Server: p.Resolver}}
}

// DialContext connects to "host:port" over tcp, tcp4 or tcp6. Each address that
// the name has is judged when its socket is about to connect; refused ones are
// passed over, and when none is left the error is of kind Refused. Other errors
// are the network's own, or of kind Timeout. Looking the name up and connecting may take 3 s each.
func (d *Dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := splitAddress(address)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(d.ports, port) || port == 0 {
		return nil, refuse(PhaseConnect, "port", "port %d is not permitted", port)
	}
	addrs, err := d.lookup(ctx, host)
	if err != nil {
		return nil, err
	}
	addrs = inDialOrder(network, addrs)
	if len(addrs) == 0 {
		return nil, &Error{Kind: Broken, Phase: PhaseDNS, Detail: "the name has no usable address"}
	}
	return d.dialAny(ctx, network, addrs, port)
}

func splitAddress(address string) (host string, port uint16, err error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, refuse(PhaseConnect, "host", "not host:port")
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return "", 0, refuse(PhaseConnect, "port", "port %q is not a port", text)
	}
	return host, uint16(n), nil
}

// lookup resolves host, telling the request's trace about it as net.Dialer would.
func (d *Dialer) lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}, nil
	}
	if endsInNumber(host) {
		return nil, refuse(PhaseConnect, "host", "not an address in plain dotted form")
	}
	if t := httptrace.ContextClientTrace(ctx); t != nil && t.DNSStart != nil && t.DNSDone != nil {
		t.DNSStart(httptrace.DNSStartInfo{Host: host})
		defer t.DNSDone(httptrace.DNSDoneInfo{})
	}
	ctx, cancel := context.WithTimeout(ctx, dnsTimeout)
	defer cancel()
	addrs, err := d.resolver.host(ctx, host)
	switch {
	case err == nil:
		return addrs, nil
	case ctx.Err() != nil:
		return nil, &Error{Kind: Timeout, Phase: PhaseDNS, Err: err}
	default:
		return nil, &Error{Kind: Broken, Phase: PhaseDNS, Err: err}
	}
}

// inDialOrder drops the family that network excludes and alternates the rest, IPv6 first.
func inDialOrder(network string, addrs []netip.Addr) []netip.Addr {
	var v4, v6, out []netip.Addr
	for _, a := range addrs {
		switch {
		case a.Is4() && network != "tcp6":
			v4 = append(v4, a)
		case a.Is6() && network != "tcp4":
			v6 = append(v6, a)
		}
	}
	for i := range max(len(v4), len(v6)) {
		if i < len(v6) {
			out = append(out, v6[i])
		}
		if i < len(v4) {
			out = append(out, v4[i])
		}
	}
	return out
}

// dialAny tries the addresses in order, the next one as soon as the one before
// failed or has taken nextAddressAfter, and returns the first connection.
func (d *Dialer) dialAny(ctx context.Context, network string, addrs []netip.Addr, port uint16) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	if len(addrs) > maxAddresses {
		addrs = addrs[:maxAddresses]
	}
	type result struct {
		conn net.Conn
		err  error
	}
	results := make(chan result)
	dial := func(a netip.Addr) {
		// Judged here so that a mapped address is seen as what it is, before net makes IPv4 of it; the socket's own check
		// in control is the one that counts.
		if err := d.policy.judge(a); err != nil {
			select {
			case results <- result{nil, err}:
			case <-ctx.Done():
			}
			return
		}
		nd := &net.Dialer{ControlContext: d.control, KeepAlive: 30 * time.Second}
		conn, err := nd.DialContext(ctx, network, netip.AddrPortFrom(a, port).String())
		select {
		case results <- result{conn, err}:
		case <-ctx.Done():
			if conn != nil {
				conn.Close()
			}
		}
	}
	var failure error
	var wait <-chan time.Time
	for pending := 0; len(addrs) > 0 || pending > 0; {
		if len(addrs) > 0 && (pending == 0 || wait == nil) {
			go dial(addrs[0])
			addrs = addrs[1:]
			pending++
			wait = time.After(nextAddressAfter)
		}
		select {
		case r := <-results:
			if r.err == nil {
				return r.conn, nil
			}
			pending--
			wait = nil
			// A refusal says less than a failure to reach an address that was permitted.
			if failure == nil || errors.Is(failure, Refused) {
				failure = r.err
			}
		case <-wait:
			wait = nil
		case <-ctx.Done():
			if failure != nil && !errors.Is(failure, Refused) {
				return nil, failure
			}
			return nil, &Error{Kind: Timeout, Phase: PhaseConnect, Err: ctx.Err()}
		}
	}
	var own *Error
	if errors.As(failure, &own) {
		return nil, own
	}
	return nil, failure
}

// control judges the address that the socket is about to connect to: the last
// moment before a packet leaves, and the only one that no name server can come after.
func (d *Dialer) control(_ context.Context, network, address string, _ syscall.RawConn) error {
	if network != "tcp4" && network != "tcp6" {
		return refuse(PhaseConnect, "network", "%s is not permitted", network)
	}
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return refuse(PhaseConnect, "address", "%s cannot be judged", address)
	}
	if ap.Port() == 0 || !slices.Contains(d.ports, ap.Port()) {
		return refuse(PhaseConnect, "port", "port %d is not permitted", ap.Port())
	}
	return d.policy.judge(ap.Addr())
}

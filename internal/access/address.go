package access

import (
	"net/netip"
	"slices"
	"strings"
)

// Proxies are the networks whose word about the caller's address is taken.
type Proxies []netip.Prefix

// Client is the address a request comes from: the socket's peer (host:port),
// or, when that is a trusted proxy, the right-most address of X-Forwarded-For
// that is none. What stands left of that was written by somebody unknown. An
// entry that is no address ends the search at the proxy that passed it on.
func (p Proxies) Client(peer string, forwardedFor []string) netip.Addr {
	at, err := netip.ParseAddrPort(peer)
	if err != nil {
		return netip.Addr{}
	}
	client := at.Addr().Unmap().WithZone("")
	if len(p) == 0 {
		return client
	}
	hops := strings.Split(strings.Join(forwardedFor, ","), ",")
	for _, hop := range slices.Backward(hops) {
		if !p.trust(client) {
			break
		}
		before, ok := parseHop(hop)
		if !ok {
			break
		}
		client = before
	}
	return client
}

func (p Proxies) trust(addr netip.Addr) bool {
	return slices.ContainsFunc(p, func(n netip.Prefix) bool { return n.Contains(addr) })
}

// parseHop reads an address as proxies write it: bare, with a port, or in brackets.
func parseHop(s string) (netip.Addr, bool) {
	s = strings.TrimSpace(s)
	if withPort, err := netip.ParseAddrPort(s); err == nil {
		return withPort.Addr().Unmap().WithZone(""), true
	}
	addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"))
	return addr.Unmap().WithZone(""), err == nil
}

// source is what failures are counted by: one IPv4 address, or the /64 that one IPv6 host has to itself.
func source(addr netip.Addr) netip.Prefix {
	bits := 32
	if addr = addr.Unmap(); addr.Is6() {
		bits = 64
	}
	p, err := addr.Prefix(bits)
	if err != nil {
		return netip.Prefix{} // no address is known: all such callers share one count
	}
	return p
}

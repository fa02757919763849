package egress

import (
	"net/netip"
)

// special are the networks that a stranger's address may never lead to. Sources:
// the IANA special-purpose registries for IPv4 and IPv6 (RFC 6890 and its
// updates), and platform addresses of cloud providers that are public by number
// but answered by the host itself.
var special = prefixes(
	"0.0.0.0/8",         // this network (RFC 791)
	"10.0.0.0/8",        // private (RFC 1918)
	"100.64.0.0/10",     // shared address space (RFC 6598); includes the metadata service 100.100.100.200
	"127.0.0.0/8",       // loopback (RFC 1122)
	"168.63.129.16/32",  // Azure's platform service, reachable from every virtual machine there
	"169.254.0.0/16",    // link local (RFC 3927); includes the metadata service 169.254.169.254
	"172.16.0.0/12",     // private (RFC 1918)
	"192.0.0.0/24",      // IETF protocol assignments (RFC 6890); includes the metadata service 192.0.0.192
	"192.0.2.0/24",      // documentation (RFC 5737)
	"192.31.196.0/24",   // AS112 (RFC 7535)
	"192.52.193.0/24",   // AMT (RFC 7450)
	"192.88.99.0/24",    // 6to4 relays (RFC 7526)
	"192.168.0.0/16",    // private (RFC 1918)
	"192.175.48.0/24",   // AS112 (RFC 7534)
	"198.18.0.0/15",     // benchmarking (RFC 2544)
	"198.51.100.0/24",   // documentation (RFC 5737)
	"203.0.113.0/24",    // documentation (RFC 5737)
	"224.0.0.0/4",       // multicast (RFC 1112)
	"240.0.0.0/4",       // reserved (RFC 1112); includes broadcast
	"::/128",            // unspecified
	"::1/128",           // loopback
	"::/96",             // IPv4-compatible (RFC 4291)
	"::ffff:0:0/96",     // IPv4-mapped (RFC 4291)
	"64:ff9b::/96",      // NAT64 (RFC 6052)
	"64:ff9b:1::/48",    // local-use NAT64 (RFC 8215)
	"100::/64",          // discard only (RFC 6666)
	"2001::/23",         // IETF protocol assignments (RFC 2928); includes Teredo 2001::/32
	"2001:db8::/32",     // documentation (RFC 3849)
	"2002::/16",         // 6to4 (RFC 3056)
	"2620:4f:8000::/48", // AS112 (RFC 7534)
	"3fff::/20",         // documentation (RFC 9637)
	"5f00::/16",         // SRv6 (RFC 9602)
	"fc00::/7",          // unique local (RFC 4193); includes the metadata service fd00:ec2::254
	"fe80::/10",         // link local (RFC 4291)
	"fec0::/10",         // site local (RFC 3879)
	"ff00::/8",          // multicast (RFC 4291)
)

// globalUnicast is all of IPv6 that is assigned for the internet; what lies outside is refused unseen.
var globalUnicast = netip.MustParsePrefix("2000::/3")

func prefixes(texts ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(texts))
	for i, t := range texts {
		out[i] = netip.MustParsePrefix(t)
	}
	return out
}

func within(list []netip.Prefix, a netip.Addr) bool {
	for _, p := range list {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// judge says why a may not be visited, or nil. An IPv4 address hidden in an
// IPv6 one is judged too, so that allowing a NAT64 network does not open the
// private networks behind it.
func (p Policy) judge(a netip.Addr) error {
	switch {
	case !a.IsValid():
		return refuse(PhaseConnect, "address", "no address")
	case a.Zone() != "":
		return refuse(PhaseConnect, "address", "%s has a zone", a)
	case !within(p.Allow, a):
		if within(special, a) || (a.Is6() && !globalUnicast.Contains(a)) {
			return refuse(PhaseConnect, "address", "%s is not a public address", a)
		}
	}
	for _, v4 := range embedded(a) {
		if err := p.judge(v4); err != nil {
			return err
		}
	}
	return nil
}

// embedded returns the IPv4 addresses that a packet to a would be carried to or
// through: mapped, compatible, NAT64, 6to4, Teredo (RFC 4380: server in the
// clear, client inverted) and ISATAP (RFC 5214).
func embedded(a netip.Addr) []netip.Addr {
	if !a.Is6() {
		return nil
	}
	b := a.As16()
	at := func(i int) netip.Addr { return netip.AddrFrom4([4]byte(b[i : i+4])) }
	switch {
	case a.Is4In6(), nat64.Contains(a), nat64Local.Contains(a):
		return []netip.Addr{at(12)}
	case compatible.Contains(a) && a != netip.IPv6Unspecified() && a != netip.IPv6Loopback():
		return []netip.Addr{at(12)}
	case sixToFour.Contains(a):
		return []netip.Addr{at(2)}
	case teredo.Contains(a):
		client := [4]byte{^b[12], ^b[13], ^b[14], ^b[15]}
		return []netip.Addr{at(4), netip.AddrFrom4(client)}
	case b[8]&^0x03 == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe:
		return []netip.Addr{at(12)}
	}
	return nil
}

var (
	nat64      = netip.MustParsePrefix("64:ff9b::/96")
	nat64Local = netip.MustParsePrefix("64:ff9b:1::/48")
	compatible = netip.MustParsePrefix("::/96")
	sixToFour  = netip.MustParsePrefix("2002::/16")
	teredo     = netip.MustParsePrefix("2001::/32")
)

package egress

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"testing"

	"code.dny.dev/ssrf"
)

// Every row of the table in the design, first and last address of each network, and the forms that hide one.
var refusedAddresses = []string{
	"0.0.0.0", "0.255.255.255", "10.0.0.0", "10.255.255.255", "100.64.0.0", "100.127.255.255", "100.100.100.200",
	"127.0.0.1", "127.255.255.255", "169.254.0.0", "169.254.169.254", "169.254.255.255", "172.16.0.0", "172.31.255.255",
	"192.0.0.0", "192.0.0.192", "192.0.0.255", "192.0.2.1", "192.88.99.1", "192.168.0.0", "192.168.255.255",
	"198.18.0.0", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1",
	"255.255.255.255", "168.63.129.16", "192.31.196.1", "192.52.193.1", "192.175.48.1",
	"::", "::1", "fe80::1", "febf::1", "fc00::1", "fd00:ec2::254", "fdff::1", "ff02::1", "100::1", "100:0:0:1::1",
	"2001::1", "2001:1ff::1", "2001:db8::1", "2002::1", "3fff::1", "3fff:fff::1", "5f00::1", "fec0::1", "2620:4f:8000::1",
	"64:ff9b::8.8.8.8", "64:ff9b::127.0.0.1", "64:ff9b:1::8.8.8.8", "::ffff:8.8.8.8", "::ffff:127.0.0.1", "::8.8.8.8",
	"4000::1", "1fff::1", "8000::1", "fe80::1%lo", "2606:4700::1%eth0", "2002:7f00:1::1",
	"2606:4700::5efe:10.0.0.1", "2606:4700::200:5efe:127.0.0.1",
}

func TestJudge(t *testing.T) {
	t.Parallel()
	t.Run("refuses every special address", func(t *testing.T) {
		for _, s := range refusedAddresses {
			if err := (Policy{}).judge(netip.MustParseAddr(s)); !errors.Is(err, Refused) {
				t.Errorf("%s: %v", s, err)
			}
		}
		if err := (Policy{}).judge(netip.Addr{}); !errors.Is(err, Refused) {
			t.Error("no address:", err)
		}
	})
	t.Run("permits public addresses", func(t *testing.T) {
		for _, s := range []string{"1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0",
			"172.15.255.255", "172.32.0.0", "192.0.1.0", "192.167.255.255", "223.255.255.255", "2606:4700::1111", "2001:200::1", "2a00:1450:4001::5"} {
			if err := (Policy{}).judge(netip.MustParseAddr(s)); err != nil {
				t.Errorf("%s: %v", s, err)
			}
		}
	})
	t.Run("opens exactly what is allowed", func(t *testing.T) {
		p := Policy{Allow: prefixes("127.0.0.0/8", "fd00::/16")}
		for s, want := range map[string]bool{"127.0.0.1": true, "fd00::1": true, "10.0.0.1": false, "fd01::1": false, "::1": false, "::ffff:127.0.0.1": false} {
			if err := p.judge(netip.MustParseAddr(s)); (err == nil) != want {
				t.Errorf("%s: %v", s, err)
			}
		}
	})
	t.Run("judges the IPv4 address inside an allowed transition network", func(t *testing.T) {
		p := Policy{Allow: prefixes("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32", "::ffff:0:0/96", "::/96")}
		for s, want := range map[string]bool{
			"64:ff9b::8.8.8.8": true, "64:ff9b::127.0.0.1": false, "64:ff9b::169.254.169.254": false,
			"64:ff9b:1::8.8.8.8": true, "64:ff9b:1::10.0.0.1": false,
			"2002:808:808::1": true, "2002:7f00:1::1": false, "2002:a9fe:a9fe::1": false,
			"2001:0:808:808::f7f7:f7f7": true, "2001:0:808:808::80ff:fffe": false, "2001:0:a00:1::f7f7:f7f7": false,
			"::ffff:8.8.8.8": true, "::ffff:192.168.0.1": false, "::8.8.8.8": true, "::10.0.0.1": false,
		} {
			if err := p.judge(netip.MustParseAddr(s)); (err == nil) != want {
				t.Errorf("%s: %v", s, err)
			}
		}
	})
}

// Whatever an independent guard refuses, ours refuses as well.
func TestJudgeIsStricterThanAnother(t *testing.T) {
	t.Parallel()
	other := ssrf.New(ssrf.WithAnyPort())
	compare := func(a netip.Addr) {
		if other.SafeAddr(a) != nil && (Policy{}).judge(a) == nil {
			t.Errorf("%s is refused by the other, not by us", a)
		}
	}
	edge := func(p netip.Prefix) {
		first := p.Masked().Addr()
		compare(first)
		compare(first.Prev())
		b := first.AsSlice()
		for i := p.Bits(); i < len(b)*8; i++ {
			b[i/8] |= 0x80 >> (i % 8)
		}
		last, _ := netip.AddrFromSlice(b)
		compare(last)
		compare(last.Next())
	}
	for _, list := range [][]netip.Prefix{ssrf.IPv4DeniedPrefixes, ssrf.IPv6DeniedPrefixes, special} {
		for _, p := range list {
			edge(p)
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 400_000 {
		var b [16]byte
		for i := 0; i < 16; i += 8 {
			v := r.Uint64()
			for j := range 8 {
				b[i+j] = byte(v >> (8 * j))
			}
		}
		compare(netip.AddrFrom4([4]byte(b[:4])))
		b[0] = 0x20 | b[0]&0x1f
		compare(netip.AddrFrom16(b))
		b[0], b[1], b[2] = 0x20, 0x01, b[2]&3
		compare(netip.AddrFrom16(b))
	}
}

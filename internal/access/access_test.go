package access

import (
	"net/netip"
	"strings"
	"testing"
)

func TestToken(t *testing.T) {
	t.Parallel()
	for _, test := range []bool{true, false} {
		token := newToken(test)
		if len(token) != 44 || !plausible(token) {
			t.Errorf("%q is not a key of ours", token)
		}
		for i := len(livePrefix); i < len(token); i++ {
			typo := []byte(token)
			typo[i] = base62[(strings.IndexByte(base62, typo[i])+1)%62]
			if plausible(string(typo)) {
				t.Errorf("a typing error at %d went unnoticed", i)
			}
		}
	}
	for _, bad := range []string{"", "sk", "pk_live_x", "sk_" + strings.Repeat("x", 130), "sk_a b", "sk_\x00", "Bearer sk_live_"} {
		if plausible(bad) {
			t.Errorf("%q passes for a key", bad)
		}
	}
	if !plausible("sk_imported.from-elsewhere") {
		t.Error("a key of another form is refused before it was looked up")
	}
}

func TestScopes(t *testing.T) {
	t.Parallel()
	t.Run("a write scope implies the read scope of its pair, and admin everything", func(t *testing.T) {
		can := func(held, wanted Scope) bool { return (&Principal{Key: Key{Scopes: []Scope{held}}}).Can(wanted) }
		if !can(EnrichWrite, EnrichRead) || can(EnrichRead, EnrichWrite) || can(EnrichWrite, BillingRead) || !can(Admin, PrivacyWrite) {
			t.Error("scopes imply the wrong ones")
		}
	})
	t.Run("are read in each of their spellings", func(t *testing.T) {
		for _, s := range []string{"enrich:write", "ENRICH_WRITE", "write:enrich", " enrich_write "} {
			if got, ok := ParseScope(s); !ok || got != EnrichWrite {
				t.Errorf("%q is read as %q", s, got)
			}
		}
		for _, s := range []string{"", "read:*", "enrich", "ENRICH"} {
			if got, ok := ParseScope(s); ok {
				t.Errorf("%q is read as %q", s, got)
			}
		}
	})
}

func TestAllowedNetworks(t *testing.T) {
	t.Parallel()
	k := Key{AllowedIPs: []string{"192.168.1.0/24", "10.0.0.100", "2001:db8::/32"}}
	for addr, want := range map[string]bool{
		"192.168.1.7": true, "192.168.2.7": false, "10.0.0.100": true, "10.0.0.101": false,
		"::ffff:10.0.0.100": true, "2001:db8::1": true, "::1": false,
	} {
		if got := k.allows(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %v", addr, got)
		}
	}
	if !(&Key{}).allows(netip.MustParseAddr("203.0.113.9")) {
		t.Error("a key without networks is bound")
	}
}

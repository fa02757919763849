package access

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/uptrace/bun"

	"github.com/enrichd/enrichd/internal/fault"
	"github.com/enrichd/enrichd/internal/pg"
	"github.com/enrichd/enrichd/internal/pgtest"
	"github.com/enrichd/enrichd/internal/seal"
	"github.com/enrichd/enrichd/internal/wake"
)

var home = netip.MustParseAddr("192.0.2.1")

type bundle struct {
	*Service
	db  *pgtest.DB
	box *seal.Box
	hub *wake.Hub
}

func setup(t *testing.T) *bundle {
	t.Helper()
	box, err := seal.New(seal.NewKey())
	if err != nil {
		t.Fatal(err)
	}
	b := &bundle{db: pgtest.New(t), box: box, hub: wake.NewHub()}
	b.Service = b.node(t)
	return b
}

// node is one more process on the same database.
func (b *bundle) node(t *testing.T) *Service {
	t.Helper()
	s := &Service{DB: b.db.Bun, Box: b.box, Wake: b.hub}
	t.Cleanup(b.hub.Notify(s.Announced))
	return s
}

func (b *bundle) company(t *testing.T, name string) *Company {
	t.Helper()
	var c *Company
	err := pg.InTx(t.Context(), b.DB, func(ctx context.Context, tx bun.Tx) (err error) {
		c, err = b.CreateCompany(ctx, tx, name, "none")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (b *bundle) key(t *testing.T, in NewKey) (*Key, string) {
	t.Helper()
	if in.Scopes == nil {
		in.Scopes = []Scope{EnrichWrite}
	}
	k, token, err := b.CreateKey(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	return k, token
}

func TestKeyLife(t *testing.T) {
	t.Parallel()
	b := setup(t)
	c := b.company(t, "Acme")
	other := b.node(t)

	t.Run("a cached key costs no statement, and an announced revocation ends it on every node at once", func(t *testing.T) {
		t.Parallel()
		k, token := b.key(t, NewKey{CompanyID: c.ID})
		for _, node := range []*Service{b.Service, other} {
			if p, err := node.Authenticate(t.Context(), token, home); err != nil || p.Company.ID != c.ID || p.Key.ID != k.ID {
				t.Fatal(p, err)
			}
			// The announcement of any other key (the tests beside this one revoke theirs) keeps a reading out of the cache.
			trips := 0
			for range 20 {
				ctx, count := pg.CountStatements(t.Context())
				if _, err := node.Authenticate(ctx, token, home); err != nil {
					t.Fatal(err)
				}
				if trips = count.N(); trips == 0 {
					break
				}
			}
			if trips != 0 {
				t.Fatalf("%d round trips", trips)
			}
		}
		if _, err := b.Revoke(t.Context(), c.ID, k.ID); err != nil {
			t.Fatal(err)
		}
		for _, node := range []*Service{b.Service, other} {
			if _, err := node.Authenticate(t.Context(), token, home); !errors.Is(err, ErrInvalidKey) {
				t.Error(err)
			}
		}
	})
	t.Run("what was read before an announcement is not kept after it", func(t *testing.T) {
		t.Parallel()
		var c cache
		mark := c.mark()
		c.drop("another key")
		c.put([]byte("d"), &Principal{}, mark, time.Now(), time.Now())
		if p, _ := c.get([]byte("d"), time.Now()); p != nil {
			t.Error("a key read before a revocation lives on")
		}
		c.put([]byte("d"), &Principal{}, c.mark(), time.Now(), time.Now())
		if p, _ := c.get([]byte("d"), time.Now().Add(cachedFor)); p != nil {
			t.Error("the cache never ends")
		}
		c.clear()
		if p, _ := c.get([]byte("d"), time.Now()); p != nil {
			t.Error("a lost listener leaves the cache as it is")
		}
	})
	t.Run("a suspended key tells since when and why, and works again once resumed", func(t *testing.T) {
		t.Parallel()
		k, token := b.key(t, NewKey{CompanyID: c.ID})
		if _, err := b.Suspend(t.Context(), "", k.ID, "unpaid"); err != nil {
			t.Fatal(err)
		}
		_, err := other.Authenticate(t.Context(), token, home)
		if s := (Suspended{}); !errors.As(err, &s) || s.Reason != "unpaid" || time.Since(s.At) > time.Minute {
			t.Fatalf("%v", err)
		}
		if _, err := b.Resume(t.Context(), "", k.ID); err != nil {
			t.Fatal(err)
		}
		if _, err := other.Authenticate(t.Context(), token, home); err != nil {
			t.Fatal(err)
		}
		ended, err := b.Ended(t.Context(), []string{k.ID, "nobody"})
		if err != nil || !slices.Equal(ended, []string{"nobody"}) {
			t.Error(ended, err)
		}
	})
	t.Run("another company's key is not found, whatever one wants of it", func(t *testing.T) {
		t.Parallel()
		k, _ := b.key(t, NewKey{CompanyID: c.ID})
		stranger := b.company(t, "Stranger")
		for what, do := range map[string]func() (*Key, error){
			"revoke":  func() (*Key, error) { return b.Revoke(t.Context(), stranger.ID, k.ID) },
			"suspend": func() (*Key, error) { return b.Suspend(t.Context(), stranger.ID, k.ID, "") },
			"resume":  func() (*Key, error) { return b.Resume(t.Context(), stranger.ID, k.ID) },
			"hold":    func() (*Key, error) { return b.SetPersistedOnly(t.Context(), stranger.ID, k.ID, true) },
		} {
			if _, err := do(); !errors.As(err, &fault.NotFound{}) {
				t.Errorf("%s: %v", what, err)
			}
		}
	})
	t.Run("a key is held to known operations, and let go, on every node at once", func(t *testing.T) {
		t.Parallel()
		k, token := b.key(t, NewKey{CompanyID: c.ID, PersistedOnly: true})
		held := func(want bool) {
			t.Helper()
			for _, node := range []*Service{b.Service, other} {
				if p, err := node.Authenticate(t.Context(), token, home); err != nil || p.Key.PersistedOnly != want {
					t.Fatal(p, err)
				}
			}
		}
		held(true)
		for _, want := range []bool{false, false, true} {
			if changed, err := b.SetPersistedOnly(t.Context(), c.ID, k.ID, want); err != nil || changed.PersistedOnly != want {
				t.Fatal(changed, err)
			}
			held(want)
		}
		lines, err := b.Audit(t.Context(), k.ID)
		if err != nil || len(lines) != 3 || lines[1].Action != "may send any operation" || lines[2].Action != "may send known operations only" {
			t.Errorf("%v %v", lines, err)
		}
	})
	t.Run("two live keys may have one name, a third not before one is revoked", func(t *testing.T) {
		t.Parallel()
		first, _ := b.key(t, NewKey{CompanyID: c.ID, Label: "ats"})
		b.key(t, NewKey{CompanyID: c.ID, Label: "ats"})
		in := NewKey{CompanyID: c.ID, Label: "ats", Scopes: []Scope{EnrichRead}}
		if _, _, err := b.CreateKey(t.Context(), in); !errors.As(err, &fault.LimitExceeded{}) {
			t.Fatal(err)
		}
		b.key(t, NewKey{CompanyID: c.ID, Label: "ats", Test: true})
		if _, err := b.Revoke(t.Context(), c.ID, first.ID); err != nil {
			t.Fatal(err)
		}
		b.key(t, NewKey{CompanyID: c.ID, Label: "ats"})
		for range 4 {
			if k, _ := b.key(t, NewKey{CompanyID: c.ID}); k.Label != k.Prefix {
				t.Errorf("a key without a name is called %q", k.Label)
			}
		}
	})
	t.Run("everything that happens to a key is written down for good", func(t *testing.T) {
		t.Parallel()
		k, _ := b.key(t, NewKey{CompanyID: c.ID})
		admin := With(t.Context(), &Principal{Key: Key{ID: "admin-key"}})
		for _, do := range []func() (*Key, error){
			func() (*Key, error) { return b.Suspend(admin, "", k.ID, "why") },
			func() (*Key, error) { return b.Resume(t.Context(), "", k.ID) },
			func() (*Key, error) { return b.Resume(t.Context(), "", k.ID) },
			func() (*Key, error) { return b.Revoke(t.Context(), "", k.ID) },
			func() (*Key, error) { return b.Revoke(t.Context(), "", k.ID) },
		} {
			if _, err := do(); err != nil {
				t.Fatal(err)
			}
		}
		lines, err := b.Audit(t.Context(), k.ID)
		if err != nil {
			t.Fatal(err)
		}
		var said []string
		for _, l := range lines {
			said = append(said, strings.TrimSpace(l.Action+" "+l.Actor+" "+l.Detail))
		}
		if want := []string{"created cli", "suspended admin-key why", "resumed cli", "revoked cli"}; !slices.Equal(said, want) {
			t.Errorf("%q", said)
		}
		for _, sql := range []string{"UPDATE key_audit SET actor = 'x'", "DELETE FROM key_audit", "TRUNCATE key_audit"} {
			if _, err := b.DB.ExecContext(t.Context(), sql); err == nil {
				t.Errorf("%s succeeds", sql)
			}
		}
	})
}

func TestManagedCompanies(t *testing.T) {
	t.Parallel()
	b := setup(t)
	vendor, one, two, foreign := b.company(t, "Vendor"), b.company(t, "One"), b.company(t, "Two"), b.company(t, "Foreign")
	k, token := b.key(t, NewKey{CompanyID: vendor.ID, Manages: []string{one.ID, two.ID}})
	p, err := b.Authenticate(t.Context(), token, home)
	if err != nil {
		t.Fatal(err)
	}
	if as, err := p.For(two.ID); err != nil || as.Company.Name != "Two" || p.Company.ID != vendor.ID {
		t.Errorf("%+v, %v", as, err)
	}
	if _, err := p.For(""); !errors.As(err, &fault.InvalidInput{}) {
		t.Errorf("no company: %v", err)
	}
	for _, id := range []string{foreign.ID, vendor.ID, "x"} {
		if _, err := p.For(id); !errors.As(err, &fault.Forbidden{}) {
			t.Errorf("%s: %v", id, err)
		}
	}
	if err := b.Manage(t.Context(), k.ID, one.ID, false); err != nil {
		t.Fatal(err)
	}
	if err := b.Manage(t.Context(), k.ID, foreign.ID, true); err != nil {
		t.Fatal(err)
	}
	if p, err = b.Authenticate(t.Context(), token, home); err != nil {
		t.Fatal(err)
	}
	if _, err := p.For(one.ID); !errors.As(err, &fault.Forbidden{}) {
		t.Error(err)
	}
	if _, err := p.For(foreign.ID); err != nil || len(p.Managed()) != 2 {
		t.Error(err, p.Managed())
	}
	standard, token := b.key(t, NewKey{CompanyID: one.ID})
	if p, err = b.Authenticate(t.Context(), token, home); err != nil {
		t.Fatal(err)
	}
	if as, err := p.For(foreign.ID); err != nil || as.Company.ID != one.ID || len(p.Managed()) != 1 {
		t.Errorf("a standard key minds companyId: %+v, %v", as, err)
	}
	if err := b.Manage(t.Context(), standard.ID, two.ID, true); !errors.As(err, &fault.Conflict{}) {
		t.Error(err)
	}
}

func TestPeppers(t *testing.T) {
	t.Parallel()
	b := setup(t)
	c := b.company(t, "Acme")
	secret := func(fill byte) string { return hex.EncodeToString(bytes.Repeat([]byte{fill}, 32)) }
	withPeppers := func(spec string) *Service {
		peppers, err := ParsePeppers(spec)
		if err != nil {
			t.Fatal(err)
		}
		s := b.node(t)
		s.Peppers = peppers
		return s
	}
	k, token := b.key(t, NewKey{CompanyID: c.ID})
	version := func() (v int) {
		if err := b.DB.NewRaw("SELECT pepper FROM api_keys WHERE id = ?", k.ID).Scan(t.Context(), &v); err != nil {
			t.Fatal(err)
		}
		return v
	}
	// Each step is a deployment that adds the next pepper and drops the one before the last.
	for i, spec := range []string{"1:" + secret('a'), "2:" + secret('b') + ", 1:" + secret('a'), "3:" + secret('c') + ",2:" + secret('b')} {
		s := withPeppers(spec)
		for range 2 {
			if _, err := s.Authenticate(t.Context(), token, home); err != nil {
				t.Fatalf("%s: %v", spec, err)
			}
		}
		if version() != i+1 {
			t.Fatalf("the key stays under pepper %d", version())
		}
		if s := withPeppers(spec); true { // a node that starts afterwards finds it too
			if _, err := s.Authenticate(t.Context(), token, home); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := withPeppers("2:"+secret('b')+",1:"+secret('a')).Authenticate(t.Context(), token, home); !errors.Is(err, ErrInvalidKey) {
		t.Errorf("a key is known without its pepper: %v", err)
	}
	for _, bad := range []string{"x", "1:short", "0:" + secret('a'), "1:" + secret('a') + ",2:" + secret('b'), "3:" + secret('c') + ",2:" + secret('b') + ",1:" + secret('a')} {
		if _, err := ParsePeppers(bad); err == nil {
			t.Errorf("%q passes", bad)
		}
	}
}

func TestFailures(t *testing.T) {
	t.Parallel()
	b := setup(t)
	c := b.company(t, "Acme")
	_, token := b.key(t, NewKey{CompanyID: c.ID})
	guess := func(addr netip.Addr, i int) error {
		_, err := b.Authenticate(t.Context(), fmt.Sprintf("sk_guess_%d", i), addr)
		return err
	}
	for i := range DefaultFailures {
		if err := guess(home, i); !errors.Is(err, ErrInvalidKey) {
			t.Fatalf("guess %d: %v", i, err)
		}
	}
	err := guess(home, 99)
	if many := (TooManyFailures{}); !errors.As(err, &many) || many.RetryAfter <= 0 || many.RetryAfter > time.Minute {
		t.Fatal(err)
	}
	if _, err := b.Authenticate(t.Context(), token, home); err != nil {
		t.Errorf("a key that holds is refused for its neighbour's guesses: %v", err)
	}
	if err := guess(netip.MustParseAddr("192.0.2.2"), 0); !errors.Is(err, ErrInvalidKey) {
		t.Errorf("another address: %v", err)
	}
	ctx, count := pg.CountStatements(t.Context())
	for i := range 200 {
		_, _ = b.Authenticate(ctx, fmt.Sprintf("sk_more_%d", i), home)
	}
	if count.N() > DefaultFailures+5 {
		t.Errorf("%d look-ups for an address without failures left", count.N())
	}
	for range 100 {
		if _, err := b.Authenticate(t.Context(), "", home); !errors.Is(err, ErrInvalidKey) {
			t.Fatalf("no key is no guess: %v", err)
		}
	}
	six := func(s string) netip.Addr { return netip.MustParseAddr(s) }
	for i := range DefaultFailures {
		_ = guess(six(fmt.Sprintf("2001:db8::%x", i)), i)
	}
	if err := guess(six("2001:db8::ffff"), 0); !errors.As(err, &TooManyFailures{}) {
		t.Errorf("one IPv6 host has many tries: %v", err)
	}
}

func TestClientAddress(t *testing.T) {
	t.Parallel()
	trusted := Proxies{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")}
	for _, c := range []struct {
		name, peer string
		forwarded  []string
		proxies    Proxies
		want       string
	}{
		{"the socket's, without proxies", "203.0.113.9:1", []string{"1.1.1.1"}, nil, "203.0.113.9"},
		{"the socket's, when it is no trusted proxy", "203.0.113.9:1", []string{"1.1.1.1"}, trusted, "203.0.113.9"},
		{"what the proxy says", "10.0.0.1:1", []string{"203.0.113.9"}, trusted, "203.0.113.9"},
		{"the right-most that is no proxy", "10.0.0.1:1", []string{"6.6.6.6, 203.0.113.9, 10.2.2.2"}, trusted, "203.0.113.9"},
		{"over several headers", "10.0.0.1:1", []string{"6.6.6.6, 203.0.113.9", "10.2.2.2"}, trusted, "203.0.113.9"},
		{"with ports and brackets", "[2001:db8::1]:443", []string{"[2a00::5]:99"}, trusted, "2a00::5"},
		{"v4 written as v6", "[::ffff:10.0.0.1]:1", []string{"::ffff:203.0.113.9"}, trusted, "203.0.113.9"},
		{"the proxy's own, when it says nothing", "10.0.0.1:1", nil, trusted, "10.0.0.1"},
		{"the proxy's own, when it says nonsense", "10.0.0.1:1", []string{"203.0.113.9, unknown"}, trusted, "10.0.0.1"},
		{"the last, when all are proxies", "10.0.0.1:1", []string{"10.1.1.1, 10.2.2.2"}, trusted, "10.1.1.1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := c.proxies.Client(c.peer, c.forwarded); got.String() != c.want {
				t.Errorf("%s, not %s", got, c.want)
			}
		})
	}
	if (Proxies{}).Client("@", nil).IsValid() {
		t.Error("an address out of nothing")
	}
}

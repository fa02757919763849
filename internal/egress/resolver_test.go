package egress

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

func TestResolver(t *testing.T) {
	t.Parallel()
	many := make([]string, 150)
	for i := range many {
		many[i] = fmt.Sprintf("A 192.0.2.%d", i)
	}
	ns := serveDNS(t, map[string][]string{
		"both.test":  {"A 192.0.2.1", "AAAA 2001:db8::1"},
		"four.test":  {"A 192.0.2.4"},
		"empty.test": nil,
		"mail.test":  {"MX 20 B.mail.test.", "MX 10 a.mail.test.", "TXT \"v=spf1 \" \"-all\""},
		"null.test":  {"MX 0 ."},
		"alias.test": {"CNAME next.test."},
		"next.test":  {"CNAME both.test."},
		"gone.test":  {"CNAME nowhere.test."},
		"loop1.test": {"CNAME loop2.test."},
		"loop2.test": {"CNAME loop1.test."},
		"many.test":  many,
	})
	ns.fails("broken.test", dns.RcodeServerFailure)
	ns.fails("refused.test", dns.RcodeRefused)
	r := &Resolver{Server: ns.addr}
	ctx := t.Context()

	addrs := func(name string) string {
		found, err := r.Addrs(ctx, name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		return fmt.Sprint(found)
	}
	t.Run("gives both families", func(t *testing.T) {
		if got := addrs("BOTH.test."); got != "[192.0.2.1 2001:db8::1]" {
			t.Error(got)
		}
	})
	t.Run("gives one family when there is only one", func(t *testing.T) {
		if got := addrs("four.test"); got != "[192.0.2.4]" {
			t.Error(got)
		}
	})
	t.Run("tells a name without records from no such name", func(t *testing.T) {
		if got := addrs("empty.test"); got != "[]" {
			t.Error(got)
		}
		if _, err := r.Addrs(ctx, "nowhere.test"); !errors.Is(err, ErrNoName) {
			t.Error(err)
		}
		if _, err := r.MX(ctx, "nowhere.test"); !errors.Is(err, ErrNoName) {
			t.Error(err)
		}
	})
	t.Run("takes a server's trouble for failure, not for a no", func(t *testing.T) {
		for _, name := range []string{"broken.test", "refused.test", strings.Repeat("a", 64) + ".test"} {
			if _, err := r.MX(ctx, name); err == nil || errors.Is(err, ErrNoName) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
	t.Run("follows aliases across answers", func(t *testing.T) {
		if got := addrs("alias.test"); got != "[192.0.2.1 2001:db8::1]" {
			t.Error(got)
		}
		if _, err := r.Addrs(ctx, "gone.test"); !errors.Is(err, ErrNoName) {
			t.Error(err)
		}
		if _, err := r.Addrs(ctx, "loop1.test"); err == nil || errors.Is(err, ErrNoName) {
			t.Error(err)
		}
	})
	t.Run("asks again over TCP when the answer was cut", func(t *testing.T) {
		found, err := r.Addrs(ctx, "many.test")
		if err != nil || len(found) != len(many) {
			t.Error(len(found), err)
		}
	})
	t.Run("orders mail exchangers by preference and shows the null one", func(t *testing.T) {
		mx, err := r.MX(ctx, "mail.test")
		if want := []MX{{"a.mail.test", 10}, {"b.mail.test", 20}}; err != nil || !slices.Equal(mx, want) {
			t.Error(mx, err)
		}
		mx, err = r.MX(ctx, "null.test")
		if want := []MX{{"", 0}}; err != nil || !slices.Equal(mx, want) {
			t.Error(mx, err)
		}
	})
	t.Run("joins the strings of a text record", func(t *testing.T) {
		txt, err := r.TXT(ctx, "mail.test")
		if err != nil || !slices.Equal(txt, []string{"v=spf1 -all"}) {
			t.Error(txt, err)
		}
	})
	t.Run("gives up when its context ends", func(t *testing.T) {
		ns.fails("silent.test", -1)
		short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		defer cancel()
		began := time.Now()
		if _, err := r.MX(short, "silent.test"); err == nil || errors.Is(err, ErrNoName) {
			t.Error(err)
		}
		if took := time.Since(began); took > time.Second {
			t.Error("took", took)
		}
	})
	t.Run("needs a server that can be asked", func(t *testing.T) {
		if _, err := (&Resolver{Server: ":"}).MX(ctx, "mail.test"); err == nil {
			t.Error("no error")
		}
	})
}

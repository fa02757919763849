package pipeline

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"
)

// verdict is what the verifier said about one address.
type verdict struct {
	key   string
	check EmailCheck
}

// addressKey is what an address is compared by. Mailbox names are compared
// without case: no provider of note tells two apart that differ only in it.
func addressKey(address string) string { return strings.ToLower(strings.TrimSpace(address)) }

// published answers the addresses that accepted records show and whose source
// lets them be used for contact, best first, at most limit.
func published(f *fuser, limit int) []string {
	values := f.values(FieldEmails, addressKey)
	slices.SortStableFunc(values, func(a, b value) int {
		return cmp.Or(cmp.Compare(b.confidence, a.confidence), strings.Compare(a.key, b.key))
	})
	addresses := []string{}
	for _, v := range values[:min(limit, len(values))] {
		addresses = append(addresses, v.text)
	}
	return addresses
}

// check has one address checked, once.
func (g *gather) check(ctx context.Context, address string) {
	key := addressKey(address)
	slice := min(g.cfg.Slice, g.cfg.VerifyEnd-g.elapsed())
	if g.early[key] || len(g.early) >= cap(g.verdicts) || slice <= 0 || g.r.Verifier == nil {
		return
	}
	g.early[key] = true
	unknown := func(reason string) func() verdict {
		return func() verdict { return verdict{key, untold(address, reason)} }
	}
	away(g.r, ctx, slice, g.cfg.Grace,
		func(ctx context.Context) verdict { return verdict{key, g.r.Verifier.Check(ctx, address, true)} },
		unknown("timeout"), unknown("temporary"),
		func(v verdict) { g.verdicts <- v })
}

// verify waits for the checks of the addresses on records accepted in the end,
// and answers them by addressKey. What does not come by the end of the window is UNKNOWN.
func (g *gather) verify(ctx context.Context, k Known) map[string]EmailCheck {
	f := fuser{cfg: g.cfg, order: g.r.order(), policies: g.r.policies(), known: k}
	addresses := published(&f, g.cfg.Addresses)
	g.progress.Stage(Verify, len(addresses) == 0)
	for _, address := range addresses {
		g.check(ctx, address)
	}
	window := time.NewTimer(max(g.cfg.VerifyEnd-g.elapsed(), 0) + g.cfg.Grace)
	defer window.Stop()
	checks := map[string]EmailCheck{}
	for _, address := range addresses {
		key := addressKey(address)
		for g.early[key] {
			if check, ok := g.checks[key]; ok {
				checks[key] = check
				break
			}
			select {
			case v := <-g.verdicts:
				g.checks[v.key] = v.check
			case <-window.C:
				g.checks[key] = untold(address, "timeout")
				window.Reset(0)
			}
		}
	}
	return checks
}

// untold is the check of an address about which nothing could be learnt.
func untold(address, reason string) EmailCheck {
	return EmailCheck{Address: address, Status: EmailUnknown, Method: EmailDNSOnly, Reasons: []string{reason}}
}

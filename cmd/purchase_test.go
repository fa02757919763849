package cmd_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// atOnce calls f so many times at the same moment, and counts what it was told.
func atOnce(times int, f func(i int) string) map[string]int {
	var mu sync.Mutex
	told := map[string]int{}
	gate := make(chan struct{})
	var group sync.WaitGroup
	for i := range times {
		group.Go(func() {
			<-gate
			answer := f(i)
			mu.Lock()
			defer mu.Unlock()
			told[answer]++
		})
	}
	close(gate)
	group.Wait()
	return told
}

// TestMoneyAtOnce sends one purchase, one close and one start a hundred times at
// the same moment, to two servers in turn: each has one effect, and everybody is told of it.
func TestMoneyAtOnce(t *testing.T) {
	t.Parallel()
	const times = 100
	w := newWorld(t)
	env := append(w.env, "ENRICHD_RATE_LIMITS=false")
	on := []*node{serve(t, env, "--roles", "api"), serve(t, env, "--roles", "api")}
	at := func(c caller, i int) caller { return caller{on[i%2].url, c.key} }
	entries := func(company, kind string) int {
		return w.count(t, "SELECT count(*) FROM billing_entries AS e JOIN billing_accounts AS a ON a.id = e.account_id WHERE a.company_id = ? AND e.kind = ?", company, kind)
	}
	grants := func(company string) int {
		return w.count(t, "SELECT count(*) FROM billing_grants AS g JOIN billing_accounts AS a ON a.id = g.account_id WHERE a.company_id = ? AND g.origin = 'PURCHASE'", company)
	}
	// buy returns what the answer names: the entry and the balance, or the refusal and the state it speaks of.
	buy := func(t *testing.T, c caller, key, reference string) string {
		var out struct {
			PurchaseCredits struct {
				Entry      *struct{ ID, Kind string }
				Balance    *struct{ Available int }
				UserErrors []struct{ Code, State string }
			}
		}
		c.ask(t, `mutation($in: PurchaseCreditsInput!) { purchaseCredits(input: $in) {
			entry { id kind } balance { available } userErrors { code ... on Conflict { state } } } }`,
			map[string]any{"in": map[string]any{"idempotencyKey": key, "credits": 25, "paymentReference": reference}}, &out)
		p := out.PurchaseCredits
		if p.Entry == nil || p.Balance == nil {
			return fmt.Sprint(p.UserErrors)
		}
		return fmt.Sprint(p.Entry.Kind, " ", p.Entry.ID, " ", p.Balance.Available)
	}

	t.Run("one purchase: one grant, one entry, one answer", func(t *testing.T) {
		me := w.tenant(t, on[0], 5)
		told := atOnce(times, func(i int) string { return buy(t, at(me.caller, i), "callback", "pay_1") })
		first := buy(t, me.caller, "callback", "pay_1")
		if len(told) != 1 || told[first] != times {
			t.Errorf("%q afterwards; at once %v", first, told)
		}
		if n, m := entries(me.company, "PURCHASE"), grants(me.company); n != 1 || m != 1 {
			t.Errorf("%d entries, %d grants", n, m)
		}
		me.expectBalance(t, 30, 0)
	})
	t.Run("one payment under a hundred keys: credited once, and the others are told so", func(t *testing.T) {
		me := w.tenant(t, on[0], 0)
		told := atOnce(times, func(i int) string { return buy(t, at(me.caller, i), fmt.Sprint("callback-", i), "pay_1") })
		if len(told) != 2 || told["[{CONFLICT CREDITED}]"] != times-1 {
			t.Errorf("%v", told)
		}
		if n, m := entries(me.company, "PURCHASE"), grants(me.company); n != 1 || m != 1 {
			t.Errorf("%d entries, %d grants", n, m)
		}
		me.expectBalance(t, 25, 0)
	})
	t.Run("one start over REST and GraphQL mixed: one run, one hold", func(t *testing.T) {
		me := w.tenant(t, on[0], 40)
		profiles := w.importAll(t, me.company).pick(t, inFlight...)
		told := atOnce(times, func(i int) string {
			c := at(me.caller, i)
			if i%4 < 2 {
				r := c.start(t, profiles, "", "Idempotency-Key", "once")
				if r.status != http.StatusAccepted {
					return fmt.Sprint(r.status, " ", string(r.body))
				}
				var out struct{ RequestID string }
				r.decode(t, &out)
				return out.RequestID
			}
			var out startAnswer
			c.ask(t, startMutation, map[string]any{"in": map[string]any{"idempotencyKey": "once", "profileIds": profiles}}, &out)
			if s := out.StartEnrichment; s.Run != nil && len(s.UserErrors) == 0 {
				return s.Run.RequestID
			}
			return fmt.Sprintf("%+v", out)
		})
		if len(told) != 1 {
			t.Errorf("%v", told)
		}
		if n, m := w.count(t, "SELECT count(*) FROM runs WHERE company_id = ?", me.company), entries(me.company, "RESERVE"); n != 1 || m != 1 {
			t.Errorf("%d runs, %d holds", n, m)
		}
		me.expectBalance(t, 40-len(profiles), len(profiles))
	})
	t.Run("one close: one invoice, one number, one answer", func(t *testing.T) {
		var company struct{ ID string }
		must(t, w.env, &company, "company", "create", "--name", "Later", "--billing", "postpaid", "--plan", "scale")
		_, admin := newKey(t, w.env, on[0], company.ID, "--scopes", "ADMIN,READ_BILLING,BILLING_WRITE")
		var price struct{ Price string }
		must(t, w.env, &price, "price", "set", "0.05", "EUR", "--company", company.ID, "--from", "2020-01-01")
		if s := w.cli(t, "credits", "adjust", "--company", company.ID, "--credits", "-7", "--memo", "work by hand"); s.status != 0 {
			t.Fatalf("%+v", s)
		}
		var open struct {
			BillingAccount struct {
				Invoices struct{ Nodes []struct{ ID string } }
			}
		}
		admin.ask(t, `{ billingAccount { invoices(first: 1) { nodes { id } } } }`, nil, &open)
		id := open.BillingAccount.Invoices.Nodes[0].ID
		if _, err := w.db.Bun.ExecContext(t.Context(), "CREATE OR REPLACE FUNCTION billing_now() RETURNS timestamptz LANGUAGE sql VOLATILE AS 'SELECT clock_timestamp() + interval ''32 days'''"); err != nil {
			t.Fatal(err)
		}
		told := atOnce(times, func(i int) string {
			var out struct {
				CloseInvoice struct {
					Invoice *struct {
						ID, Status, Number string
						Total              struct{ Amount string }
					}
					UserErrors []userError
				}
			}
			at(admin, i).ask(t, `mutation($in: CloseInvoiceInput!) { closeInvoice(input: $in) { invoice { id status number total { amount } } userErrors { code message } } }`,
				map[string]any{"in": map[string]any{"id": id}}, &out)
			if i := out.CloseInvoice.Invoice; i != nil {
				return fmt.Sprint(i.ID, " ", i.Status, " ", i.Number, " ", i.Total.Amount)
			}
			return fmt.Sprint(out.CloseInvoice.UserErrors)
		})
		if told[id+" CLOSED INV-00000001 0.35"] != times {
			t.Errorf("%v", told)
		}
		if n, m := entries(company.ID, "INVOICE"), w.count(t, "SELECT value FROM billing_counters WHERE name = 'INVOICE'"); n != 1 || m != 1 {
			t.Errorf("%d entries, %d numbers", n, m)
		}
	})
	if s := w.cli(t, "audit"); s.status != 0 {
		t.Errorf("%+v", s)
	}
}

// TestLeftover makes a prepaid company with credits left a postpaid one, from the command line.
func TestLeftover(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var company struct{ ID string }
	must(t, w.env, &company, "company", "create", "--name", "Acme", "--credits", "12", "--plan", "scale")
	set := func(flags ...string) said {
		return w.cli(t, append([]string{"company", "set", company.ID, "--mode", "postpaid"}, flags...)...)
	}
	if s := set(); s.status != 1 || !strings.Contains(s.stderr, "--credit-leftover") || !strings.Contains(s.stderr, "--credits -12") {
		t.Errorf("%+v", s)
	}
	if s := set("--credit-leftover"); s.status != 1 || !strings.Contains(s.stderr, "enrichd price set") {
		t.Errorf("%+v", s)
	}
	var price struct{ Price string }
	must(t, w.env, &price, "price", "set", "0.05", "EUR", "--company", company.ID, "--from", "2020-01-01")
	if s := set("--credit-leftover"); s.status != 0 {
		t.Errorf("%+v", s)
	}
	var invoices []struct{ Total struct{ Amount string } }
	must(t, w.env, &invoices, "invoice", "list", "--company", company.ID)
	if len(invoices) != 1 || invoices[0].Total.Amount != "-0.60" {
		t.Errorf("%+v", invoices)
	}
	if s := w.cli(t, "audit"); s.status != 0 {
		t.Errorf("%+v", s)
	}
}

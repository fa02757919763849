package cmd_test

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// TestBooks bills a company for a run: usage and the open invoice over GraphQL,
// the closed one from the command line, and the proof of it all.
func TestBooks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.serve(t)
	var company struct{ ID string }
	must(t, w.env, &company, "company", "create", "--name", "Acme <b>", "--billing", "postpaid", "--plan", "scale")
	_, me := newKey(t, w.env, n, company.ID)
	var price struct{ Price, Currency string }
	must(t, w.env, &price, "price", "set", "0.0525", "eur", "--company", company.ID, "--from", "2020-01-01")
	if price.Price != "0.0525" || price.Currency != "EUR" {
		t.Errorf("%+v", price)
	}
	people := w.importAll(t, company.ID)
	var group []string
	for _, e := range w.web.Expected()[:3] {
		group = append(group, people[e.ExternalID])
	}
	me.poll(t, me.started(t, group, ""))
	var captured int
	if err := w.db.Bun.NewRaw("SELECT captured_total FROM billing_accounts").Scan(t.Context(), &captured); err != nil || captured == 0 {
		t.Fatal(captured, err)
	}

	type money struct{ Amount, Currency string }
	type invoice struct {
		ID, Status string
		Number     *string
		Total      money
		Lines      []struct {
			Quantity         int
			UnitPrice, Total money
		}
	}
	var seen struct {
		BillingAccount struct {
			Owed     int
			TimeZone string
			Usage    []struct{ Captured, Profiles int }
			ByKey    []struct{ Captured int }
			Invoices struct{ Nodes []invoice }
			Grants   struct{ Nodes []struct{ ID string } }
			Ledger   struct {
				Nodes []struct {
					Kind                         string
					Amount, Held, Captured, Owed int
				}
			}
		}
	}
	now := time.Now().UTC()
	me.ask(t, `query($from: DateTime!, $to: DateTime!) { billingAccount { owed timeZone
		usage(from: $from, to: $to, interval: HOUR) { captured profiles } byKey: usageBy(dimension: KEY, from: $from, to: $to) { captured }
		invoices(first: 5) { nodes { id status number total { amount currency } lines { quantity unitPrice { amount currency } total { amount currency } } } }
		grants { nodes { id } } ledger(kinds: [CAPTURE], from: $from) { nodes { kind amount held captured owed } } } }`,
		map[string]any{"from": now.Add(-time.Hour), "to": now.Add(time.Hour)}, &seen)
	a := seen.BillingAccount
	used := 0
	for _, p := range a.Usage {
		used += p.Captured
	}
	if a.Owed != captured || used != captured || len(a.ByKey) != 1 || a.ByKey[0].Captured != captured || len(a.Grants.Nodes) != 0 || len(a.Ledger.Nodes) != captured {
		t.Errorf("%d captured: %+v", captured, a)
	}
	if e := a.Ledger.Nodes[0]; e.Amount != 0 || e.Held != -1 || e.Captured != 1 || e.Owed != 1 {
		t.Errorf("%+v", e)
	}
	open := a.Invoices.Nodes[0]
	if open.Status != "OPEN" || open.Number != nil || open.Lines[0].Quantity != captured || open.Lines[0].UnitPrice != (money{"0.0525", "EUR"}) || open.Total != open.Lines[0].Total {
		t.Errorf("%+v", open)
	}

	t.Run("closes the period once it has ended, from wherever it is asked for", func(t *testing.T) {
		if s := w.cli(t, "invoice", "close", "--json"); s.status != 0 || strings.TrimSpace(s.stdout) != "[]" {
			t.Errorf("%+v", s)
		}
		if _, err := w.db.Bun.ExecContext(t.Context(), "CREATE OR REPLACE FUNCTION billing_now() RETURNS timestamptz LANGUAGE sql VOLATILE AS 'SELECT clock_timestamp() + interval ''32 days'''"); err != nil {
			t.Fatal(err)
		}
		var closed []invoice
		for range 2 {
			must(t, w.env, &closed, "invoice", "close", "--company", company.ID, "--period", now.Format("2006-01"))
			if len(closed) != 1 || closed[0].ID != open.ID || closed[0].Number == nil || *closed[0].Number != "INV-00000001" || closed[0].Total != open.Total {
				t.Fatalf("%+v", closed)
			}
		}
		var listed []invoice
		must(t, w.env, &listed, "invoice", "list", "--company", company.ID)
		if len(listed) != 2 || listed[0].Status != "OPEN" || listed[1].ID != open.ID {
			t.Errorf("%+v", listed)
		}
		var node struct{ Node *invoice }
		me.ask(t, `query($id: ID!) { node(id: $id) { ... on Invoice { id status } } }`, map[string]any{"id": open.ID}, &node)
		if node.Node == nil || node.Node.Status != "CLOSED" {
			t.Errorf("%+v", node.Node)
		}
		page := w.cli(t, "invoice", "show", "INV-00000001", "--html")
		if page.status != 0 || !strings.Contains(page.stdout, "Acme &lt;b&gt;") || !strings.Contains(page.stdout, open.Total.Amount+" EUR") {
			t.Errorf("%+v", page)
		}
		var paid []invoice
		must(t, w.env, &paid, "invoice", "pay", "INV-00000001", "--reference", "bank 7")
		if paid[0].Status != "PAID" {
			t.Errorf("%+v", paid)
		}
		if s := w.cli(t, "invoice", "void", open.ID, "--reason", "late"); s.status != 1 {
			t.Errorf("a paid invoice became void: %+v", s)
		}
	})
	t.Run("proves the books, and says where they are wrong", func(t *testing.T) {
		var proof struct {
			Entries  int
			Findings []struct {
				Invariant string
				Entry     int
			}
		}
		s := w.cli(t, "audit", "--json")
		if s.decode(t, &proof); s.status != 0 || proof.Entries == 0 || len(proof.Findings) != 0 {
			t.Fatalf("%+v", s)
		}
		spoil := func(query string) {
			for _, q := range []string{"ALTER TABLE billing_entries DISABLE TRIGGER USER", query, "ALTER TABLE billing_entries ENABLE TRIGGER USER", "ALTER TABLE billing_entries DISABLE TRIGGER billing_entries_chain"} {
				if _, err := w.db.Bun.ExecContext(t.Context(), q); err != nil {
					t.Fatal(err)
				}
			}
		}
		spoil("UPDATE billing_entries SET held_after = held_after + 1 WHERE seq = 2")
		s = w.cli(t, "audit", "--json")
		s.decode(t, &proof)
		if s.status != 3 || !slices.ContainsFunc(proof.Findings, func(f struct {
			Invariant string
			Entry     int
		}) bool {
			return f.Invariant == "I6" && f.Entry == 2
		}) {
			t.Errorf("%+v", s)
		}
		spoil("UPDATE billing_entries SET held_after = held_after - 1 WHERE seq = 2")
	})
	t.Run("corrects by hand, and keeps settings", func(t *testing.T) {
		var set struct {
			Billing                       string
			RepeatWindowDays, CycleAnchor int
			TimeZone                      string
		}
		must(t, w.env, &set, "company", "set", company.ID, "--repeat-window", "30", "--cycle-anchor", "31", "--time-zone", "Europe/Berlin", "--credit-limit", "500", "--low-credits", "20")
		if set.RepeatWindowDays != 30 || set.CycleAnchor != 31 || set.TimeZone != "Europe/Berlin" || set.Billing != "POSTPAID" {
			t.Errorf("%+v", set)
		}
		if s := w.cli(t, "credits", "adjust", "--company", company.ID, "--credits", "-2", "--memo", "a phone call"); s.status != 0 {
			t.Errorf("%+v", s)
		}
		for _, args := range [][]string{{"--mode", "FREE"}, {"--time-zone", "Mars/Olympus"}, {"--cycle-anchor", "32"}, {"--repeat-window", "-1"}} {
			if s := w.cli(t, append([]string{"company", "set", company.ID}, args...)...); s.status == 0 {
				t.Errorf("%v was taken", args)
			}
		}
	})
}

// TestPurchase buys credits over GraphQL, as a payment provider's callback would: again and again.
func TestPurchase(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.serve(t, "ENRICHD_LEDGER_CHAIN=true")
	me := w.tenant(t, n, 5)
	type answer struct {
		PurchaseCredits struct {
			Entry      *struct{ ID, Kind string }
			Balance    *struct{ Available int }
			UserErrors []userError
		}
	}
	buy := func(c caller, key, reference string, credits int) (out answer) {
		c.ask(t, `mutation($in: PurchaseCreditsInput!) { purchaseCredits(input: $in) { entry { id kind } balance { available } userErrors { __typename code message field } } }`,
			map[string]any{"in": map[string]any{"idempotencyKey": key, "credits": credits, "paymentReference": reference}}, &out)
		return out
	}
	first := buy(me.caller, "callback-1", "pay_1", 10)
	if p := first.PurchaseCredits; p.Entry == nil || p.Entry.Kind != "PURCHASE" || p.Balance.Available != 15 {
		t.Fatalf("%+v", p)
	}
	if p := buy(me.caller, "callback-1", "pay_1", 10).PurchaseCredits; p.Entry == nil || p.Entry.ID != first.PurchaseCredits.Entry.ID || p.Balance.Available != 15 {
		t.Errorf("%+v", p)
	}
	if p := buy(me.caller, "callback-2", "pay_1", 10).PurchaseCredits; len(p.UserErrors) != 1 || p.UserErrors[0].Type != "Conflict" {
		t.Errorf("%+v", p)
	}
	if p := buy(me.caller, "callback-1", "pay_2", 10).PurchaseCredits; len(p.UserErrors) != 1 || p.UserErrors[0].Code != "IDEMPOTENCY_KEY_REUSED" {
		t.Errorf("%+v", p)
	}
	_, test := newKey(t, w.env, n, me.company, "--mode", "test")
	if p := buy(test, "callback-3", "pay_3", 10).PurchaseCredits; len(p.UserErrors) != 1 || p.UserErrors[0].Type != "Conflict" {
		t.Errorf("a test key bought: %+v", p)
	}
	if s := w.cli(t, "audit"); s.status != 0 || w.count(t, "SELECT count(*) FROM billing_entries WHERE chain IS NULL AND kind = 'PURCHASE'") != 0 {
		t.Errorf("%+v", s)
	}
}

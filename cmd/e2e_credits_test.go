package cmd_test

import (
	"encoding/json"
	"net/http"
	"sync"
	"testing"
)

// TestStampede starts fifty runs of one profile at the same moment with credits
// for ten. Nothing works on runs meanwhile, so that no credit comes back; a
// worker process that is started afterwards settles what was accepted.
func TestStampede(t *testing.T) {
	t.Parallel()
	const starts, afforded = 50, 10
	w := newWorld(t)
	n := serve(t, w.env, "--roles", "api")

	// outcome is what one start was told.
	type outcome struct {
		run                 string
		required, available int
		refused             bool
	}
	surfaces := map[string]func(t *testing.T, c caller, profile string) outcome{
		"over REST": func(t *testing.T, c caller, profile string) (o outcome) {
			r := c.start(t, []string{profile}, "")
			switch r.status {
			case http.StatusAccepted:
				var out struct{ RequestID string }
				r.decode(t, &out)
				o.run = out.RequestID
			case http.StatusPaymentRequired:
				f := r.refusal(t)
				o.refused = f.Error.Code == "INSUFFICIENT_CREDITS" && f.Error.Details.Required != nil && f.Error.Details.Available != nil
				if o.refused {
					o.required, o.available = *f.Error.Details.Required, *f.Error.Details.Available
				}
			default:
				t.Errorf("%d %s", r.status, r.body)
			}
			return o
		},
		"over GraphQL": func(t *testing.T, c caller, profile string) (o outcome) {
			var e envelope
			c.graphql(t, startMutation, map[string]any{"in": map[string]any{"idempotencyKey": profile, "profileIds": []string{profile}}}).decode(t, &e)
			var out startAnswer
			if err := json.Unmarshal(e.Data, &out); err != nil || len(e.Errors) > 0 {
				t.Errorf("%v, %v", err, e.Errors)
				return o
			}
			a := out.StartEnrichment
			if a.Run != nil {
				o.run = a.Run.RequestID
			}
			if len(a.UserErrors) == 1 && a.UserErrors[0].Type == "InsufficientCredits" {
				o.refused, o.required, o.available = true, *a.UserErrors[0].Required, *a.UserErrors[0].Available
			}
			return o
		},
	}
	var tenants []*tenant
	var runs [][]string
	for name, start := range surfaces {
		t.Run(name, func(t *testing.T) {
			me := w.tenant(t, n, afforded)
			people := importFile(t, w.env, me.company, "people.jsonl", w.clones(t, starts))
			outcomes := make(chan outcome, starts)
			var ready, gate sync.WaitGroup
			gate.Add(1)
			for _, id := range people {
				ready.Add(1)
				go func() {
					ready.Done()
					gate.Wait()
					outcomes <- start(t, me.caller, id)
				}()
			}
			ready.Wait()
			gate.Done()
			accepted, refused := []string{}, 0
			for range starts {
				o := <-outcomes
				switch {
				case o.run != "":
					accepted = append(accepted, o.run)
				case o.refused && o.required == 1 && o.available == 0:
					refused++
				default:
					t.Errorf("%+v", o)
				}
			}
			if len(accepted) != afforded || refused != starts-afforded {
				t.Errorf("%d accepted, %d refused", len(accepted), refused)
			}
			me.expectBalance(t, 0, afforded)
			if got := w.count(t, "SELECT count(*) FROM runs WHERE company_id = ?", me.company); got != afforded {
				t.Errorf("%d runs exist", got)
			}
			tenants, runs = append(tenants, me), append(runs, accepted)
		})
	}
	if got := w.count(t, "SELECT count(*) FROM river_job WHERE kind = 'enrich_profile'"); got != 2*afforded {
		t.Errorf("%d jobs for %d runs", got, 2*afforded)
	}

	worker := spawn(t, w.env, "work")
	for i, me := range tenants {
		for _, id := range runs[i] {
			me.poll(t, id)
			me.results(t, id).expectOutcomes(t, "ENRICHED")
		}
		me.expectBalance(t, 0, 0)
		if got := w.count(t, "SELECT count(*) FROM billing_entries WHERE account_id = (SELECT id FROM billing_accounts WHERE company_id = ?) AND kind = 'CAPTURE'", me.company); got != afforded {
			t.Errorf("%d captures", got)
		}
	}
	worker.signal(t, interrupt)
	if status := worker.wait(t, patience); status != 0 {
		t.Errorf("the worker ended with status %d", status)
	}
}

package dispatch

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/uptrace/bun"

	"github.com/enrichd/enrichd/internal/pg"
)

func TestPublish(t *testing.T) {
	t.Parallel()

	t.Run("leaves nothing after a rollback", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		rc := b.receive(false, nil)
		b.webhook(rc.URL, nil)
		changedMind := errors.New("changed my mind")
		err := pg.InTx(t.Context(), b.DB, func(ctx context.Context, tx bun.Tx) error {
			if err := b.Publish(ctx, tx, b.event(nil)); err != nil {
				return err
			}
			return changedMind
		})
		if !errors.Is(err, changedMind) {
			t.Fatal(err)
		}
		if n := b.count(`SELECT (SELECT count(*) FROM dispatch_events) + (SELECT count(*) FROM deliveries) + (SELECT count(*) FROM river_job)`); n != 0 {
			t.Errorf("%d rows", n)
		}
	})

	t.Run("takes two statements and one insertion of jobs whatever the number, and one statement when nobody listens", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		statements := func(events ...Event) (n int) {
			err := pg.InTx(t.Context(), b.DB, func(ctx context.Context, tx bun.Tx) error {
				ctx, count := pg.CountStatements(ctx)
				err := b.Publish(ctx, tx, events...)
				n = count.N()
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		if n := statements(b.event(nil), b.event(nil)); n != 1 {
			t.Errorf("%d statements for nobody", n)
		}
		if n := b.count(`SELECT count(*) FROM dispatch_events`); n != 0 {
			t.Errorf("%d events for nobody", n)
		}
		rc := b.receive(false, nil)
		for range 3 {
			b.webhook(rc.URL, nil)
		}
		var many []Event
		for range 20 {
			many = append(many, b.event(nil))
		}
		statements(many[0])                  // River asks for the server's version once
		if n := statements(many...); n > 4 { // its insertion is two: the jobs, and the notice
			t.Errorf("%d statements for 20 events to 3 webhooks", n)
		}
		if n := b.count(`SELECT count(DISTINCT (event_id, webhook_id, job_id)) FROM deliveries`); n != 63 {
			t.Errorf("%d deliveries", n)
		}
		if n := b.count(`SELECT count(*) FROM dispatch_events WHERE sequence = 12 AND run_id LIKE 'enr_%'`); n != 21 {
			t.Errorf("%d events", n)
		}
	})

	t.Run("tells exactly those who are to hear of it", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		rc := b.receive(false, nil)
		other, testKey := b.company(false), b.testKey()
		hooks := map[string]*Webhook{}
		add := func(name string, change func(*CreateWebhookInput)) {
			hooks[name], _ = b.webhook(rc.URL, change)
		}
		only := func(types ...EventType) func(*CreateWebhookInput) {
			return func(in *CreateWebhookInput) { in.EventTypes = types }
		}
		named := func(in *CreateWebhookInput) { in.AllRuns = false }
		add("all", nil)
		add("completed", only(EnrichCompleted))
		add("failed", only(EnrichFailed))
		add("older", only("analysis.completed"))
		add("named", named)
		add("unnamed", named)
		add("named for failure", func(in *CreateWebhookInput) { in.AllRuns, in.EventTypes = false, []EventType{EnrichFailed} })
		add("disabled", nil)
		add("deleted", nil)
		add("global", named)
		hooks["foreign"], _ = b.webhookOf(other, rc.URL, nil)
		hooks["foreign global"], _ = b.webhookOf(other, rc.URL, named)
		hooks["test"], _ = b.webhookOf(testKey, rc.URL, nil)
		b.exec(`UPDATE webhooks SET enabled = false WHERE id = ?`, hooks["disabled"].ID)
		b.exec(`UPDATE webhooks SET company_id = NULL WHERE id IN (?, ?)`, hooks["global"].ID, hooks["foreign global"].ID)
		if err := b.DeleteWebhook(b.as(b.principal), hooks["deleted"].ID); err != nil {
			t.Fatal(err)
		}
		heard := func(e Event) string {
			will, err := b.WillDeliver(t.Context(), b.DB, e)
			if err != nil {
				t.Fatal(err)
			}
			b.publish(e)
			var who []string
			for _, name := range []string{"all", "completed", "failed", "older", "named", "unnamed", "named for failure", "disabled", "deleted", "global", "foreign", "foreign global", "test"} {
				if n := b.count(`SELECT count(*) FROM deliveries d JOIN dispatch_events e ON e.id = d.event_id WHERE e.run_id = ? AND d.webhook_id = ?`, e.RunID, hooks[name].ID); n > 0 {
					who = append(who, name)
				}
			}
			if will[0] != (len(who) > 0) {
				t.Errorf("WillDeliver said %v of %v", will[0], who)
			}
			return strings.Join(who, ", ")
		}
		naming := func(name string) func(*Event) {
			return func(e *Event) { e.WebhookID = &hooks[name].ID }
		}
		for _, c := range []struct {
			why    string
			change func(*Event)
			want   string
		}{
			{"no webhook named", nil, "all, completed"},
			{"one named", naming("named"), "all, completed, named"},
			{"one named that hears of all runs anyway", naming("all"), "all, completed"},
			{"one named that is subscribed to the other end", naming("named for failure"), "all, completed"},
			{"a disabled one named", naming("disabled"), "all, completed"},
			{"a deleted one named", naming("deleted"), "all, completed"},
			{"a global one of our key named", naming("global"), "all, completed, global"},
			{"a global one of another key named", naming("foreign global"), "all, completed"},
			{"a foreign one named", naming("foreign"), "all, completed"},
			{"a test webhook named by a live run", naming("test"), "all, completed"},
			{"a failed run", func(e *Event) { e.Type = EnrichFailed }, "all, failed"},
			{"a type nobody asked for alone", func(e *Event) { e.Type = EnrichStarted }, "all"},
			{"a test run", func(e *Event) { e.Test = true }, "test"},
			{"another company's run", func(e *Event) { e.CompanyID = other.Company.ID }, "foreign"},
			{"a company without webhooks", func(e *Event) { e.CompanyID = "nobody" }, ""},
		} {
			if got := heard(b.event(c.change)); got != c.want {
				t.Errorf("%s: %q, not %q", c.why, got, c.want)
			}
		}
	})

	t.Run("refuses events that cannot be announced", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		rc := b.receive(false, nil)
		b.webhook(rc.URL, nil)
		for what, change := range map[string]func(*Event){
			"a type that never fires": func(e *Event) { e.Type = "analysis.completed" },
			"no time":                 func(e *Event) { e.At = time.Time{} },
			"data that is not JSON":   func(e *Event) { e.Data = []byte("{") },
		} {
			err := pg.InTx(t.Context(), b.DB, func(ctx context.Context, tx bun.Tx) error { return b.Publish(ctx, tx, b.event(change)) })
			if err == nil {
				t.Errorf("%s was published", what)
			}
		}
	})
}

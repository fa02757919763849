package rest

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/enrichd/enrichd/dispatch"
	"github.com/enrichd/enrichd/internal/access"
)

// receiver is an integration's server, written from the contract alone: it knows
// the older signature header and nothing else.
type receiver struct {
	url    string
	status int
	got    chan delivery
}

type delivery struct {
	signature string
	body      []byte
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{status: http.StatusOK, got: make(chan delivery, 64)}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		r.got <- delivery{req.Header.Get("X-Webhook-Signature"), body}
		w.WriteHeader(r.status)
	}))
	t.Cleanup(s.Close)
	r.url = s.URL + "/in"
	return r
}

// one waits for the next delivery and verifies it as the contract says.
func (r *receiver) one(t *testing.T, secret string) (event string, data json.RawMessage) {
	t.Helper()
	var d delivery
	eventually(t, "a delivery", func() bool {
		select {
		case d = <-r.got:
			return true
		default:
			return false
		}
	})
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(d.body)
	if want := hex.EncodeToString(mac.Sum(nil)); d.signature != want {
		t.Errorf("signed %q instead of %q", d.signature, want)
	}
	var envelope struct {
		Event, Timestamp, DeliveryID string
		Data                         json.RawMessage
	}
	must(t, json.Unmarshal(d.body, &envelope))
	if !strings.HasPrefix(string(d.body), `{"event":"`+envelope.Event+`","timestamp":"`) || envelope.DeliveryID == "" {
		t.Errorf("the envelope is %.200s", d.body)
	}
	return envelope.Event, envelope.Data
}

func TestWebhooks(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	c := h.tenant(100)
	to := newReceiver(t)
	full := fmt.Sprintf(`{"url":%q,"events":["ENRICH_COMPLETED","enrich.failed",2,"Interview.Completed",0,"SOURCING_FAILED"],"name":"Production Webhook","description":"All of it",
		"companyId":%q,"headers":[{"name":"Authorization","value":"Bearer hidden-value"},{"name":"X-Custom-Header","value":"hidden-too"}],"maxRetries":9,"timeoutMs":1}`, to.url, c.company.ID)
	made := c.call("POST", "/webhooks", full)
	made.golden(t, "webhook-created")
	var out struct {
		Data struct{ ID, SigningSecret string }
	}
	made.decode(t, &out)
	id := out.Data.ID

	t.Run("is read, listed and changed in the documented shape", func(t *testing.T) {
		c.call("GET", "/webhooks/"+id, "").golden(t, "webhook")
		c.call("POST", "/webhooks", fmt.Sprintf(`{"url":%q,"events":["PING"]}`, to.url)).golden(t, "webhook-created-global")
		c.call("GET", "/webhooks", "").golden(t, "webhook-list")
		c.call("GET", "/webhooks?companyId="+c.company.ID, "").golden(t, "webhook-list-company")
		c.call("GET", "/webhooks?page=2&limit=1", "").golden(t, "webhook-list-page")
		c.call("PATCH", "/webhooks/"+id, `{}`).golden(t, "webhook-unchanged")
		c.call("PATCH", "/webhooks/"+id, `{"name":null,"description":"Less","headers":[{"name":"X-Api-Key","value":"v"}],"isActive":false,"events":["PING"],"companyId":"ignored"}`).golden(t, "webhook-changed")
		c.call("PATCH", "/webhooks/"+id, `{"isActive":true,"headers":[]}`).golden(t, "webhook-changed-again")
		if text := string(c.call("GET", "/webhooks/"+id, "").body); strings.Contains(text, "hidden") {
			t.Errorf("a value is shown: %s", text)
		}
	})
	t.Run("what is refused says why", func(t *testing.T) {
		other := h.keyOf(&c.company, access.NewKey{})
		stranger := h.tenant(1)
		for name, r := range map[string]reply{
			"webhook-400-empty":         c.call("POST", "/webhooks", `{}`),
			"webhook-400-url":           c.call("POST", "/webhooks", `{"url":"ftp://example.com/x","events":["PING"]}`),
			"webhook-400-private":       c.call("POST", "/webhooks", `{"url":"https://10.0.0.1/x","events":["PING"]}`),
			"webhook-400-event":         c.call("POST", "/webhooks", `{"url":"https://example.com/x","events":["enrich.started",6,-1,1.5,"ping ",null]}`),
			"webhook-400-events":        c.call("POST", "/webhooks", `{"url":"https://example.com/x","events":[]}`),
			"webhook-400-headers":       c.call("POST", "/webhooks", `{"url":"https://example.com/x","events":["PING"],"headers":[{"name":"X"},{"value":"v"},7,{"name":"Host","value":"v"}]}`),
			"webhook-400-collision":     c.call("POST", "/webhooks", `{"url":"https://example.com/x","events":["PING"],"headers":[{"name":"X-Webhook-Signature","value":"v"}]}`),
			"webhook-400-name":          c.call("POST", "/webhooks", `{"url":"https://example.com/x","events":["PING"],"name":"`+strings.Repeat("n", 256)+`"}`),
			"webhook-400-null":          c.call("PATCH", "/webhooks/"+id, `{"url":null,"isActive":"yes"}`),
			"webhook-400-page":          c.call("GET", "/webhooks?page=0&limit=101", ""),
			"webhook-403-company":       c.call("POST", "/webhooks", `{"url":"https://example.com/x","events":["PING"],"companyId":"`+stranger.company.ID+`"}`),
			"webhook-403-other-key":     other.call("GET", "/webhooks/"+id, ""),
			"webhook-403-foreign":       stranger.call("PATCH", "/webhooks/"+id, `{"isActive":false}`),
			"webhook-404":               c.call("DELETE", "/webhooks/"+unknownUUID, ""),
			"webhook-404-malformed":     c.call("GET", "/webhooks/not-an-id", ""),
			"webhook-403-test-foreign":  stranger.call("POST", "/webhooks/"+id+"/test", ""),
			"webhook-404-reset-unknown": c.call("POST", "/webhooks/"+unknownUUID+"/reset-circuit", ""),
		} {
			r.golden(t, name)
		}
	})
	t.Run("a test says what came of it", func(t *testing.T) {
		hook, secret := c.hook(to.url, `["PING","ENRICH_COMPLETED"]`)
		path := "/webhooks/" + hook + "/test"
		c.call("POST", path, "").golden(t, "webhook-test")
		if event, data := to.one(t, secret); event != "ping" || string(data) != `{"message":"Webhook test"}` {
			t.Errorf("%s %s", event, data)
		}
		to.status = http.StatusTeapot
		c.call("POST", path, "").golden(t, "webhook-test-failed")
		to.one(t, secret)
		to.status = http.StatusOK
		c.call("POST", "/webhooks/"+id+"/test", "").expect(t, 200, "")
		to.one(t, out.Data.SigningSecret)
		nobody := httptest.NewServer(http.NotFoundHandler())
		nobody.Close()
		dead, _ := c.hook(nobody.URL, `["PING"]`)
		c.call("POST", "/webhooks/"+dead+"/test", "").golden(t, "webhook-test-unreachable")
		deaf, _ := c.hook(to.url, `["ENRICH_COMPLETED"]`)
		c.call("POST", "/webhooks/"+deaf+"/test", "").golden(t, "webhook-test-not-subscribed")
		c.call("PATCH", "/webhooks/"+hook, `{"isActive":false}`).expect(t, 200, "")
		c.call("POST", path, "").golden(t, "webhook-test-disabled")
		c.call("PATCH", "/webhooks/"+hook, `{"isActive":true}`).expect(t, 200, "")
		var r reply
		for range 7 {
			if r = c.call("POST", path, ""); r.status == 429 {
				break
			}
		}
		r.golden(t, "webhook-test-429")
	})
	t.Run("a circuit that is open shows, and is closed by a reset", func(t *testing.T) {
		hook, _ := c.hook(to.url, `["PING"]`)
		open := func(since string) {
			_, err := h.db.Bun.ExecContext(context.Background(), `UPDATE webhooks SET circuit_state = 'OPEN', consecutive_failures = 10,
				circuit_opened_at = now() - ?::interval, circuit_retry_at = now() + interval '1 hour', last_reset_at = NULL WHERE id = ?`, since, hook)
			must(t, err)
		}
		c.call("POST", "/webhooks/"+hook+"/reset-circuit", "").golden(t, "webhook-reset-closed")
		open("1 second")
		c.call("GET", "/webhooks/"+hook, "").golden(t, "webhook-open")
		c.call("POST", "/webhooks/"+hook+"/test", "").golden(t, "webhook-test-open")
		c.call("PATCH", "/webhooks/"+hook, `{"isActive":true}`).golden(t, "webhook-open-active")
		c.call("POST", "/webhooks/"+hook+"/reset-circuit", "").golden(t, "webhook-reset-too-soon")
		open("2 hours")
		c.call("POST", "/webhooks/"+hook+"/reset-circuit", "").golden(t, "webhook-reset")
	})
	t.Run("deleted, it is gone", func(t *testing.T) {
		hook, _ := c.hook(to.url, `["PING"]`)
		c.call("DELETE", "/webhooks/"+hook, "").golden(t, "webhook-deleted")
		c.call("GET", "/webhooks/"+hook, "").expect(t, 404, "RESOURCE_NOT_FOUND")
	})
}

func TestEventSpellings(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]dispatch.EventType{
		"0": "analysis.completed", "1": "analysis.failed", "2": "ping", "3": "interview.completed", "4": "interview.failed", "5": "interview.started",
		`"ping"`: "ping", `"PING"`: "ping", `"Enrich.Completed"`: "enrich.completed", `"ENRICH_FAILED"`: "enrich.failed", `"SOURCING_COMPLETED"`: "sourcing.completed",
		`"sourcing.failed"`: "sourcing.failed", `"INTERVIEW_STARTED"`: "interview.started",
	} {
		if got, ok := parseEvent(json.RawMessage(raw)); !ok || got != want || !got.Known() {
			t.Errorf("%s is read as %q", raw, got)
		}
	}
	for _, raw := range []string{"6", "-1", "2.0", "2e0", "null", "true", `""`, `"2"`, `"enrich_completed"`, `"enrich.started"`, `"credits.low"`, `["ping"]`, "99999999999999999999"} {
		if got, ok := parseEvent(json.RawMessage(raw)); ok {
			t.Errorf("%s is read as %q", raw, got)
		}
	}
}

// TestContractOnly runs an integration that knows nothing but the contract: it
// polls until the answer is 200, and verifies the older signature alone.
func TestContractOnly(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	c := h.tenant(20)
	to := newReceiver(t)
	hook, secret := c.hook(to.url, `["ENRICH_COMPLETED","ENRICH_FAILED"]`)
	good, late, nobody := c.person("Jane Smith"), c.person("Hang Forever"), c.person("Nobody Known")
	ids := []string{good, late, "profile_unknown", nobody}
	body, err := json.Marshal(map[string]any{"profileIds": ids, "webhookId": hook})
	must(t, err)
	r := c.call("POST", "/sourcing/enrich", string(body))
	r.expect(t, 202, "")
	var accepted struct{ RequestID string }
	r.decode(t, &accepted)
	polled := c.polled(accepted.RequestID)
	var got struct {
		Status                                       string
		EnrichedCount, FailureCount, CreditsConsumed int
		Data                                         []struct {
			ProfileID, ErrorCode string
			Success              bool
			Candidate            *struct{ Emails []string }
		}
	}
	polled.decode(t, &got)
	if got.Status != "completed" || got.EnrichedCount != 1 || got.FailureCount != 3 || got.CreditsConsumed != 1 || len(got.Data) != 4 {
		t.Fatalf("%s", polled.body)
	}
	for i, code := range []string{"", "ENRICHMENT_TIMEOUT", "PROFILE_NOT_FOUND", "NO_MATCH"} {
		if d := got.Data[i]; d.ProfileID != ids[i] || d.ErrorCode != code || d.Success != (code == "") || (d.Candidate != nil) != (code == "") {
			t.Errorf("item %d is %+v", i, d)
		}
	}
	event, data := to.one(t, secret)
	if event != "enrich.completed" || string(data) != string(polled.body) {
		t.Errorf("%s: the webhook says\n%s\nand polling\n%s", event, data, polled.body)
	}
}

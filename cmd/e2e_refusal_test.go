package cmd_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/enrichd/enrichd/internal/sandbox"
)

// huge is more than any surface reads.
const huge = 10 << 20

// refused is the setting of the tests of bad input: a company with credits and
// people, a stranger who has everything that the company must not reach, and
// keys that do not hold.
type refused struct {
	*world
	n                *node
	me, stranger     *tenant
	people           people
	webhook          string // of me, for the end of runs
	deaf             string // of me, for nothing that a run does
	theirWebhook     string
	theirRun         string
	theirProfile     string
	revoked, expired caller
	reader, writer   caller // of me: enrich:read only, and write:webhooks only
}

const unknownUUID = "6f9619ff-8b86-4d01-b42d-00cf4fc964ff"

func newRefused(t *testing.T) *refused {
	t.Helper()
	hook := newReceiver(t)
	w := newWorld(t, hook)
	n := w.serve(t)
	f := &refused{world: w, n: n, me: w.tenant(t, n, 10), stranger: w.tenant(t, n, 10)}
	f.people = w.importAll(t, f.me.company)
	f.webhook, _ = f.me.webhook(t, hook.url, "ENRICH_COMPLETED")
	f.deaf, _ = f.me.webhook(t, hook.url, "PING")
	f.theirWebhook, _ = f.stranger.webhook(t, hook.url, "ENRICH_COMPLETED")
	f.theirProfile = importFile(t, w.env, f.stranger.company, "people.jsonl", w.clones(t, 1))["freja-1"]
	f.theirRun = f.stranger.started(t, []string{f.theirProfile}, "")
	f.stranger.poll(t, f.theirRun)

	var id string
	id, f.revoked = newKey(t, w.env, n, f.me.company)
	if s := w.cli(t, "keys", "revoke", id); s.status != 0 {
		t.Fatalf("%+v", s)
	}
	id, f.expired = newKey(t, w.env, n, f.me.company, "--expires-in", "24h")
	if _, err := w.db.Bun.ExecContext(t.Context(), "UPDATE api_keys SET expires_at = now() - interval '1 second' WHERE id = ?", id); err != nil {
		t.Fatal(err)
	}
	_, f.reader = newKey(t, w.env, n, f.me.company, "--scopes", "enrich:read")
	_, f.writer = newKey(t, w.env, n, f.me.company, "--scopes", "WEBHOOKS_WRITE")
	return f
}

// traces counts what a run that was started would leave behind.
func (f *refused) traces(t *testing.T) (n [5]int) {
	t.Helper()
	for i, table := range []string{"runs", "run_events", "billing_entries", "idempotency_keys", "profiles"} {
		n[i] = f.count(t, "SELECT count(*) FROM "+table)
	}
	return n
}

// TestRefusals sends what no surface may take, and then looks whether anything
// came of it and whether the server still does what it should.
func TestRefusals(t *testing.T) {
	t.Parallel()
	f := newRefused(t)
	before := f.traces(t)
	t.Run("all at once", func(t *testing.T) {
		t.Run("REST", f.rest)
		t.Run("REST without a right to it", f.restRights)
		t.Run("GraphQL", f.graphQL)
		t.Run("GraphQL without a right to it", f.graphQLRights)
		t.Run("GET", f.get)
		t.Run("sockets", f.sockets)
	})
	if after := f.traces(t); after != before {
		t.Errorf("runs, events, entries, idempotency keys and profiles were %v and are %v", before, after)
	}
	f.me.expectBalance(t, 10, 0)
	select {
	case <-f.n.done:
		t.Fatal("the server is gone")
	default:
	}
	if text := f.n.log.String(); strings.Contains(text, "level=ERROR") || strings.Contains(text, "panic") {
		t.Errorf("bad input is no error of the server's:\n%s", text)
	}
	behave(f.web, sandbox.Normal, "ada-lindqvist")
	id := f.me.started(t, f.people.pick(t, "ada-lindqvist"), f.webhook)
	f.me.poll(t, id)
	f.me.expectBalance(t, 9, 0)
}

// starts makes a body of n ids.
func starts(n int) string {
	return `{"profileIds":["` + strings.Join(slices.Repeat([]string{"prof_x"}, n), `","`) + `"]}`
}

func (f *refused) rest(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		body    string
		headers []string
		status  int
		code    string
		field   string
	}{
		"no body":                   {body: "", status: 400, code: "VALIDATION_ERROR"},
		"broken JSON":               {body: `{"profileIds":["a"`, status: 400, code: "VALIDATION_ERROR"},
		"not JSON":                  {body: `profileIds=a`, status: 400, code: "VALIDATION_ERROR"},
		"an array":                  {body: `["a"]`, status: 400, code: "VALIDATION_ERROR"},
		"null":                      {body: `null`, status: 400, code: "VALIDATION_ERROR"},
		"a string":                  {body: `"a"`, status: 400, code: "VALIDATION_ERROR"},
		"trailing bytes":            {body: starts(1) + "x", status: 400, code: "VALIDATION_ERROR"},
		"a second object":           {body: starts(1) + starts(1), status: 400, code: "VALIDATION_ERROR"},
		"deep nesting":              {body: strings.Repeat("[", 50_000), status: 400, code: "VALIDATION_ERROR"},
		"a string for the ids":      {body: `{"profileIds":"a"}`, status: 400, code: "VALIDATION_ERROR", field: "profileIds"},
		"an object for the ids":     {body: `{"profileIds":{"a":1}}`, status: 400, code: "VALIDATION_ERROR", field: "profileIds"},
		"numbers for ids":           {body: `{"profileIds":[1,2]}`, status: 400, code: "VALIDATION_ERROR", field: "profileIds"},
		"null among the ids":        {body: `{"profileIds":["a",null]}`, status: 400, code: "VALIDATION_ERROR", field: "profileIds.1"},
		"no ids":                    {body: `{}`, status: 400, code: "VALIDATION_ERROR", field: "profileIds"},
		"null for the ids":          {body: `{"profileIds":null}`, status: 400, code: "VALIDATION_ERROR", field: "profileIds"},
		"zero ids":                  {body: `{"profileIds":[]}`, status: 400, code: "VALIDATION_ERROR", field: "profileIds"},
		"eleven ids":                {body: starts(11), status: 400, code: "VALIDATION_ERROR", field: "profileIds"},
		"an empty id":               {body: `{"profileIds":["a",""]}`, status: 400, code: "VALIDATION_ERROR", field: "profileIds.1"},
		"a very long id":            {body: `{"profileIds":["` + strings.Repeat("a", 1000) + `"]}`, status: 400, code: "VALIDATION_ERROR", field: "profileIds.0"},
		"a NUL byte in an id":       {body: `{"profileIds":["a\u0000b"]}`, status: 400, code: "VALIDATION_ERROR", field: "profileIds.0"},
		"a raw NUL byte":            {body: "{\"profileIds\":[\"a\x00b\"]}", status: 400, code: "VALIDATION_ERROR"},
		"invalid UTF-8":             {body: "{\"profileIds\":[\"a\xff\"]}", status: 400, code: "VALIDATION_ERROR"},
		"half a surrogate pair":     {body: `{"profileIds":["a\ud800"]}`, status: 400, code: "VALIDATION_ERROR", field: "profileIds.0"},
		"a number for the webhook":  {body: `{"profileIds":["a"],"webhookId":7}`, status: 400, code: "VALIDATION_ERROR", field: "webhookId"},
		"a webhook that is no UUID": {body: `{"profileIds":["a"],"webhookId":"hook"}`, status: 400, code: "VALIDATION_ERROR", field: "webhookId"},
		"an empty webhook":          {body: `{"profileIds":["a"],"webhookId":""}`, status: 400, code: "VALIDATION_ERROR", field: "webhookId"},
		"a NUL byte in the webhook": {body: `{"profileIds":["a"],"webhookId":"\u0000"}`, status: 400, code: "VALIDATION_ERROR", field: "webhookId"},
		"an unknown webhook":        {body: `{"profileIds":["a"],"webhookId":"` + unknownUUID + `"}`, status: 404, code: "RESOURCE_NOT_FOUND"},
		"a stranger's webhook":      {body: `{"profileIds":["a"],"webhookId":"` + f.theirWebhook + `"}`, status: 403, code: "RESOURCE_ACCESS_DENIED"},
		"a webhook that is deaf":    {body: `{"profileIds":["a"],"webhookId":"` + f.deaf + `"}`, status: 422, code: "WEBHOOK_NOT_SUBSCRIBED"},
		"the wrong content type":    {body: starts(1), headers: []string{"Content-Type", "text/plain"}, status: 400, code: "VALIDATION_ERROR"},
		"a form":                    {body: "profileIds=a", headers: []string{"Content-Type", "application/x-www-form-urlencoded"}, status: 400, code: "VALIDATION_ERROR"},
		// The older contract's clients may leave it out; the body is read as JSON, and found wanting.
		"no content type":          {body: `{"profileIds":[]}`, headers: []string{"Content-Type", ""}, status: 400, code: "VALIDATION_ERROR", field: "profileIds"},
		"a bad idempotency key":    {body: starts(1), headers: []string{"Idempotency-Key", "a b"}, status: 400, code: "VALIDATION_ERROR"},
		"a long idempotency key":   {body: starts(1), headers: []string{"Idempotency-Key", strings.Repeat("k", 256)}, status: 400, code: "VALIDATION_ERROR"},
		"a body of ten megabytes":  {body: `{"profileIds":["` + strings.Repeat("a", huge) + `"]}`, status: 413, code: "PAYLOAD_TOO_LARGE"},
		"ten megabytes of blanks":  {body: strings.Repeat(" ", huge) + starts(1), status: 413, code: "PAYLOAD_TOO_LARGE"},
		"ten megabytes of nothing": {body: strings.Repeat("\x00", huge), status: 413, code: "PAYLOAD_TOO_LARGE"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, mount := range []string{"", "/v1"} {
				r := f.me.send(t, "POST", mount+"/sourcing/enrich", []byte(c.body), c.headers...)
				if r.status != c.status {
					t.Fatalf("%d %.300s", r.status, r.body)
				}
				got := r.refusal(t).Error
				if got.Code != c.code {
					t.Errorf("%s", r.body)
				}
				if fields := got.Details.Errors; c.field != "" && (len(fields) != 1 || !strings.HasPrefix(fields[0].Field+".", c.field+".")) {
					t.Errorf("not about %s: %s", c.field, r.body)
				}
				switch c.code {
				case "RESOURCE_NOT_FOUND":
					if got.Details.ResourceType != "WebhookConfig" || got.Details.ResourceID != unknownUUID {
						t.Errorf("%s", r.body)
					}
				case "WEBHOOK_NOT_SUBSCRIBED":
					if got.Details.WebhookID != f.deaf || !slices.Equal(got.Details.RequiredEvents, []string{"enrich.completed", "enrich.failed"}) {
						t.Errorf("%s", r.body)
					}
				}
				if bytes.Contains(r.body, []byte("aaaa")) || len(r.body) > 2000 {
					t.Errorf("the answer gives back what was sent: %.300s", r.body)
				}
			}
		})
	}
	t.Run("a body of ten megabytes of unknown length", func(t *testing.T) {
		t.Parallel()
		for path, want := range map[string]int{"/sourcing/enrich": 413, "/graphql": 413} {
			req, err := http.NewRequestWithContext(t.Context(), "POST", f.me.url+path, io.LimitReader(endless{}, huge))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+f.me.key)
			req.Header.Set("Content-Type", "application/json")
			res, err := httpClient.Do(req)
			if err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			res.Body.Close()
			if res.StatusCode != want {
				t.Errorf("%s: %s", path, res.Status)
			}
		}
	})
	for name, path := range map[string]string{
		"an unknown run":          "/sourcing/enrich/enr_" + unknownUUID + "/results",
		"a stranger's run":        "/sourcing/enrich/" + f.theirRun + "/results",
		"an id of another kind":   "/sourcing/enrich/req_" + unknownUUID + "/results",
		"an id of no kind":        "/sourcing/enrich/x'%20OR%201=1--/results",
		"an id with a NUL byte":   "/sourcing/enrich/enr_%00/results",
		"an id that is not UTF-8": "/sourcing/enrich/enr_%ff%fe/results",
		"a very long id":          "/sourcing/enrich/" + strings.Repeat("e", 8000) + "/results",
	} {
		t.Run("results of "+name, func(t *testing.T) {
			t.Parallel()
			if r := f.me.send(t, "GET", path, nil); r.status != 404 || r.refusal(t).Error.Code != "REQUEST_NOT_FOUND" {
				t.Errorf("%d %s", r.status, r.body)
			}
		})
	}
	for _, route := range []string{"GET /sourcing/enrich", "DELETE /sourcing/enrich/" + f.theirRun, "POST /sourcing", "GET /v1/sourcing/preview"} {
		t.Run("no such route: "+strings.Replace(route, f.theirRun, "run", 1), func(t *testing.T) {
			t.Parallel()
			method, path, _ := strings.Cut(route, " ")
			if r := f.me.send(t, method, path, nil); r.status != 404 || r.refusal(t).Error.Code != "RESOURCE_NOT_FOUND" {
				t.Errorf("%d %s", r.status, r.body)
			}
		})
	}
}

// endless is a body without a length.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

// badKeys are keys that do not hold, by what is wrong with them.
func (f *refused) badKeys() map[string]caller {
	with := func(key string) caller { return caller{f.me.url, key} }
	wrong := []byte(f.me.key)
	wrong[20] ^= 1
	return map[string]caller{
		"no key": with(""), "a revoked key": f.revoked, "an expired key": f.expired, "a mistyped key": with(string(wrong)),
		"an unknown key": with("sk_imported_key_of_nobody"), "something else": with("letmein"), "a very long key": with("sk_" + strings.Repeat("k", 10_000)),
	}
}

func (f *refused) restRights(t *testing.T) {
	t.Parallel()
	for name, c := range f.badKeys() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, r := range []reply{
				c.start(t, f.people.pick(t, "ada-lindqvist"), ""),
				c.send(t, "POST", "/sourcing/enrich", []byte(`{`)),
				c.send(t, "GET", "/sourcing/enrich/"+f.theirRun+"/results", nil),
			} {
				got := r.refusal(t)
				if r.status != 401 || got.Error.Code != "INVALID_API_KEY" || got.Error.Message != "The provided API key is invalid or has been revoked" {
					t.Errorf("%d %s", r.status, r.body)
				}
			}
		})
	}
	t.Run("a key for reading", func(t *testing.T) {
		t.Parallel()
		r := f.reader.start(t, f.people.pick(t, "ada-lindqvist"), "")
		got := r.refusal(t)
		if r.status != 403 || got.Error.Code != "INSUFFICIENT_PERMISSIONS" || got.Error.Details.RequiredScope != "enrich:write" || got.StatusCode != 403 {
			t.Errorf("%d %s", r.status, r.body)
		}
		if r := f.reader.send(t, "GET", "/sourcing/enrich/"+f.theirRun+"/results", nil); r.status != 404 {
			t.Errorf("%d %s", r.status, r.body)
		}
	})
	t.Run("a key for webhooks", func(t *testing.T) {
		t.Parallel()
		for _, r := range []reply{
			f.writer.start(t, f.people.pick(t, "ada-lindqvist"), ""),
			f.writer.send(t, "GET", "/sourcing/enrich/"+f.theirRun+"/results", nil),
		} {
			if r.status != 403 || r.refusal(t).Error.Code != "INSUFFICIENT_PERMISSIONS" {
				t.Errorf("%d %s", r.status, r.body)
			}
		}
	})
	t.Run("more than the credits", func(t *testing.T) {
		t.Parallel()
		poor := f.tenant(t, f.n, 0)
		r := poor.start(t, []string{"prof_a", "prof_b"}, "")
		got := r.refusal(t).Error
		if r.status != 402 || got.Code != "INSUFFICIENT_CREDITS" || *got.Details.Required != 2 || *got.Details.Available != 0 {
			t.Errorf("%d %s", r.status, r.body)
		}
	})
	t.Run("headers without end", func(t *testing.T) {
		t.Parallel()
		// Go reads 4 KiB more than it is told to (net/http, Server.MaxHeaderBytes).
		if r := f.me.send(t, "POST", "/sourcing/enrich", []byte(starts(1)), "X-Filler", strings.Repeat("x", 32<<10)); r.status != 431 {
			t.Errorf("%d %s", r.status, r.body)
		}
	})
}

func TestAcceptedOddities(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.serve(t)
	me, stranger := w.tenant(t, n, 10), w.tenant(t, n, 10)
	theirs := importFile(t, w.env, stranger.company, "people.jsonl", w.clones(t, 1))["freja-1"]
	mine := importFile(t, w.env, me.company, "people.jsonl", w.clones(t, 1))["freja-1"]

	t.Run("unknown and foreign ids are not found, free, and do not stop the others", func(t *testing.T) {
		id := me.started(t, []string{"prof_nobody", theirs, mine, "profile_test_success"}, "")
		polled, _ := me.poll(t, id)
		r := me.results(t, id)
		r.expectOutcomes(t, "NOT_FOUND", "NOT_FOUND", "ENRICHED", "NOT_FOUND")
		if r.Credits != (credits{4, 1, 3, 0}) {
			t.Errorf("credits %+v", r.Credits)
		}
		expectREST(t, polled, r)
		me.expectBalance(t, 9, 0)
	})
	t.Run("a run of nobody but strangers ends at once", func(t *testing.T) {
		id := me.started(t, []string{theirs}, "")
		if polled, waited := me.poll(t, id); waited || !bytes.Contains(polled.body, []byte("PROFILE_NOT_FOUND")) {
			t.Errorf("%s", polled.body)
		}
		expectWhole(t, me.follow(t, id, new(int)).all(t), 1)
		me.expectBalance(t, 9, 0)
	})
	t.Run("a repeated id is one profile over REST, and unknown fields are ignored", func(t *testing.T) {
		r := me.send(t, "POST", "/v1/sourcing/enrich", fmt.Appendf(nil, `{"theme":"dark","profileIds":[%q,%q,"profile_test_success",%q]}`, mine, mine, mine))
		var out struct{ RequestID string }
		r.decode(t, &out)
		if r.status != 202 {
			t.Fatalf("%d %s", r.status, r.body)
		}
		me.poll(t, out.RequestID)
		me.results(t, out.RequestID).expectOutcomes(t, "ENRICHED", "NOT_FOUND")
		me.expectBalance(t, 8, 0)
	})
	t.Run("one idempotency key is one run, over both surfaces", func(t *testing.T) {
		ids := []string{mine}
		first := me.start(t, ids, "", "Idempotency-Key", "same")
		again := me.start(t, ids, "", "Idempotency-Key", "same")
		if first.status != 202 || !bytes.Equal(first.body, again.body) || again.header.Get("Idempotent-Replayed") != "true" || first.header.Get("Idempotent-Replayed") != "" {
			t.Errorf("%d %s, then %d %s", first.status, first.body, again.status, again.body)
		}
		var accepted struct{ RequestID string }
		first.decode(t, &accepted)
		var out startAnswer
		me.ask(t, startMutation, map[string]any{"in": map[string]any{"idempotencyKey": "same", "profileIds": ids}}, &out)
		if got := out.StartEnrichment; !got.Replayed || got.Run == nil || got.Run.RequestID != accepted.RequestID {
			t.Errorf("%+v", got)
		}
		other := me.start(t, []string{"prof_other"}, "", "Idempotency-Key", "same")
		if other.status != 422 || other.refusal(t).Error.Code != "IDEMPOTENCY_KEY_REUSED" {
			t.Errorf("%d %s", other.status, other.body)
		}
		me.poll(t, accepted.RequestID)
		me.expectBalance(t, 7, 0)
	})
}

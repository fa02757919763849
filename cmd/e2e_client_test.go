package cmd_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// caller is a customer's client: an address and a key.
type caller struct{ url, key string }

// reply is one HTTP answer, read to its end.
type reply struct {
	status int
	header http.Header
	body   []byte
}

var httpClient = &http.Client{Timeout: patience}

// send makes one request; headers come in pairs, and "" as a value removes one.
func (c caller) send(t *testing.T, method, path string, body []byte, headers ...string) reply {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, c.url+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if c.key != "" {
		req.Header.Set("Authorization", "Bearer "+c.key)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Del(headers[i])
		if headers[i+1] != "" {
			req.Header.Set(headers[i], headers[i+1])
		}
	}
	res, err := httpClient.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return reply{res.StatusCode, res.Header, text}
}

func (r reply) decode(t *testing.T, v any) {
	t.Helper()
	if err := json.Unmarshal(r.body, v); err != nil {
		t.Fatalf("%d: %v in %.500s", r.status, err, r.body)
	}
}

// failure is an error answer of the older contract.
type failure struct {
	Success    *bool
	Data       any
	StatusCode int
	Timestamp  time.Time
	Error      struct {
		Code, Message string
		Details       struct {
			Errors              []struct{ Field, Message string }
			RequiredScope       string
			ResourceType        string
			ResourceID          string
			RequiredEvents      []string
			WebhookID           string
			Required, Available *int
		}
	}
}

// refusal decodes an error answer and looks at what all of them have in common.
func (r reply) refusal(t *testing.T) failure {
	t.Helper()
	var f failure
	r.decode(t, &f)
	if f.Success == nil || *f.Success || f.Data != nil || f.Error.Code == "" || f.Error.Message == "" || f.Timestamp.IsZero() {
		t.Errorf("%d is no error of the contract: %s", r.status, r.body)
	}
	if got := r.header.Get("Content-Type"); !strings.HasPrefix(got, "application/json") {
		t.Errorf("an error of type %q", got)
	}
	return f
}

func marshal(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// start starts a run over REST.
func (c caller) start(t *testing.T, ids []string, webhook string, headers ...string) reply {
	t.Helper()
	body := map[string]any{"profileIds": ids}
	if webhook != "" {
		body["webhookId"] = webhook
	}
	return c.send(t, "POST", "/sourcing/enrich", marshal(t, body), headers...)
}

// started starts a run over REST that must be accepted.
func (c caller) started(t *testing.T, ids []string, webhook string) string {
	t.Helper()
	r := c.start(t, ids, webhook)
	var out struct{ RequestID string }
	r.decode(t, &out)
	if r.status != http.StatusAccepted || out.RequestID == "" {
		t.Fatalf("not accepted: %d %s", r.status, r.body)
	}
	return out.RequestID
}

// poll asks for the results, waits for the end of the run if it is told to wait,
// and asks again; so that no test runs into the limit on polling.
func (c caller) poll(t *testing.T, run string) (final reply, waited bool) {
	t.Helper()
	ask := func() reply { return c.send(t, "GET", "/sourcing/enrich/"+run+"/results", nil) }
	if final = ask(); final.status == http.StatusAccepted {
		var body map[string]any
		final.decode(t, &body)
		if body["success"] != true || body["requestId"] != run || body["status"] != "processing" || len(body) != 5 || final.header.Get("Retry-After") == "" {
			t.Errorf("while it is processing: %s", final.body)
		}
		c.follow(t, run, nil).all(t)
		waited, final = true, ask()
	}
	if final.status != http.StatusOK {
		t.Fatalf("results of %s: %d %s", run, final.status, final.body)
	}
	return final, waited
}

// graphError is one error of a GraphQL answer.
type graphError struct {
	Message    string
	Extensions struct{ Code, RequiredScope string }
}

// userError is one refusal of a mutation.
type userError struct {
	Type      string `json:"__typename"`
	Code      string
	Message   string
	Field     []string
	Required  *int
	Available *int
}

type envelope struct {
	Data   json.RawMessage
	Errors []graphError
}

// graphql posts one operation.
func (c caller) graphql(t *testing.T, query string, variables any, headers ...string) reply {
	t.Helper()
	return c.send(t, "POST", "/graphql", marshal(t, map[string]any{"query": query, "variables": variables}), headers...)
}

// ask posts an operation that must succeed, and decodes its data.
func (c caller) ask(t *testing.T, query string, variables, data any) {
	t.Helper()
	r := c.graphql(t, query, variables)
	var e envelope
	r.decode(t, &e)
	if r.status != http.StatusOK || len(e.Errors) > 0 {
		t.Fatalf("%s: %d %s", query, r.status, r.body)
	}
	if err := json.Unmarshal(e.Data, data); err != nil {
		t.Fatalf("%v in %s", err, e.Data)
	}
}

const startMutation = `mutation($in: StartEnrichmentInput!) { startEnrichment(input: $in) {
	replayed run { requestId status credits { reserved captured released held } }
	userErrors { __typename code message field ... on InsufficientCredits { required available } } } }`

// startAnswer is what startMutation answers.
type startAnswer struct {
	StartEnrichment struct {
		Replayed bool
		Run      *struct {
			RequestID, Status string
			Credits           credits
		}
		UserErrors []userError
	}
}

type credits struct{ Reserved, Captured, Released, Held int }

// webhook makes a webhook that hears only of runs which name it.
func (c caller) webhook(t *testing.T, url string, events ...string) (id, secret string) {
	t.Helper()
	var out struct {
		CreateWebhook struct {
			Webhook    *struct{ ID string }
			Secret     string
			UserErrors []userError
		}
	}
	c.ask(t, `mutation($in: CreateWebhookInput!) { createWebhook(input: $in) { webhook { id } secret userErrors { code message field } } }`,
		map[string]any{"in": map[string]any{"url": url, "eventTypes": events, "allRuns": false}}, &out)
	if out.CreateWebhook.Webhook == nil {
		t.Fatalf("no webhook: %v", out.CreateWebhook.UserErrors)
	}
	return out.CreateWebhook.Webhook.ID, out.CreateWebhook.Secret
}

// run is a run as GraphQL shows it.
type run struct {
	Status       string
	Test         bool
	LastSequence int
	Credits      credits
	Progress     map[string]int
	CreatedAt    time.Time
	FinishedAt   time.Time
	Profiles     struct{ Nodes []runProfile }
}

type runProfile struct {
	ProfileID, Outcome string
	Attempt, Credits   int
	FinishedAt         time.Time
	Missing            []string
	Failure            *struct{ Code string }
	Profile            *struct{ ExternalID string }
	Candidate          *candidate
}

type candidate struct {
	Name, ScoreBasis string
	MatchScore       int
	Emails           []struct {
		Address, Status, Method string
		Reasons                 []string
		Evidence                []evidence
	}
	Links []struct {
		URL      string
		Verified bool
		Evidence []evidence
	}
	Facts []struct {
		Name     string
		Value    json.RawMessage
		Evidence []evidence
	}
}

type evidence struct{ Source, URL, Excerpt, ContentHash, Extractor string }

const resultsQuery = `query($run: ID!) { enrichmentResults(requestId: $run) {
	status test lastSequence createdAt finishedAt credits { reserved captured released held }
	progress { total queued active enriched partial noMatch notFound suppressed timedOut failed cancelled }
	profiles(first: 10) { nodes {
		profileId outcome attempt credits finishedAt missing failure { code } profile { externalId }
		candidate {
			name scoreBasis matchScore
			emails { address status method reasons evidence { source url excerpt contentHash extractor } }
			links { url verified evidence { source url excerpt contentHash extractor } }
			facts { name value evidence { source url excerpt contentHash extractor } }
		} } } } }`

// results asks for everything about a run.
func (c caller) results(t *testing.T, id string) *run {
	t.Helper()
	var out struct{ EnrichmentResults *run }
	c.ask(t, resultsQuery, map[string]any{"run": id}, &out)
	if out.EnrichmentResults == nil {
		t.Fatalf("no run %s", id)
	}
	return out.EnrichmentResults
}

// stored reads a run's whole history, page by page.
func (c caller) stored(t *testing.T, id string) (all []event) {
	t.Helper()
	for {
		var out struct {
			EnrichmentRun struct {
				LastSequence int
				Events       []event
			}
		}
		c.ask(t, `query($run: ID!, $after: Int!) { enrichmentRun(requestId: $run) { lastSequence events(first: 100, afterSequence: $after) { `+eventFields+` } } }`,
			map[string]any{"run": id, "after": len(all)}, &out)
		all = append(all, out.EnrichmentRun.Events...)
		if len(all) >= out.EnrichmentRun.LastSequence || len(out.EnrichmentRun.Events) == 0 {
			return all
		}
	}
}

// outcomes are the profiles' outcomes in the order submitted.
func (r *run) outcomes() []string {
	var all []string
	for _, p := range r.Profiles.Nodes {
		all = append(all, p.Outcome)
	}
	return all
}

// expectOutcomes compares the outcomes, in the order submitted.
func (r *run) expectOutcomes(t *testing.T, want ...string) {
	t.Helper()
	if got := r.outcomes(); !slices.Equal(got, want) {
		t.Errorf("outcomes\n%v instead of\n%v", got, want)
	}
}

// account is a company's ledger as GraphQL shows it.
type account struct {
	Balance struct{ Posted, Held, Available int }
	Ledger  struct {
		Nodes []struct {
			Kind                   string
			Amount, AvailableAfter int
			Run                    *struct{ RequestID string }
		}
	}
}

func (c caller) account(t *testing.T) account {
	t.Helper()
	var out struct{ BillingAccount account }
	c.ask(t, `{ billingAccount { balance { posted held available } ledger(first: 100) { nodes { kind amount availableAfter run { requestId } } } } }`, nil, &out)
	return out.BillingAccount
}

// expectBalance looks at the balance, and that the entries (at most 100) add up to it.
func (c caller) expectBalance(t *testing.T, available, held int) {
	t.Helper()
	a := c.account(t)
	if a.Balance.Available != available || a.Balance.Held != held || a.Balance.Posted != available+held {
		t.Errorf("balance %+v instead of %d available, %d held", a.Balance, available, held)
	}
	sum := 0
	for _, e := range slices.Backward(a.Ledger.Nodes) {
		if sum += e.Amount; e.AvailableAfter != sum || sum < 0 {
			t.Errorf("after %s %d the entries make %d, and the ledger says %d", e.Kind, e.Amount, sum, e.AvailableAfter)
		}
	}
	if len(a.Ledger.Nodes) < 100 && sum != available {
		t.Errorf("the entries make %d of %d", sum, available)
	}
}

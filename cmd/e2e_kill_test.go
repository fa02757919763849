package cmd_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/enrichd/enrichd/internal/sandbox"
)

var (
	killRounds = flag.Int("kill.rounds", 12, "how often TestKillLoop kills the server")
	killSeed   = flag.Uint64("kill.seed", 0, "seed of TestKillLoop's dice; 0: another one each time")
)

const (
	killCredits = 1_000_000
	// killWithin is the longest that a server lives once runs have been asked of it:
	// most of the kills come in the quarter of it in which most of the work is done.
	killWithin = time.Second
	// killEnds is after how many kills all runs are let come to their end.
	killEnds = 12
	// hanging is the one whose site never answers: whoever waits for it is killed
	// again and again, until it is given up and a client has it tried once more.
	hanging = "oskar-wiklund"
)

// asked is a run that a client wants, until it has been told its id.
type asked struct {
	client   caller
	key      string
	profiles []string
	id       string
}

// killer plays the clients, and remembers what they asked for.
type killer struct {
	*world
	dice    *rand.Rand
	tenants []*tenant
	people  []people
	runs    []*asked
	server  *node
	flying  int // runs in flight at a kill, summed
	unheard int // runs that were accepted, and whose client had not heard of it at a kill
}

// TestKillLoop kills the server at random instants while runs are accepted,
// worked on, cancelled and tried again, and after each kill looks at the books and at each
// profile's charge. Clients repeat what they were not answered.
func TestKillLoop(t *testing.T) {
	t.Parallel()
	seed := *killSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	k := &killer{world: newWorld(t), dice: rand.New(rand.NewPCG(seed, 0))}
	k.env = append(k.env, "ENRICHD_SOURCES=site", "ENRICHD_CRAWL_RATE=100", "ENRICHD_RATE_LIMITS=false")
	behave(k.web, sandbox.Normal, inFlight...)
	behave(k.web, sandbox.Hanging, hanging)
	k.server = k.serve(t)
	for range 2 {
		k.tenants = append(k.tenants, k.tenant(t, k.server, killCredits))
	}
	var company struct{ ID string }
	must(t, k.env, &company, "company", "create", "--name", "Postpaid", "--billing", "postpaid", "--plan", "scale")
	post := &tenant{company: company.ID}
	post.keyID, post.caller = newKey(t, k.env, k.server, company.ID)
	k.tenants = append(k.tenants, post)
	for _, me := range k.tenants {
		k.people = append(k.people, k.importAll(t, me.company))
	}
	t.Logf("seed %d", seed)
	for round := 1; round <= *killRounds; round++ {
		k.round(t, round)
		if round%killEnds == 0 || round == *killRounds {
			k.end(t, round)
		}
		if t.Failed() {
			t.Fatalf("after %d kills, seed %d", round, seed)
		}
	}
	var outcomes []string
	if err := k.db.Bun.NewRaw("SELECT format('%s %s', count(*), outcome) FROM run_profiles GROUP BY outcome ORDER BY count(*) DESC").Scan(t.Context(), &outcomes); err != nil {
		t.Error(err)
	}
	captures := k.count(t, "SELECT count(*) FROM billing_entries WHERE kind = 'CAPTURE'")
	begun := k.count(t, "SELECT count(*) FROM run_profiles WHERE attempt > 1")
	reopened := k.count(t, "SELECT count(*) FROM (SELECT FROM billing_entries WHERE kind = 'RESERVE' GROUP BY run_id HAVING count(*) > 1) AS r")
	t.Logf("%d kills, %d runs; in flight at a kill %d, accepted unheard %d; %d profiles begun again, %d runs opened again, %d captures; profiles: %s",
		*killRounds, len(k.runs), k.flying, k.unheard, begun, reopened, captures, strings.Join(outcomes, ", "))
}

// round has the clients ask for runs and kills the server at a random moment of that.
func (k *killer) round(t *testing.T, round int) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var group sync.WaitGroup
	for i, me := range k.tenants {
		for n := range 1 + k.dice.IntN(3) {
			r := &asked{client: me.caller, key: fmt.Sprintf("%d-%d-%d", round, i, n), profiles: k.draw(t, i)}
			k.runs = append(k.runs, r)
			group.Go(func() { r.start(ctx) })
		}
		// Of the newer ones, since an older one has been tried again already.
		if old := k.runs[max(0, len(k.runs)-1-k.dice.IntN(40))]; old.id != "" {
			key := fmt.Sprintf("again-%d-%d", round, i)
			group.Go(func() { old.retry(ctx, key) })
		}
		if old := k.runs[k.dice.IntN(len(k.runs))]; old.id != "" && k.dice.IntN(3) == 0 {
			group.Go(func() { old.cancel(ctx) })
		}
	}
	within := killWithin
	if k.dice.IntN(4) > 0 {
		within /= 4
	}
	<-time.After(time.Duration(k.dice.Int64N(int64(within))))
	k.server.kill(t)
	cancel()
	group.Wait()
	k.unheard += k.count(t, "SELECT count(*) FROM runs")
	for _, r := range k.runs {
		if r.id != "" {
			k.unheard--
		}
	}
	k.flying += k.count(t, "SELECT count(*) FROM runs WHERE finished_at IS NULL")
	k.check(t, fmt.Sprintf("after kill %d", round))
	k.server = k.serve(t, k.server.addr())
	k.check(t, fmt.Sprintf("after restart %d", round))
	// The command replays every entry, in a process of its own, beside the server.
	if s := k.cli(t, "audit"); s.status != 0 {
		t.Errorf("the audit after restart %d: %+v", round, s)
	}
	for _, r := range k.runs {
		if r.id == "" && !r.start(t.Context()) {
			t.Errorf("round %d: %s is not accepted by the server that came back", round, r.key)
		}
	}
}

// draw picks up to ten of the company's people.
func (k *killer) draw(t *testing.T, company int) []string {
	names := append(append([]string{}, inFlight...), hanging)
	k.dice.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	return k.people[company].pick(t, names[:1+k.dice.IntN(10)]...)
}

// end waits until every run has ended and looks at what must hold then.
func (k *killer) end(t *testing.T, round int) {
	t.Helper()
	eventually(t, 2*patience, fmt.Sprintf("every run ends after %d kills", round), func() bool {
		return k.count(t, "SELECT count(*) FROM runs WHERE finished_at IS NULL") == 0
	})
	k.check(t, fmt.Sprintf("at the end after %d kills", round))
	for what, query := range map[string]string{
		"credits are held":                  "SELECT coalesce(sum(held), 0) FROM billing_accounts",
		"reservations are open":             "SELECT count(*) FROM billing_reservations WHERE state = 'OPEN'",
		"profiles are open":                 "SELECT count(*) FROM run_profiles WHERE finished_at IS NULL",
		"runs are more or fewer than asked": fmt.Sprintf("SELECT abs(count(*) - %d) FROM runs", len(k.runs)),
		"runs have gaps in their events":    "SELECT count(*) FROM runs AS r WHERE last_sequence <> (SELECT count(*) FROM run_events AS e WHERE e.run_id = r.id)",
	} {
		if n := k.count(t, query); n != 0 {
			t.Errorf("after %d kills: %d %s", round, n, what)
		}
	}
}

// charges lists what is charged otherwise than it succeeded: a profile that
// succeeded costs one, once, in its run; nothing else costs anything.
const charges = `
	SELECT format('run %s profile %s: %s, %s credits, %s captures', rp.run_id, rp.profile_id, rp.outcome, rp.credits, count(e.seq))
	  FROM run_profiles AS rp
	  LEFT JOIN billing_entries AS e ON e.run_id = rp.run_id AND e.profile_id = rp.profile_id AND e.kind = 'CAPTURE'
	 GROUP BY rp.run_id, rp.profile_id, rp.outcome, rp.credits
	HAVING count(e.seq) <> rp.credits OR rp.credits <> CASE WHEN rp.outcome IN ('ENRICHED', 'PARTIAL') THEN 1 ELSE 0 END
	 UNION ALL
	SELECT format('a capture of run %s profile %s, which do not exist', e.run_id, e.profile_id)
	  FROM billing_entries AS e
	 WHERE e.kind = 'CAPTURE' AND NOT EXISTS (SELECT FROM run_profiles AS rp WHERE rp.run_id = e.run_id AND rp.profile_id = e.profile_id)
	 UNION ALL
	SELECT format('run %s: %s, %s, %s reserved, captured, released, and its reservation says %s, %s, %s',
	              r.id, r.reserved, r.captured, r.released, b.amount, b.captured, b.released)
	  FROM runs AS r
	  LEFT JOIN billing_reservations AS b ON b.run_id = r.id
	 WHERE (r.reserved, r.captured, r.released) IS DISTINCT FROM (b.amount, b.captured, b.released)
	 UNION ALL
	SELECT format('account %s holds %s, and its open reservations %s', a.id, a.held, coalesce(sum(b.amount - b.captured - b.released), 0))
	  FROM billing_accounts AS a
	  LEFT JOIN billing_reservations AS b ON b.account_id = a.id AND b.state = 'OPEN'
	 GROUP BY a.id
	HAVING a.held <> coalesce(sum(b.amount - b.captured - b.released), 0)
	 UNION ALL
	SELECT format('%s of %s: %s', invariant, account_id, detail) FROM billing_audit()`

// check audits the books and every charge, as they stand in one snapshot.
func (k *killer) check(t *testing.T, when string) {
	t.Helper()
	var wrong []string
	if err := k.db.Bun.NewRaw(charges).Scan(t.Context(), &wrong); err != nil {
		t.Fatal(err)
	}
	for _, w := range wrong[:min(len(wrong), 10)] {
		t.Errorf("%s: %s", when, w)
	}
}

// start asks for the run, and reports whether it was answered.
func (a *asked) start(ctx context.Context) bool {
	var out struct{ RequestID string }
	body := map[string]any{"profileIds": a.profiles}
	if !a.client.attempt(ctx, "/sourcing/enrich", body, http.StatusAccepted, &out, "Idempotency-Key", a.key) {
		return false
	}
	a.id = out.RequestID
	return true
}

func (a *asked) retry(ctx context.Context, key string) {
	a.client.attempt(ctx, "/graphql", map[string]any{
		"query":     `mutation($in: RetryFailedProfilesInput!) { retryFailedProfiles(input: $in) { requeued userErrors { code } } }`,
		"variables": map[string]any{"in": map[string]any{"idempotencyKey": key, "requestId": a.id}},
	}, http.StatusOK, new(any))
}

func (a *asked) cancel(ctx context.Context) {
	a.client.attempt(ctx, "/graphql", map[string]any{
		"query":     `mutation($in: CancelEnrichmentInput!) { cancelEnrichment(input: $in) { userErrors { code } } }`,
		"variables": map[string]any{"in": map[string]any{"requestId": a.id}},
	}, http.StatusOK, new(any))
}

// attempt posts to a server that may die meanwhile, and reports whether it answered with that status.
func (c caller) attempt(ctx context.Context, path string, body any, status int, v any, headers ...string) bool {
	text, err := json.Marshal(body)
	if err != nil {
		return false
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+path, bytes.NewReader(text))
	if err != nil {
		return false
	}
	req.Header.Set("Authorization", "Bearer "+c.key)
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := httpClient.Do(req)
	if err != nil {
		return false
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	return err == nil && res.StatusCode == status && json.Unmarshal(answer, v) == nil && !strings.Contains(string(answer), `"errors":[{`)
}

package cmd_test

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/enrichd/enrichd/internal/sandbox"
)

var (
	uuidLine   = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	secretLine = regexp.MustCompile(`^sk_(live|test)_[0-9A-Za-z]{36}$`)
)

// keysOf decodes one JSON object and returns the names of its members in order.
func keysOf(t *testing.T, text string) (names []string) {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(text))
	if open, err := dec.Token(); err != nil || open != json.Delim('{') {
		t.Fatalf("no object: %q", text)
	}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, name.(string))
		var value any
		if err := dec.Decode(&value); err != nil {
			t.Fatal(err)
		}
	}
	return names
}

// TestOutputs holds the outputs that scripts rely on.
func TestOutputs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.serve(t)
	var company struct{ ID string }
	made := w.cli(t, "company", "create", "--name", "Acme & Söhne", "--billing", "prepaid", "--credits", "12", "--plan", "business", "--json")
	made.decode(t, &company)
	t.Run("company create", func(t *testing.T) {
		if !slices.Equal(keysOf(t, made.stdout), []string{"id"}) || !uuidLine.MatchString(company.ID) || made.stderr != "" {
			t.Errorf("%+v", made)
		}
		for _, args := range [][]string{{"--billing", "postpaid"}, {"--plan", "trial"}, {"--plan", "starter"}, {"--plan", "scale"}, {"--plan", "enterprise"}, {"--billing", "prepaid", "--credits", "0"}} {
			if s := w.cli(t, append([]string{"company", "create", "--name", "Other"}, args...)...); s.status != 0 || !uuidLine.MatchString(strings.TrimSuffix(s.stdout, "\n")) {
				t.Errorf("%v: %+v", args, s)
			}
		}
	})
	t.Run("company list", func(t *testing.T) {
		var all []struct {
			ID, Name, Plan, Billing string
			Available, Held         int
		}
		w.cli(t, "company", "list", "--json").decode(t, &all)
		if len(all) == 0 || all[0].ID != company.ID || all[0].Name != "Acme & Söhne" || all[0].Plan != "business" || all[0].Available != 12 || all[0].Held != 0 {
			t.Errorf("%+v", all)
		}
	})
	t.Run("keys create, list and revoke", func(t *testing.T) {
		var key struct{ ID, Secret string }
		s := w.cli(t, "keys", "create", "--company", company.ID, "--json")
		s.decode(t, &key)
		if !slices.Equal(keysOf(t, s.stdout), []string{"id", "secret"}) || !uuidLine.MatchString(key.ID) || !secretLine.MatchString(key.Secret) || !strings.HasPrefix(key.Secret, "sk_live_") {
			t.Errorf("%+v", s)
		}
		scopes := func(secret string) []string {
			var out struct {
				Viewer struct{ APIKey struct{ Scopes []string } }
			}
			caller{n.url, secret}.ask(t, `{ viewer { apiKey { scopes } } }`, nil, &out)
			return out.Viewer.APIKey.Scopes
		}
		if got := scopes(key.Secret); !slices.Equal(got, []string{"ENRICH_READ", "ENRICH_WRITE", "BILLING_READ", "BILLING_WRITE", "WEBHOOKS_READ", "WEBHOOKS_WRITE", "PRIVACY_WRITE"}) {
			t.Errorf("scopes %v", got)
		}
		plain := w.cli(t, "keys", "create", "--company", company.ID, "--mode", "test", "--scopes", "enrich:write,READ_BILLING,ADMIN")
		secret := strings.TrimSuffix(plain.stdout, "\n")
		if !secretLine.MatchString(secret) || !strings.HasPrefix(secret, "sk_test_") || strings.Contains(plain.stderr, secret) {
			t.Errorf("%+v", plain)
		}
		if got := scopes(secret); !slices.Equal(got, []string{"ENRICH_WRITE", "BILLING_READ", "ADMIN"}) {
			t.Errorf("scopes %v", got)
		}
		var revoked struct{ ID, RevokedAt string }
		w.cli(t, "keys", "revoke", key.ID, "--json").decode(t, &revoked)
		if revoked.ID != key.ID || revoked.RevokedAt == "" {
			t.Errorf("%+v", revoked)
		}
		if s := w.cli(t, "keys", "revoke", key.ID); s.status != 0 {
			t.Errorf("revoking again: %+v", s)
		}
		list := w.cli(t, "keys", "list", "--company", company.ID, "--json")
		var all []struct{ ID, Mode, State string }
		list.decode(t, &all)
		if len(all) != 2 || all[0].ID != key.ID || all[0].State != "revoked" || all[1].State != "active" || all[1].Mode != "test" {
			t.Errorf("%+v", all)
		}
		if strings.Contains(list.stdout, key.Secret[:20]) {
			t.Error("the list shows a secret")
		}
	})
	t.Run("credits grant", func(t *testing.T) {
		for range 2 { // the second is a repeat
			var out struct{ Available, Held int }
			w.cli(t, "credits", "grant", "--company", company.ID, "--credits", "8", "--idempotency-key", "once", "--json").decode(t, &out)
			if out.Available != 20 || out.Held != 0 {
				t.Errorf("%+v", out)
			}
		}
	})
	t.Run("import", func(t *testing.T) { importOutputs(t, w, company.ID) })
}

func importOutputs(t *testing.T, w *world, company string) {
	type imported struct {
		Created, Updated, Unchanged int
		Refused                     []struct {
			Field   []string
			Message string
		}
		Profiles []struct{ ID, ExternalID string }
	}
	run := func(status int, name, content string, more ...string) (out imported) {
		t.Helper()
		s := w.cli(t, append([]string{"import", file(t, name, []byte(content)), "--company", company, "--json"}, more...)...)
		if s.status != status {
			t.Fatalf("%s: %+v", name, s)
		}
		s.decode(t, &out)
		return out
	}
	const csv = "externalId,name,headline,location,currentCompany,currentRole,skills,emails,links,roleBrief.title,roleBrief.mustHaveSkills\n" +
		"one,Ada Byron,Engineer,\"London, UK\",Analytical,Lead,Go;C++ ; Rust,ada@example.test,https://example.test/ada;https://github.com/ada,Engineer,Go;SQL\n" +
		"two,Jürgen Müller,,,,,,,,,\n"
	first := run(0, "people.csv", csv)
	if first.Created != 2 || len(first.Profiles) != 2 || first.Profiles[0].ExternalID != "one" || first.Profiles[1].ExternalID != "two" {
		t.Fatalf("%+v", first)
	}
	again := run(0, "people.jsonl", `{"externalId":"one","name":"Ada Byron","headline":"Engineer","location":"London, UK","currentCompany":"Analytical","currentRole":"Lead",`+
		`"skills":["Go","C++","Rust"],"emails":["ada@example.test"],"links":["https://example.test/ada","https://github.com/ada"],"roleBrief":{"title":"Engineer","mustHaveSkills":["Go","SQL"]}}`+"\n"+
		`{"externalId":"two","name":"Jürgen Müller","headline":"Baker"}`+"\n")
	if again.Created != 0 || again.Unchanged != 1 || again.Updated != 1 || again.Profiles[0].ID != first.Profiles[0].ID {
		t.Errorf("the same people as JSON Lines: %+v", again)
	}
	resume := run(0, "resume.json", `{"basics":{"name":"Grace Hopper","label":"Admiral","email":"grace@example.test","url":"https://example.test/grace"},"skills":[{"name":"COBOL"}]}`, "--format", "jsonresume")
	if resume.Created != 1 {
		t.Errorf("%+v", resume)
	}
	// Rows that are refused are named and do not stop the others.
	mixed := run(3, "mixed.jsonl", `{"externalId":"three","name":"Good One"}`+"\n"+`{"externalId":"four"}`+"\n"+`{"externalId":`+"\n"+
		`{"externalId":"five","name":"a\u0000b"}`+"\n"+`{"externalId":"six","name":7}`+"\n"+`{"externalId":"seven","name":"Good Two"}`+"\n")
	if mixed.Created != 2 || len(mixed.Refused) != 4 || mixed.Profiles[1].ExternalID != "seven" {
		t.Errorf("%+v", mixed)
	}
	for i, r := range mixed.Refused {
		if len(r.Field) == 0 || r.Field[0] != string(rune('1'+i)) || r.Message == "" {
			t.Errorf("refusal %d: %+v", i, r)
		}
	}
	plain := w.cli(t, "import", file(t, "people.csv", []byte(csv)), "--company", company)
	if plain.status != 0 || plain.stdout != "0 created, 1 updated, 1 unchanged, 0 refused\n" {
		t.Errorf("%+v", plain)
	}
}

// TestHelp asks every command for help, as it finds them in the help of the one above.
func TestHelp(t *testing.T) {
	t.Parallel()
	listed := regexp.MustCompile(`(?m)^  ([a-z-]+) +\S`)
	seen := 0
	var ask func(path ...string)
	ask = func(path ...string) {
		for _, flag := range []string{"--help", "-h"} {
			s := command(t, nil, append(slices.Clone(path), flag)...)
			if s.status != 0 || !strings.Contains(s.stdout, "Usage:") || s.stderr != "" {
				t.Errorf("%v %s: %+v", path, flag, s)
			}
			if flag == "-h" {
				continue
			}
			seen++
			_, commands, _ := strings.Cut(s.stdout, "Available Commands:\n")
			commands, _, _ = strings.Cut(commands, "\n\n")
			for _, m := range listed.FindAllStringSubmatch(commands, -1) {
				if m[1] != "help" && m[1] != "completion" {
					ask(append(slices.Clone(path), m[1])...)
				}
			}
		}
	}
	ask()
	if seen < 20 {
		t.Errorf("only %d commands were found", seen)
	}
}

// TestExitStatus holds what a script may rely on: 0 done, 1 an error, 2 wrong usage, 3 done with failures, 130 interrupted.
func TestExitStatus(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	behave(w.web, sandbox.Hanging, "noor-haddad")
	n := w.serve(t)
	me := w.tenant(t, n, 10)
	people := w.importAll(t, me.company)
	_, test := newKey(t, w.env, n, me.company, "--mode", "test")
	client := func(c caller) []string { return []string{"ENRICHD_URL=" + n.url, "ENRICHD_API_KEY=" + c.key} }

	for line, want := range map[string]int{
		"": 0, "--version": 0, "help": 0, "company": 0, "config print": 0, "migrate status --json": 0, "migrate": 0,
		"bogus": 2, "company bogus": 2, "--bogus": 2, "serve --bogus": 2, "serve extra": 2, "serve --roles cook": 2, "watch": 2, "results a b": 2,
		"start": 2, "start prof_a": 2, "import": 2, "import people.csv": 2, "import people.txt --company x": 2, "keys create": 2, "keys list": 2, "keys revoke": 2, "credits grant": 2,
		"company create": 2, "company create --name x --billing other": 2, "company create --name x --plan gold": 2, "company create --name x --credits -1": 2,
		"company create --name x --credits many": 2, "company create --name x --billing postpaid --credits 5": 2,
		"keys create --company " + me.company + " --mode other": 2, "keys create --company " + me.company + " --scopes read:*": 2, "keys create --company " + me.company + " --expires-in -1s": 2,
		"keys create --company " + unknownUUID: 1, "keys create --company nobody": 1, "keys revoke " + unknownUUID: 1, "keys revoke nobody": 1, "credits grant --company nobody --credits 1": 1,
		"credits grant --company " + me.company + " --credits -1": 1, "import nowhere.csv --company " + me.company: 1,
	} {
		t.Run("enrichd "+line, func(t *testing.T) {
			t.Parallel()
			s := w.cli(t, strings.Fields(line)...)
			if s.status != want || want != 0 && (s.stdout != "" || !strings.HasPrefix(s.stderr, "enrichd: ")) {
				t.Errorf("%+v", s)
			}
		})
	}
	t.Run("a setting that is wrong", func(t *testing.T) {
		t.Parallel()
		s := command(t, []string{"ENRICHD_ADDR=nowhere", "ENRICHD_SOURCES=linkedin"}, "serve")
		if s.status != 1 || !strings.Contains(s.stderr, "ENRICHD_ADDR") || !strings.Contains(s.stderr, "linkedin") {
			t.Errorf("%+v", s)
		}
	})
	t.Run("no service", func(t *testing.T) {
		t.Parallel()
		if s := command(t, client(test), "start", "a", "--url", "http://127.0.0.1:1"); s.status != 1 || !strings.Contains(s.stderr, "no service answers") {
			t.Errorf("%+v", s)
		}
	})
	t.Run("refusals of the service", func(t *testing.T) {
		t.Parallel()
		for want, args := range map[string][]string{
			"at most 10 profiles": append([]string{"start"}, ids(11)...), "no run": {"watch", "enr_" + unknownUUID}, "no run x": {"results", "x"},
			"Webhook configuration not found": {"start", "a", "--webhook", unknownUUID},
		} {
			if s := command(t, client(me.caller), args...); s.status != 1 || !strings.Contains(s.stderr, want) || s.stdout != "" {
				t.Errorf("%v: %+v", args, s)
			}
		}
		if s := command(t, client(caller{key: "sk_nobody"}), "start", "a"); s.status != 1 || !strings.Contains(s.stderr, "UNAUTHENTICATED") {
			t.Errorf("%+v", s)
		}
	})
	t.Run("start --watch, and failures only when asked for", func(t *testing.T) {
		t.Parallel()
		s := command(t, client(test), "start", "profile_test_success", "--profiles", "profile_test_failure", "--watch", "--json")
		events := lines[event](t, s)
		if last := events[len(events)-1]; last.Status != "COMPLETED" || last.Progress["failed"] != 1 {
			t.Errorf("%+v", last)
		}
		id := regexp.MustCompile(`enr_[0-9a-f-]+`).FindString(s.stderr)
		if s := command(t, client(test), "watch", id); s.status != 0 || !strings.Contains(s.stdout, "run completed") {
			t.Errorf("%+v", s)
		}
		if s := command(t, client(test), "watch", id, "--exit-status"); s.status != 3 {
			t.Errorf("%+v", s)
		}
		if s := command(t, client(test), "results", id); s.status != 0 || !strings.Contains(s.stdout, "run completed") {
			t.Errorf("%+v", s)
		}
		if s := command(t, client(test), "results", id, "--csv"); s.status != 0 || len(strings.Split(strings.TrimSpace(s.stdout), "\n")) != 3 {
			t.Errorf("%+v", s)
		}
	})
	t.Run("interrupted", func(t *testing.T) {
		t.Parallel()
		started := spawn(t, client(me.caller), "start", people["noor-haddad"], "--watch")
		started.await(t, &started.out, "(Noor Haddad) +crawl")
		started.signal(t, interrupt)
		if status := started.wait(t, patience); status != 130 {
			t.Errorf("status %d: %s", status, started.log.String())
		}
	})
	t.Run("a repeat of a start", func(t *testing.T) {
		t.Parallel()
		first := command(t, client(test), "start", "profile_test_no_match", "--idempotency-key", "twice")
		again := command(t, client(test), "start", "profile_test_no_match", "--idempotency-key", "twice")
		if first.status != 0 || first.stdout != again.stdout || !strings.HasPrefix(first.stdout, "enr_") {
			t.Errorf("%+v, %+v", first, again)
		}
	})
	t.Run("nothing was made by what was refused", func(t *testing.T) {
		var all []struct{ ID string }
		w.cli(t, "company", "list", "--json").decode(t, &all)
		if len(all) != 1 {
			t.Errorf("%d companies", len(all))
		}
	})
}

// TestConfigPrint looks that every setting is listed, and no secret shown.
func TestConfigPrint(t *testing.T) {
	t.Parallel()
	env := []string{
		"DATABASE_URL=postgres://u:hush@db/x", "ENRICHD_MASTER_KEY=" + strings.Repeat("ab", 32), "ENRICHD_SOURCE_GITHUB_KEY=hush",
		"ENRICHD_SOURCE_ORCID_URL=https://orcid.example/api", "ENRICHD_EGRESS_ALLOW=10.0.0.0/8,192.0.2.1", "ENRICHD_ADDRESS=typo",
	}
	s := command(t, env, "config", "print")
	for _, name := range []string{
		"DATABASE_URL", "ENRICHD_ADDR", "ENRICHD_ADMIN_ADDR", "ENRICHD_STATE_DIR", "ENRICHD_EGRESS_ALLOW", "ENRICHD_EGRESS_PORTS", "ENRICHD_DNS_SERVER",
		"ENRICHD_SOURCES", "ENRICHD_SOURCE_<NAME>_URL", "ENRICHD_CRAWL_RATE", "ENRICHD_SOURCE_ORCID_URL",
	} {
		if !regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + `=`).MatchString(s.stdout) {
			t.Errorf("%s is not listed", name)
		}
	}
	if s.status != 0 || strings.Contains(s.stdout, "hush") || strings.Contains(s.stdout, "abab") {
		t.Errorf("%+v", s)
	}
	if !strings.Contains(s.stderr, "ENRICHD_ADDRESS") {
		t.Errorf("a name that means nothing is not told: %s", s.stderr)
	}
	var all []struct{ Name, Value, Default, Help string }
	command(t, env, "config", "print", "--json").decode(t, &all)
	values := map[string]string{}
	for _, v := range all {
		values[v.Name] = v.Value
	}
	if values["ENRICHD_ADDR"] != "127.0.0.1:8080" || values["ENRICHD_EGRESS_ALLOW"] != "10.0.0.0/8,192.0.2.1/32" || values["ENRICHD_CRAWL_RATE"] != "1" || values["DATABASE_URL"] != "[redacted]" {
		t.Errorf("%v", values)
	}
}

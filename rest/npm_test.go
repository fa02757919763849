package rest

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/enrichd/enrichd/dispatch"
)

// needNPM skips a test that fetches from npm unless it was asked for. Once asked
// for it is not skipped any more: a machine that cannot run it fails, and says how to do without.
func needNPM(t *testing.T) {
	t.Helper()
	if os.Getenv("ENRICHD_TEST_NPM") == "" {
		t.Skip("ENRICHD_TEST_NPM is empty, so nothing is fetched from npm and this is not tested; make published sets it")
	}
	for _, program := range []string{"node", "npm", "npx"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatalf("ENRICHD_TEST_NPM is set and %s is not installed: install Node 20 with npm, or leave this out with ENRICHD_TEST_NPM=", program)
		}
	}
}

// The linters, pinned.
var linters = [][]string{
	{"@redocly/cli@2.36.0", "redocly", "lint", "--extends=recommended"},
	{"@stoplight/spectral-cli@6.15.0", "spectral", "lint", "--fail-severity=error", "--ruleset"},
}

// TestLinters runs two public linters over the OpenAPI document.
func TestLinters(t *testing.T) {
	t.Parallel()
	needNPM(t)
	doc, err := filepath.Abs("openapi.yaml")
	must(t, err)
	for _, l := range linters {
		dir := t.TempDir()
		must(t, os.WriteFile(filepath.Join(dir, "ruleset.yaml"), []byte("extends: [\"spectral:oas\"]\n"), 0o644))
		args := append([]string{"--yes", "--package=" + l[0], "--"}, l[1:]...)
		if l[1] == "spectral" {
			args = append(args, filepath.Join(dir, "ruleset.yaml"))
		}
		t.Logf("%s: %s", l[0], run(t, dir, []string{"REDOCLY_TELEMETRY=off"}, "npx", append(args, doc)...))
	}
}

// arrived is a delivery with all its headers, as a receiver hands it to a library.
type arrived struct {
	Headers map[string]string `json:"headers"`
	Body    string            `json:"body"`
}

func (a arrived) with(header, value string) arrived {
	headers := maps.Clone(a.Headers)
	headers[header] = value
	return arrived{headers, a.Body}
}

// TestPublishedLibraries has npm standardwebhooks and svix verify deliveries from before,
// during and after the rotation of a secret, and refuse what was tampered with.
func TestPublishedLibraries(t *testing.T) {
	t.Parallel()
	needNPM(t)
	h := newHouse(t, nil)
	c := h.tenant(10)
	got := make(chan arrived, 16)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		a := arrived{map[string]string{}, string(body)}
		for name := range req.Header {
			a.Headers[strings.ToLower(name)] = req.Header.Get(name)
		}
		got <- a
	}))
	t.Cleanup(receiver.Close)
	hook, hexSecret := c.hook(receiver.URL, `["PING"]`)
	ping := func() arrived {
		t.Helper()
		if r := c.call("POST", "/webhooks/"+hook+"/test", ""); !strings.Contains(string(r.body), `"httpStatus":200`) {
			t.Fatalf("%s", r.body)
		}
		return <-got
	}
	raw, err := hex.DecodeString(hexSecret)
	must(t, err)
	old := "whsec_" + base64.StdEncoding.EncodeToString(raw)

	before := ping()
	rotation, err := h.Dispatch.RotateSecret(c.with(), dispatch.RotateSecretInput{ID: hook, OverlapHours: 1})
	must(t, err)
	during := ping()
	_, err = h.db.Bun.ExecContext(context.Background(), "UPDATE webhook_secrets SET expires_at = now() - interval '1 second' WHERE expires_at IS NOT NULL")
	must(t, err)
	after := ping()
	cases := []struct {
		name     string
		delivery arrived
		want     []bool // by the old secret, the new one and a stranger's
	}{
		{"before", before, []bool{true, false, false}},
		{"during", during, []bool{true, true, false}},
		{"after", after, []bool{false, true, false}},
		{"during, without the newer signature", during.with("webhook-signature", strings.Fields(during.Headers["webhook-signature"])[1]), []bool{true, false, false}},
		{"another body", arrived{during.Headers, during.Body + " "}, []bool{false, false, false}},
		{"another id", during.with("webhook-id", "evt_x"), []bool{false, false, false}},
		{"another time", during.with("webhook-timestamp", strconv.FormatInt(time.Now().Unix()-1000, 10)), []bool{false, false, false}},
		{"no signature", during.with("webhook-signature", ""), []bool{false, false, false}},
	}
	input := struct {
		Secrets    []string  `json:"secrets"`
		Deliveries []arrived `json:"deliveries"`
	}{Secrets: []string{old, rotation.Secret, "whsec_" + base64.StdEncoding.EncodeToString(make([]byte, 32))}}
	for _, one := range cases {
		input.Deliveries = append(input.Deliveries, one.delivery)
	}
	in, err := json.Marshal(input)
	must(t, err)
	dir := t.TempDir()
	for _, name := range []string{"package.json", "package-lock.json", "verify.mjs"} {
		b, err := os.ReadFile(filepath.Join("..", "examples", "webhook-signatures", name))
		must(t, err)
		must(t, os.WriteFile(filepath.Join(dir, name), b, 0o644))
	}
	run(t, dir, nil, "npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts")
	must(t, os.WriteFile(filepath.Join(dir, "deliveries.json"), in, 0o644))
	var said map[string][][]bool
	must(t, json.Unmarshal([]byte(run(t, dir, nil, "sh", "-c", "node verify.mjs < deliveries.json")), &said))
	for _, library := range []string{"standardwebhooks", "svix"} {
		if len(said[library]) != len(cases) {
			t.Fatalf("%s judged %d of %d deliveries", library, len(said[library]), len(cases))
		}
		for i, one := range cases {
			if !slices.Equal(said[library][i], one.want) {
				t.Errorf("%s, %s: the old secret, the new one and a stranger's verify %v instead of %v", library, one.name, said[library][i], one.want)
			}
		}
	}
	// And the older header, which can carry one signature, keeps to the old secret until the overlap ends.
	for name, one := range map[string]struct {
		delivery arrived
		secret   string
	}{"before": {before, hexSecret}, "during": {during, hexSecret}, "after": {after, dispatch.OlderSecret(rotation.Secret)}} {
		mac := hmac.New(sha256.New, []byte(one.secret))
		mac.Write([]byte(one.delivery.Body))
		if one.delivery.Headers["x-webhook-signature"] != hex.EncodeToString(mac.Sum(nil)) {
			t.Errorf("%s: the older header does not verify", name)
		}
	}
}

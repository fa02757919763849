package rest

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
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

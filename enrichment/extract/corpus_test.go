package extract

import (
	"os"
	"path/filepath"
	"testing"
)

// corpus answers where a public corpus lies, and skips the test when it is not present.
func corpus(t testing.TB, name string) string {
	t.Helper()
	root := os.Getenv("ENRICHD_CORPORA")
	path := filepath.Join(root, filepath.FromSlash(name))
	if _, err := os.Stat(path); root == "" || err != nil {
		t.Skipf("public corpus %s is not present; set ENRICHD_CORPORA to the folder that holds it", name)
	}
	return path
}

package access

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// published is what README tells secret scanners to look for.
var published = regexp.MustCompile(`\bsk_(?:live|test)_[0-9A-Za-z]{36}\b`)

// TestNoSecretLiesAround looks through this repository for what is a key of
// ours: of its form, and with the right checksum.
func TestNoSecretLiesAround(t *testing.T) {
	t.Parallel()
	root := filepath.Join("..", "..")
	looked := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); name == "node_modules" || name == ".git" {
				return filepath.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil || bytes.IndexByte(text, 0) >= 0 { // no text, or gone meanwhile
			return nil
		}
		looked++
		for _, found := range published.FindAll(text, -1) {
			if plausible(string(found)) {
				t.Errorf("%s holds a key: %s…", path, found[:shownChars])
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if looked < 100 {
		t.Errorf("only %d files were looked at", looked)
	}
	for _, test := range []bool{true, false} {
		if token := newToken(test); published.FindString("key="+token+"\n") != token {
			t.Errorf("the published pattern does not find a key of ours")
		}
	}
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(readme), published.String()) {
		t.Error("README does not tell scanners what to look for")
	}
}

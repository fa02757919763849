// Package cmd_test drives the built program as its users do: commands as
// processes, the API over real sockets, webhooks received by a real server. The
// sites and sources that it visits are the sandbox's; databases are pgtest's.
package cmd_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// scratch outlives the tests, for what they share.
var scratch string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "enrichd-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	scratch = dir
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// build makes the program, once for all tests of this process that want it.
var build = sync.OnceValues(func() (path string, err error) {
	path = filepath.Join(scratch, "enrichd")
	if out, err := exec.Command("go", "build", "-o", path, "..").CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
})

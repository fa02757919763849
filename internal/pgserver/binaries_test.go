//go:build unix

package pgserver

import (
	"os"
	"path/filepath"
	"testing"
)

func TestInstallCommand(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ goos, release, want string }{
		{"darwin", "", "brew install postgresql@17"},
		{"linux", "ID=debian\n", "sudo apt-get install postgresql"},
		{"linux", "NAME=\"Linux Mint\"\nID=linuxmint\nID_LIKE=\"ubuntu debian\"\n", "sudo apt-get install postgresql"},
		{"linux", "ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n", "sudo dnf install postgresql-server"},
		{"linux", "ID=alpine\n", "sudo apk add postgresql"},
		{"linux", "ID=\"opensuse-leap\"\nID_LIKE=\"suse opensuse\"\n", "sudo zypper install postgresql-server"},
		{"linux", "ID=arch\n", "sudo pacman -S postgresql"},
		{"linux", "", "your package manager (the package is called postgresql or postgresql-server)"},
	} {
		if got := installCommand(c.goos, c.release); got != c.want {
			t.Errorf("%s %q: got %q, want %q", c.goos, c.release, got, c.want)
		}
	}
}

func TestChooseBinaries(t *testing.T) {
	t.Parallel()
	installation := func(version string) string {
		dir := t.TempDir()
		for _, name := range []string{"postgres", "initdb"} {
			script := "#!/bin/sh\necho '" + name + " (PostgreSQL) " + version + "'\n"
			if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	data := func(version string) string {
		dir := t.TempDir()
		if version != "" {
			if err := os.WriteFile(filepath.Join(dir, "PG_VERSION"), []byte(version+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	for _, c := range []struct {
		name, installed, data string
		disposable            bool
		fails                 bool
	}{
		{"fits", "16.4 (Debian 16.4-1)", "16", false, false},
		{"is a beta", "19beta1", "", false, false},
		{"is too old for new data", "13.9", "", false, true},
		{"differs", "17.1", "16", false, true},
		{"differs from disposable data", "17.1", "16", true, false},
	} {
		got, err := chooseBinaries(installation(c.installed), data(c.data), c.disposable)
		if (err != nil) != c.fails {
			t.Errorf("%s: got %+v, %v", c.name, got, err)
		}
	}
}

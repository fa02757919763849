//go:build unix

package pgserver

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// oldest is the first major version with everything that we use.
const oldest = 14

// binaries is one installation of PostgreSQL.
type binaries struct {
	dir     string
	version string // as "15.18"
	major   int
}

// NoBinaries says that no PostgreSQL was found, and how to get one here.
type NoBinaries struct {
	// Tried is the configured directory that holds none; empty after a search.
	Tried string
	// Found names an installation that is too old; empty when there was none.
	Found string
}

func (e NoBinaries) Error() string {
	what := "no PostgreSQL server binaries found"
	switch {
	case e.Tried != "":
		what = fmt.Sprintf("no PostgreSQL server binaries (postgres, initdb) in %s, which ENRICHD_POSTGRES_BIN names", e.Tried)
	case e.Found != "":
		what = fmt.Sprintf("PostgreSQL %s is too old, version %d or newer is needed", e.Found, oldest)
	}
	return what + "; install them with: " + installCommand(runtime.GOOS, readOSRelease()) +
		"; or set ENRICHD_POSTGRES_BIN to their directory, or DATABASE_URL to a running PostgreSQL"
}

// OtherVersion says that the data directory was made by another major version
// than every installed one. Nothing was touched.
type OtherVersion struct {
	Data      string
	Has       string
	Installed string
	Bin       string
}

func (e OtherVersion) Error() string {
	return fmt.Sprintf("the data in %s was made by PostgreSQL %s, and %s is installed; nothing was touched. Install PostgreSQL %s as well and point ENRICHD_POSTGRES_BIN at it, or upgrade the data: pg_upgrade --username=%s --old-datadir=%s --new-datadir=%s.new --old-bindir=DIRECTORY_OF_%s --new-bindir=%s",
		e.Data, e.Has, e.Installed, e.Has, User, e.Data, e.Data, e.Has, e.Bin)
}

// places are where distributions keep the server's binaries, which are often not on the PATH.
var places = []string{
	"/usr/lib/postgresql/*/bin", // Debian, Ubuntu
	"/usr/pgsql-*/bin",          // PostgreSQL's own packages for Red Hat
	"/usr/lib/postgresql*/bin",  // SUSE
	"/usr/libexec/postgresql*",  // Alpine
	"/usr/local/pgsql/bin",      // built from source
	"/opt/homebrew/opt/postgresql*/bin",
	"/usr/local/opt/postgresql*/bin",
	"/home/linuxbrew/.linuxbrew/opt/postgresql*/bin",
	"/opt/local/lib/postgresql*/bin", // MacPorts
	"/Applications/Postgres.app/Contents/Versions/*/bin",
}

// chooseBinaries picks the installation that fits the data directory, or the
// newest one when there is none yet or its data is disposable. bin, when given,
// is the only candidate.
func chooseBinaries(bin, data string, disposable bool) (binaries, error) {
	found := findBinaries(bin)
	if len(found) == 0 {
		return binaries{}, NoBinaries{Tried: bin}
	}
	newest := found[0]
	if has := dataVersion(data); has != "" && !disposable {
		for _, b := range found {
			if strconv.Itoa(b.major) == has {
				return b, nil
			}
		}
		return binaries{}, OtherVersion{Data: data, Has: has, Installed: newest.version, Bin: newest.dir}
	}
	if newest.major < oldest {
		return binaries{}, NoBinaries{Found: newest.version}
	}
	return newest, nil
}

// dataVersion is the major version that made a data directory, "" when there is none.
func dataVersion(data string) string {
	text, err := os.ReadFile(filepath.Join(data, "PG_VERSION"))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// findBinaries returns every usable installation, newest major version first;
// among equals, the one on the PATH wins.
func findBinaries(bin string) []binaries {
	dirs := []string{bin}
	if bin == "" {
		dirs = searchDirs()
	}
	var found []binaries
	for _, dir := range dirs {
		if b, ok := inspect(dir); ok {
			found = append(found, b)
		}
	}
	slices.SortStableFunc(found, func(a, b binaries) int { return b.major - a.major })
	return found
}

func searchDirs() []string {
	var dirs []string
	if path, err := exec.LookPath("postgres"); err == nil {
		dirs = append(dirs, filepath.Dir(path))
	}
	for _, place := range places {
		matches, _ := filepath.Glob(place)
		dirs = append(dirs, matches...)
	}
	return dirs
}

var versionPattern = regexp.MustCompile(`\(PostgreSQL\) (\d+)(?:\.(\d+))?`)

func inspect(dir string) (binaries, bool) {
	for _, name := range []string{"postgres", "initdb"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.IsDir() || info.Mode()&0o111 == 0 {
			return binaries{}, false
		}
	}
	out, err := exec.Command(filepath.Join(dir, "postgres"), "--version").Output()
	if err != nil {
		return binaries{}, false
	}
	m := versionPattern.FindSubmatch(out)
	if m == nil {
		return binaries{}, false
	}
	major, err := strconv.Atoi(string(m[1]))
	if err != nil {
		return binaries{}, false
	}
	version := string(m[1])
	if len(m[2]) > 0 {
		version += "." + string(m[2])
	}
	abs, err := filepath.Abs(dir)
	return binaries{dir: abs, version: version, major: major}, err == nil
}

func readOSRelease() string {
	text, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return ""
	}
	return string(text)
}

// installCommand is what a person types on this platform. osRelease is the text of os-release(5).
func installCommand(goos, osRelease string) string {
	switch goos {
	case "darwin":
		return "brew install postgresql@17"
	case "freebsd":
		return "sudo pkg install postgresql17-server"
	}
	var ids []string
	lines := bufio.NewScanner(bytes.NewReader([]byte(osRelease)))
	for lines.Scan() {
		if key, value, ok := strings.Cut(lines.Text(), "="); ok && (key == "ID" || key == "ID_LIKE") {
			ids = append(ids, strings.Fields(strings.Trim(value, `"'`))...)
		}
	}
	for _, known := range []struct{ id, command string }{
		{"debian", "sudo apt-get install postgresql"},
		{"ubuntu", "sudo apt-get install postgresql"},
		{"alpine", "sudo apk add postgresql"},
		{"fedora", "sudo dnf install postgresql-server"},
		{"rhel", "sudo dnf install postgresql-server"},
		{"suse", "sudo zypper install postgresql-server"},
		{"opensuse", "sudo zypper install postgresql-server"},
		{"arch", "sudo pacman -S postgresql"},
	} {
		if slices.Contains(ids, known.id) {
			return known.command
		}
	}
	return "your package manager (the package is called postgresql or postgresql-server)"
}

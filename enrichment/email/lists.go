package email

import (
	"bufio"
	"embed"
	"strings"
	"sync"
)

//go:embed data/*.txt
var data embed.FS

// lists are the domains and names that say something about an address before anybody is asked.
type lists struct {
	disposable, free, role map[string]bool
}

var known = sync.OnceValue(func() lists {
	return lists{disposable: read("disposable"), free: read("free"), role: read("role")}
})

// read loads one list: an entry a line, # begins a comment.
func read(name string) map[string]bool {
	f, err := data.Open("data/" + name + ".txt")
	if err != nil {
		panic(err) // embedded: cannot be missing
	}
	defer f.Close()
	set := map[string]bool{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		entry, _, _ := strings.Cut(lines.Text(), "#")
		if entry = strings.TrimSpace(entry); entry != "" {
			set[entry] = true
		}
	}
	return set
}

// isDisposable says that the host or a domain above it belongs to a throw-away service.
func (l lists) isDisposable(host string) bool {
	for host != "" {
		if l.disposable[host] {
			return true
		}
		_, host, _ = strings.Cut(host, ".")
	}
	return false
}

// isRole says that a local part names a function or a shared mailbox. What
// follows a + is ignored; separators inside a word are ignored only in long
// ones, because h.r may be a person's initials.
func (l lists) isRole(local string) bool {
	const long = 6
	name, _, _ := strings.Cut(strings.ToLower(local), "+")
	joined := separators.Replace(name)
	return l.role[name] || len(joined) >= long && l.role[joined]
}

var separators = strings.NewReplacer(".", "", "-", "", "_", "")

package cmd

import (
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// silent are the commands that print no data: servers, whose output is their log.
var silent = []string{"enrichd serve", "enrichd work"}

// TestCommands walks every command there is: each says what it does and shows how it is used, and each that prints data prints JSON when asked.
func TestCommands(t *testing.T) {
	t.Parallel()
	leaves := 0
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		path := c.CommandPath()
		if c.Short == "" || strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s: its short help is %q", path, c.Short)
		}
		for _, child := range c.Commands() {
			walk(child)
		}
		if does := !c.HasSubCommands() || path == "enrichd migrate"; !does {
			return
		}
		leaves++
		if c.Example == "" {
			t.Errorf("%s shows no example", path)
		}
		for line := range strings.Lines(c.Example) {
			if !strings.HasPrefix(line, "  ") || !strings.Contains(line, path) {
				t.Errorf("%s: the example %q is none of it, or not indented", path, line)
			}
			exampleParses(t, line)
		}
		if flag := c.Flags().Lookup("json"); (flag == nil) != slices.Contains(silent, path) {
			t.Errorf("%s: --json is %v", path, flag)
		}
	}
	root := newRoot()
	for _, c := range root.Commands() {
		walk(c)
	}
	if leaves < 30 || leaves != len(examples) {
		t.Errorf("%d commands and %d examples were found", leaves, len(examples))
	}
}

// exampleParses holds that an example names a command, flags that it has, and as many arguments as it takes.
func exampleParses(t *testing.T, line string) {
	t.Helper()
	line, _, _ = strings.Cut(line, " #")
	line, _, _ = strings.Cut(line, " > ")
	words := strings.Fields(line)
	at := slices.Index(words, "enrichd")
	if at < 0 {
		t.Errorf("%q calls nothing", line)
		return
	}
	for i, w := range words {
		words[i] = strings.Trim(w, `"'`)
	}
	c, rest, err := newRoot().Find(words[at+1:])
	if err != nil {
		t.Errorf("%q: %v", line, err)
		return
	}
	if err := c.ParseFlags(rest); err != nil {
		t.Errorf("%q: %v", line, err)
		return
	}
	if err := c.ValidateArgs(c.Flags().Args()); err != nil {
		t.Errorf("%q: %v", line, err)
	}
}

func TestServiceURL(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ url, addr, want string }{
		{"", "", "http://127.0.0.1:8080"},
		{"", "127.0.0.1:9000", "http://127.0.0.1:9000"},
		{"", ":9000", "http://127.0.0.1:9000"},
		{"", "0.0.0.0:9000", "http://127.0.0.1:9000"},
		{"", "[::]:9000", "http://127.0.0.1:9000"},
		{"", "[::1]:9000", "http://[::1]:9000"},
		{"https://enrichd.example.com", "127.0.0.1:9000", "https://enrichd.example.com"},
	} {
		env := map[string]string{"ENRICHD_URL": c.url, "ENRICHD_ADDR": c.addr}
		if got := serviceURL(func(name string) string { return env[name] }); got != c.want {
			t.Errorf("%v: %s, want %s", env, got, c.want)
		}
	}
}

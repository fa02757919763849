package email

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestParse(t *testing.T) {
	t.Parallel()
	t.Run("accepts addresses and gives each its one form", func(t *testing.T) {
		t.Parallel()
		for in, want := range map[string]Address{
			"ada@example.org":                {"ada", "example.org", "example.org"},
			"Ada.Lovelace+x@EXAMPLE.Org":     {"Ada.Lovelace+x", "example.org", "example.org"},
			"!#$%&'*+-/=?^_`{|}~@example.io": {"!#$%&'*+-/=?^_`{|}~", "example.io", "example.io"},
			`"ada"@example.org`:              {"ada", "example.org", "example.org"},
			`"a\d\a"@example.org`:            {"ada", "example.org", "example.org"},
			`"ada lovelace"@example.org`:     {`"ada lovelace"`, "example.org", "example.org"},
			`"a\ b\"\\@"@example.org`:        {`"a b\"\\@"`, "example.org", "example.org"},
			`""@example.org`:                 {`""`, "example.org", "example.org"},
			"ada@BÜCHER.example":             {"ada", "xn--bcher-kva.example", "bücher.example"},
			"ada@XN--BCHER-KVA.example":      {"ada", "xn--bcher-kva.example", "bücher.example"},
			"ada@faß.example":                {"ada", "xn--fa-hia.example", "faß.example"},
			"ada@例え。テスト":                     {"ada", "xn--r8jz45g.xn--zckzah", "例え.テスト"},
			"用户@例子.广告":                       {"用户", "xn--fsqu00a.xn--4rr70v", "例子.广告"},
			"cafe\u0301@example.org":         {"café", "example.org", "example.org"},
			"ada@r3---sn-a5m.example.org":    {"ada", "r3---sn-a5m.example.org", "r3---sn-a5m.example.org"},
			"ada@1.example":                  {"ada", "1.example", "1.example"},
			"ada@org":                        {"ada", "org", "org"},
			"नमस्ते@उदाहरण.भारत":             {"नमस्ते", "xn--p1b6ci4b4b3a.xn--h2brj9c", "उदाहरण.भारत"},
		} {
			got, err := Parse(in)
			if err != nil || got != want {
				t.Errorf("%q: %+v %v, want %+v", in, got, err, want)
			}
			again, err := Parse(got.String())
			if err != nil || again != got {
				t.Errorf("%q is not stable: %+v %v", in, again, err)
			}
		}
	})
	t.Run("refuses what cannot be mailed to", func(t *testing.T) {
		t.Parallel()
		long := strings.Repeat("a", 63)
		for _, in := range []string{
			"", "@", "ada", "ada@", "@example.org", "ada@@example.org", "a@b@example.org", "ada example@example.org", " ada@example.org", "ada@example.org ",
			"ada@example.org\n", ".ada@example.org", "ada.@example.org", "a..b@example.org", "ada@.example.org", "ada@example.org.", "ada@example..org",
			"ada@-example.org", "ada@example-.org", "ada@-é.org", "ada@é-.org", "ada@xn----bga.com", "ada@exa_mple.org", "ada@exa mple.org", "ada@example.org/x", "ada@1.2.3.4", "ada@example.123",
			"ada@[1.2.3.4]", "ada@[IPv6:::1]", "ada@example.[1.2.3.4]", "Ada <ada@example.org>", "<ada@example.org>", "ada@example.org>", "mailto:ada@example.org,b", "(c)ada@example.org", "ada(c)@example.org", "ada@example.org(c)",
			`"ada@example.org`, `"a"b@example.org`, `a"b"@example.org`, `"a""b"@example.org`, `"a".b@example.org`, `"a\"@example.org`, "\"a\nb\"@example.org", "\"a\\\x00\"@example.org", `"é\é"@example.org`,
			"a,b@example.org", "a;b@example.org", "a:b@example.org", `a\b@example.org`, "a\x00b@example.org", "a\x7fb@example.org", "a\u0080b@example.org", "a\ufffdb@example.org", "a\xffb@example.org", "ada@ex\ufffdample.org",
			"a\u200bb@example.org", "a\u00a0b@example.org", "a\u202eb@example.org", "\ufeffada@example.org", "a\u00adb@example.org", "a\ue000@example.org", "a\ufdd0@example.org", "a\u2028b@example.org", "ada@example.org␍␊", "␊ada@example.org",
			"ada@xn--a.com", "ada@xn--test.com", "ada@xn--.com", "ada@a\u2028b.com", "ada@\u200d.com", "ada@\U0010ffff.com", "ada@אa1א.com",
			long + "aa@example.org", strings.Repeat("é", 33) + "@example.org", "ada@" + long + "a.org", "a@" + strings.Repeat(long+".", 4) + "org", long + "@" + strings.Repeat(long+".", 2) + strings.Repeat("a", 60) + ".org",
			"ada@" + strings.Repeat("ü", 60) + ".org",
		} {
			got, err := Parse(in)
			var syntax SyntaxError
			if !errors.As(err, &syntax) || syntax.Reason == "" || got != (Address{}) {
				t.Errorf("%.80q: %+v %v", in, got, err)
			}
		}
	})
	t.Run("takes the longest that RFC 5321 allows", func(t *testing.T) {
		t.Parallel()
		label := strings.Repeat("a", 63)
		local := label + "a"
		address := local + "@" + label + "." + label + "." + strings.Repeat("a", 61)
		if _, err := Parse(address); err != nil || len(address) != maxAddress {
			t.Error(len(address), err)
		}
		if _, err := Parse(address + "a"); err == nil {
			t.Error("one more was accepted")
		}
	})
	t.Run("accepts a letter that Unicode has not assigned yet", func(t *testing.T) {
		t.Parallel()
		a, err := Parse("ada@\U000103ff.example")
		if err != nil || a.Domain != "xn--bi8c.example" {
			t.Error(a, err)
		}
	})
	t.Run("knows which need SMTPUTF8", func(t *testing.T) {
		t.Parallel()
		for in, want := range map[string]bool{"ada@example.org": false, "ada@bücher.example": false, "adä@example.org": true} {
			if a, err := Parse(in); err != nil || a.NeedsSMTPUTF8() != want {
				t.Error(in, a, err)
			}
		}
	})
	t.Run("normalises", func(t *testing.T) {
		t.Parallel()
		if s, err := Normalise(`"Ada"@XN--BCHER-KVA.Example`); err != nil || s != "Ada@bücher.example" {
			t.Error(s, err)
		}
		if _, err := Normalise("x"); err == nil {
			t.Error("no error")
		}
	})
}

// policy says which kinds of warning are accepted: section 6 of the design.
// Everything that is no Mailbox of RFC 5321 is refused, and of what is one, IP
// addresses and numeric top-level domains.
var policy = map[string]bool{
	"rfc5321QuotedString":   true,
	"rfc5321AddressLiteral": false,
	"rfc5321TLDNumeric":     false,
	"cfws":                  false,
	"deprecated":            false,
	"rfc5322":               false,
}

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

func TestSyntaxCorpus(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile(corpus(t, "email-syntax/skeggse.json"))
	if err != nil {
		t.Fatal(err)
	}
	var entries [][2]string
	if err := json.Unmarshal(raw, &entries); err != nil {
		t.Fatal(err)
	}
	count, right := map[string]int{}, map[string]int{}
	for _, e := range entries {
		address, diagnosis := e[0], e[1]
		class, want := "warning", false
		switch {
		case diagnosis == "valid":
			class, want = "valid", true
		case strings.HasPrefix(diagnosis, "err"):
			class = "error"
		default:
			found := ""
			for prefix, accept := range policy {
				if strings.HasPrefix(diagnosis, prefix) && len(prefix) > len(found) {
					found, want = prefix, accept
				}
			}
			if found == "" {
				t.Errorf("no policy for %s", diagnosis)
			}
		}
		count[class]++
		if _, err := Parse(address); (err == nil) == want {
			right[class]++
		} else {
			t.Errorf("%q (%s): %v", address, diagnosis, err)
		}
	}
	if count["error"] != 91 || count["valid"] != 20 || count["warning"] != 99 {
		t.Fatalf("the corpus is not whole: %v", count)
	}
	t.Logf("errors refused %d of 91, valid accepted %d of 20, warnings by policy %d of 99", right["error"], right["valid"], right["warning"])
}

// FuzzParse looks for an address that is accepted and then not stable, too long, or unfit for a mail command.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"ada@example.org", `"a\ b"@xn--bcher-kva.example`, "用户@例子.广告", "a@b@c", "a@\U000103ff.com", "\"\"@a", "a@xn--a", "ǅ@İ.com", "a@１２.com"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := Parse(s)
		if err != nil {
			return
		}
		again, err := Parse(a.String())
		if err != nil || again != a {
			t.Fatalf("%q: %+v, read again %+v %v", s, a, again, err)
		}
		wire, err := Parse(a.Local + "@" + a.Domain)
		if err != nil || wire != a {
			t.Fatalf("%q: %+v, by its ASCII domain %+v %v", s, a, wire, err)
		}
		if len(a.Local) > maxLocal || len(a.Local)+1+len(a.Domain) > maxAddress || !isASCII(a.Domain) || a.Domain != strings.ToLower(a.Domain) {
			t.Fatalf("%q: %+v", s, a)
		}
		if !utf8.ValidString(a.String()) || strings.ContainsAny(a.String(), "\r\n\x00<>") && a.Local[0] != '"' {
			t.Fatalf("%q: %+v", s, a)
		}
		if strings.ContainsAny(a.String(), "\r\n\x00") {
			t.Fatalf("%q: a control character in %+v", s, a)
		}
	})
}

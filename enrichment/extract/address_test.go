package extract

import (
	"strings"
	"testing"
)

func TestAddressSyntax(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		"Ada.L@Example.ORG": "Ada.L@example.org", " a+b@x.io ": "a+b@x.io", "zoë@müller.de": "zoë@müller.de", "a@xn--mller-kva.de": "a@müller.de",
		"a@b": "", "@b.de": "", "a@.de": "", "a..b@c.de": "", ".a@c.de": "", "a.@c.de": "", "a b@c.de": "", "a@c.d": "", "a@1.2.3.4": "", "a@-c.de": "",
		"a@c_d.de": "", "a@b@c.de": "", `"a"@c.de`: "", strings.Repeat("a", 65) + "@c.de": "", "a@" + strings.Repeat("b", 64) + ".de": "", "a\ufffd@c.de": "", "a@[1.2.3.4]": "",
	} {
		if got, ok := cleanAddress(raw); got != want || ok != (want != "") {
			t.Errorf("%q gives %q, %v", raw, got, ok)
		}
	}
}

func TestScanAddresses(t *testing.T) {
	t.Parallel()
	const want = "ada.l@lovelace.dev"
	for _, s := range []string{
		"ada.l@lovelace.dev", "Write to ada.l@lovelace.dev.", "<ada.l@lovelace.dev>", "(ada.l@lovelace.dev)", "mail:ada.l@lovelace.dev, phone", "ada.l@lovelace.dev.Please write",
		"ada.l [at] lovelace [dot] dev", "ada.l(at)lovelace(dot)dev", "ada.l {at} lovelace {dot} dev", "ada.l [AT] lovelace.dev", "ada.l(@)lovelace.dev", "ada.l[@]lovelace[.]dev",
		"ada.l <at> lovelace <dot> dev", "ada [dot] l [at] lovelace [dot] dev", "ada dot l at lovelace dot dev", "ada.l at lovelace dot dev", "ada.l AT lovelace DOT dev",
		"ada.l -at- lovelace -dot- dev", "ada.l _at_ lovelace _dot_ dev", "ada.l-at-lovelace-dot-dev", "ada.l @ lovelace.dev", "ada.l @ lovelace . dev", "ada.l (a) lovelace (punkt) dev",
		"ada.l(ät)lovelace.dev", "ada.l [arroba] lovelace [punto] dev", "ada.l&#64;lovelace&#46;dev", "reach me: ada.l at lovelace dot dev!", "ada.l [ at ] lovelace [ dot ] dev",
	} {
		t.Run(s, func(t *testing.T) {
			t.Parallel()
			found := scanAddresses(s)
			if len(found) != 1 || found[0].address != want {
				t.Errorf("found %+v", found)
			}
		})
	}
	for _, s := range []string{
		"Follow @ada on it", "icon@2x.png", "Meet me at google.com", "I work at Engine dot com fans club", "look at me", "a@b", "you@example.com", "name@domain.com", "john.doe@example.org",
		"pkg@1.2.3", "user@host", "ada [at] home", "we met at noon. dot matrix", "me at the office (dot) com@", "ada@nospam.lovelace.dev", "yourname@lovelace.dev", "see look-at-me.com",
	} {
		t.Run("nobody in "+s, func(t *testing.T) {
			t.Parallel()
			if found := scanAddresses(s); len(found) > 0 {
				t.Errorf("found %+v", found)
			}
		})
	}
	t.Run("keeps two addresses of one line apart", func(t *testing.T) {
		t.Parallel()
		found := scanAddresses("ada@lovelace.dev or bob [at] babbage [dot] org")
		if len(found) != 2 || found[0].address != "ada@lovelace.dev" || found[1].address != "bob@babbage.org" || found[1].snippet != "bob [at] babbage [dot] org" {
			t.Errorf("found %+v", found)
		}
	})
}

func TestPageAddresses(t *testing.T) {
	t.Parallel()
	const want = "ada@lovelace.co.uk"
	code := func(s string) string { // the CDN's scramble with key 0x42
		const digits = "0123456789abcdef"
		out := "42"
		for i := 0; i < len(s); i++ {
			b := s[i] ^ 0x42
			out += string(digits[b>>4]) + string(digits[b&15])
		}
		return out
	}
	for _, c := range []struct{ name, html, extractor, quote string }{
		{"a mailto link", `<a href="MAILTO:ada%40lovelace.co.uk?subject=Hi,bob@x.org">Write</a>`, "mailto/1", "Write"},
		{"a mailto link with two recipients", `<a href="mailto:ada@lovelace.co.uk,bob@x.org">Write</a>`, "mailto/1", "mailto:"},
		{"a mailto link with a name", `<a href="mailto:Ada%20%3Cada@lovelace.co.uk%3E">Write</a>`, "mailto/1", "Write"},
		{"a mailto link of entities", `<a href="&#109;&#97;&#105;&#108;to:ada&#x40;lovelace.co.uk">Write</a>`, "mailto/1", "Write"},
		{"an obfuscated mailto link", `<a href="mailto:ada[at]lovelace.co.uk">Write</a>`, "deobfuscated/1", "ada[at]lovelace"},
		{"plain text", `<p>Mail <b>ada</b>@lovelace.co.uk today</p>`, "text/1", "Mail ada@lovelace.co.uk today"},
		{"text of entities", `<p>&#97;da&#64;lovelace&#46;co.uk</p>`, "text/1", "ada@lovelace"},
		{"text split by comments and elements", `<p>ada<!-- x -->&#64;<span>lovelace</span>.co.uk</p>`, "text/1", "ada@"},
		{"at and dot", `<p>ada [at] lovelace [dot] co [dot] uk</p>`, "deobfuscated/1", "ada [at] lovelace [dot] co [dot] uk"},
		{"text turned round by a style", `<p><span style="unicode-bidi: bidi-override; direction: rtl;">ku.oc.ecalevol@ada</span></p>`, "text/1", ""},
		{"text turned round by a class", `<style>.rev { direction: rtl; unicode-bidi:bidi-override }</style><p><span class="rev">ku.oc.ecalevol@ada</span></p>`, "text/1", ""},
		{"text turned round by bdo", `<p><bdo dir="rtl">ku.oc.ecalevol@ada</bdo></p>`, "text/1", ""},
		{"text with a hidden trap inside", `<p>ada<span style="display: none">-trap</span>@lovelace.co.uk</p>`, "text/1", ""},
		{"text with a trap hidden by a class", `<style>span.t{display:none}</style><p>ada@<span class="t">null.</span>lovelace.co.uk</p>`, "text/1", ""},
		{"the CDN's attribute", `<a class="__cf_email__" data-cfemail="` + code(want) + `">[email&#160;protected]</a>`, "deobfuscated/1", "data-cfemail"},
		{"the CDN's link", `<a href="/cdn-cgi/l/email-protection#` + code(want) + `">Write</a>`, "deobfuscated/1", "email-protection#"},
		{"ROT13 in a link", `<a href="znvygb:nqn@ybirynpr.pb.hx">Write</a>`, "deobfuscated/1", "znvygb:"},
		{"ROT13 in an attribute", `<a data-rot13="nqn@ybirynpr.pb.hx">Write</a>`, "deobfuscated/1", "nqn@"},
		{"ROT13 in a script", `<script>document.write("<n uers=\"znvygb:nqn@ybirynpr.pb.hx\">".replace(/[a-z]/g,f))</script>`, "deobfuscated/1", "znvygb:"},
		{"two attributes", `<span data-user="ada" data-domain="lovelace.co.uk"></span>`, "deobfuscated/1", `data-user="ada" data-domain="lovelace.co.uk"`},
		{"three attributes", `<span data-name="ada" data-host="lovelace" data-tld="co.uk"></span>`, "deobfuscated/1", `data-tld="co.uk"`},
		{"two attributes backwards", `<span data-user="ada" data-website="ku.oc.ecalevol"></span>`, "deobfuscated/1", `data-website="ku.oc.ecalevol"`},
		{"one attribute", `<span data-email="ada@lovelace.co.uk"></span>`, "deobfuscated/1", `data-email=`},
		{"one attribute in base64", `<span data-email="YWRhQGxvdmVsYWNlLmNvLnVr"></span>`, "deobfuscated/1", `data-email=`},
		{"pieces in a script", `<script>var a = 'ada' + "@" + 'lovelace.co.uk';</script>`, "deobfuscated/1", `'ada' + "@" + 'lovelace.co.uk'`},
		{"pieces around a character code", `<script>w("ada"+String.fromCharCode(64)+"lovelace.co.uk")</script>`, "deobfuscated/1", `"ada"+String`},
	} {
		t.Run("reads "+c.name, func(t *testing.T) {
			t.Parallel()
			f := page(`<title>Ada Lovelace</title><h1>Ada Lovelace</h1>` + c.html)
			wantTexts(t, "emails", f.Person.Emails, want)
			if len(f.Person.Emails) == 1 {
				if e := f.Person.Emails[0]; e.Extractor != c.extractor || !strings.Contains(e.Snippet, c.quote) {
					t.Errorf("%+v", e)
				}
			}
		})
	}
	t.Run("drops samples, traps and templates", func(t *testing.T) {
		t.Parallel()
		f := page(`<h1>I'm Ada Lovelace</h1><input placeholder="you@lovelace.dev"><p>you@lovelace.dev, name@domain.com, jane@example.com</p>
			<p style="display:none">trap@lovelace.dev</p><a hidden href="mailto:trap2@lovelace.dev">x</a><template>t@lovelace.dev</template><!-- c@lovelace.dev --><script>x="a@lovelace.dev"</script>`)
		wantTexts(t, "emails", f.Person.Emails)
	})
	t.Run("takes from a page of many only those that resemble the name", func(t *testing.T) {
		t.Parallel()
		f := page(`<h1>I'm Ada Lovelace</h1><p>bob@x.org</p><p>cy@x.org</p><p>di@x.org</p><p>a.lovelace@x.org</p>`)
		wantTexts(t, "emails", f.Person.Emails, "a.lovelace@x.org")
	})
}

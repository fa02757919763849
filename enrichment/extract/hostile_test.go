package extract

import (
	"encoding/json"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/html"
)

// fill repeats unit up to size bytes.
func fill(unit string, size int) string { return strings.Repeat(unit, size/len(unit)) }

// hostilePages make documents of any size that are meant to hurt a parser.
var hostilePages = map[string]func(size int) string{
	"deep divs": func(n int) string { return fill("<div>", n) },
	"deep properties": func(n int) string {
		return `<div class="h-card">` + fill(`<b class="p-note e-note">`, n/2) + fill("text ", n/2)
	},
	"deep items":     func(n int) string { return fill(`<i class="p-x h-x">x`, n) },
	"deep old items": func(n int) string { return fill(`<i class="vcard agent fn">x`, n) },
	"deep microdata": func(n int) string {
		return fill(`<i itemscope itemtype="http://schema.org/Person" itemprop="knows">x`, n)
	},
	"deep RDFa": func(n int) string {
		return `<p vocab="http://schema.org/">` + fill(`<i typeof="Person" property="knows">x`, n)
	},
	"misnested formatting":     func(n int) string { return distinct(`<b id="`, `">`, 300) + fill("<p>x</p>", n) },
	"ignored tags in text":     func(n int) string { return "x" + fill("</z>x<tr>x", n) },
	"tables of text":           func(n int) string { return "<table>" + fill("x<tr>x", n) },
	"unclosed attributes":      func(n int) string { return "<a " + fill("b=c ", n) },
	"repeated body attributes": func(n int) string { return distinct("<body a", "=1>", n/16) },
	"many items":               func(n int) string { return fill(`<p class="h-card">Ada Lovelace</p>`, n) },
	"many links":               func(n int) string { return distinct(`<a rel="me" href="/`, `">x</a>`, n/32) },
	"many addresses":           func(n int) string { return distinct("a", "@lovelace.dev ", n/20) },
	"at after at":              func(n int) string { return fill("a at ", n) },
	"at signs":                 func(n int) string { return fill("@", n) },
	"dots and ats":             func(n int) string { return "a@" + fill("b.", n) },
	"brackets":                 func(n int) string { return fill("([{<", n) },
	"dashed ats":               func(n int) string { return fill("a-at-b-dot-", n) },
	"deep JSON":                func(n int) string { return `<script type="application/ld+json">` + fill(`{"a":[`, n) },
	"JSON comments":            func(n int) string { return `<script type="application/ld+json">` + fill(`<!--{`, n) },
	"JSON quotes":              func(n int) string { return `<script type="application/ld+json">{` + fill(`"\u0`, n) },
	"JSON references": func(n int) string {
		return `<script type="application/ld+json">[` + fill(`{"@type":"Person","@id":"#a","name":"A","worksFor":{"@id":"#a"}},`, n)
	},
	"one long word":      func(n int) string { return fill("a", n) },
	"recruiter words":    func(n int) string { return fill("recruiters do not contact ", n) },
	"quotes in a script": func(n int) string { return "<script>@" + fill(`"+'`, n) },
	"style rules":        func(n int) string { return "<style>bidi-override" + fill(".a{", n) },
	"includes": func(n int) string {
		return `<div id="a" class="vcard">` + fill(`<a class="include" href="#a">x</a>`, n)
	},
	"many rels":    func(n int) string { return `<a href="/" rel="` + distinct("r", " ", n/12) + `">` },
	"many classes": func(n int) string { return `<p class="h-card ` + distinct("p-a", " ", n/14) + `">` },
	"many addresses of one": func(n int) string {
		return `<script type="application/ld+json">{"@type":"Person","name":"A","url":[` + fill(`"/x",`, n)
	},
	"nested links":         func(n int) string { return fill(`<a href="/x" rel="me"><div>`, n/2) + fill("x ", n/2) },
	"words about work":     func(n int) string { return fill("a recruiter has a job. ", n) },
	"entities":             func(n int) string { return fill("&amp;#64;", n) },
	"spans and paragraphs": func(n int) string { return fill("<p><span>some words, in a sentence.</span>", n) },
}

func distinct(before, after string, n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(before)
		b.WriteString(strings.Repeat("x", i%7))
		b.WriteString(strings.ToLower(strings.TrimLeft(time.Duration(i).String(), "-")))
		b.WriteString(after)
	}
	return b.String()
}

// TestLinear compares the work on a page with that on one four times as big.
// It counts steps, not time: elements and tokens of the tree, and bytes of property values.
func TestLinear(t *testing.T) {
	t.Parallel()
	work := func(source string) int {
		tree := parseTree(source)
		p := readMicroformats(tree, nil)
		nodes := 0
		walk(tree.doc, func(*html.Node) bool { nodes++; return true })
		return tree.work + nodes + p.work + len(scanAddresses(source))
	}
	const size = 32 << 10
	for name, make := range hostilePages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			Page(Document{URL: home, Body: []byte(make(4 * size))}) // and the whole way through ends at all
			small, big := work(make(size)), work(make(4*size))
			if big > 6*small+maxMFWork+200_000 {
				t.Errorf("four times the page takes %d steps instead of %d", big, small)
			}
		})
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	t.Run("writes an item that is two properties twice, and its insides no more often than that", func(t *testing.T) {
		t.Parallel()
		twice := marshal(t, ParseMicroformats(`<div class="h-card"><i class="p-a p-b h-card">Ada</i></div>`, home))
		if strings.Count(twice, `"name":["Ada"]`) != 2 {
			t.Error(twice)
		}
		deep := marshal(t, ParseMicroformats(strings.Repeat(`<i class="p-a p-b h-card">x`, 60), home))
		if len(deep) > 1<<20 {
			t.Errorf("sixty nested items take %d bytes", len(deep))
		}
	})
	t.Run("reads a person behind a thousand nested elements", func(t *testing.T) {
		t.Parallel()
		f := page(strings.Repeat("<div>", 1000) + `<p class="h-card">Ada Lovelace</p>`)
		if wantTexts(t, "names", f.Person.Names, "Ada Lovelace"); !f.Truncated {
			t.Error("does not say that the page was too deep")
		}
	})
	t.Run("reads the first half megabyte", func(t *testing.T) {
		t.Parallel()
		f := page(`<p class="h-card">Ada Lovelace</p>` + strings.Repeat("some words ", 60_000) + `<p class="h-card">Bob Babbage</p>`)
		if wantTexts(t, "names", f.Person.Names, "Ada Lovelace"); !f.Truncated {
			t.Error("does not say that the page was too long")
		}
	})
	t.Run("gives empty facts for what is no page", func(t *testing.T) {
		t.Parallel()
		for _, d := range []Document{{}, {URL: "%", Body: []byte("\x00\xff<")}, {URL: home, ContentType: "application/pdf", Body: []byte("%PDF-1.4\n\x00\x01")}, {URL: home, ContentType: "application/json", Body: []byte("[[[")}} {
			if f := Page(d); f.Kind != "" || len(f.Record(Provenance{}).Claims) > 0 {
				t.Errorf("%+v", f)
			}
		}
	})
}

func TestDeterminism(t *testing.T) {
	t.Parallel()
	body := `<script type="application/ld+json">{"@type":"Person","schema:name":"Ada L","name":"Ada Lovelace","@id":"#a","sameAs":[{"@id":"#b","x":1},{"@id":"#b","y":2}]}</script>
		<div class="h-card"><a class="u-url p-name" href="/">Ada Lovelace</a> ada@lovelace.dev bob@lovelace.dev</div>`
	first, err := json.Marshal(page(body).Record(Provenance{Source: "site"}))
	if err != nil {
		t.Fatal(err)
	}
	for range 50 {
		if again, _ := json.Marshal(page(body).Record(Provenance{Source: "site"})); !reflect.DeepEqual(again, first) {
			t.Fatalf("\n%s\n%s", first, again)
		}
	}
}

// TestTreeAgrees compares our tree with x/net/html's on pages that are well formed or broken in the usual ways.
func TestTreeAgrees(t *testing.T) {
	t.Parallel()
	for _, source := range []string{
		`<!doctype html><html lang="en"><head><title>T</title><meta charset="utf-8"></head><body class="x"><p>a<p>b<div>c</div></body></html>`,
		`<ul><li>a<li>b<ul><li>c</ul><li>d</ul>`,
		`<dl><dt>a<dd>b<dt>c<dd>d</dl>`,
		`<table><tbody><tr><td>a<td>b<tr><th>c</th></tr></tbody></table>`,
		`<h1>a<h2>b</h2><p>c</h3>`,
		`<p>a<b>b<i>c</i></b></p></p-x>d`,
		`<a href="1">a<a href="2">b</a>`,
		`<select><option>a<option>b</select><button>x<button>y</button>`,
		`<svg><title>a</title><path d="x"/></svg><p>b`,
		`<textarea><b>x</b></textarea><script>"</p>"</script><style>p{}</style>`,
		`<div><span>a</div>b</span>`,
		`a &amp; b &lt;c&gt; &copy; &#x41;`,
		`<p>x<br>y<hr>z<img src=a alt='b "c"'>`,
		`<form><p>a</form><section><p>b</section>c`,
	} {
		t.Run(source, func(t *testing.T) {
			t.Parallel()
			want, err := html.Parse(strings.NewReader(source))
			if err != nil {
				t.Fatal(err)
			}
			var a, b strings.Builder
			walk(want, func(n *html.Node) bool {
				if n.Type == html.DoctypeNode {
					n.Parent.RemoveChild(n)
					return false
				}
				return true
			})
			if err := html.Render(&a, want); err != nil {
				t.Fatal(err)
			}
			if err := html.Render(&b, parseTree(source).doc); err != nil {
				t.Fatal(err)
			}
			if a.String() != b.String() {
				t.Errorf("\n got %s\nwant %s", b.String(), a.String())
			}
		})
	}
}

// BenchmarkPage prints the time for half a megabyte; the bar is 50 ms.
func BenchmarkPage(b *testing.B) {
	pages := map[string]string{"ordinary page": ordinaryPage(MaxBytes)}
	for name, make := range hostilePages {
		pages[name] = make(MaxBytes)
	}
	for name, source := range pages {
		d := Document{URL: home, ContentType: "text/html", Body: []byte(source)[:min(len(source), MaxBytes)]}
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(d.Body)))
			before := cpuTime(b)
			for b.Loop() {
				Page(d)
			}
			b.ReportMetric(float64((cpuTime(b)-before).Microseconds())/1000/float64(b.N), "cpu-ms/op")
		})
	}
}

// cpuTime is what this process has used: on a busy machine the wall clock tells nothing.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// ordinaryPage is a personal site with all that such sites have, of a given size.
func ordinaryPage(size int) string {
	head := `<!doctype html><html><head><title>Ada Lovelace</title><script type="application/ld+json">` + adaLD + `</script><style>.a{display:none}</style></head><body>
		<div class="h-card"><a class="p-name u-url" href="/">Ada Lovelace</a><span class="p-job-title">Analyst</span></div>`
	post := `<article class="h-entry"><h2 class="p-name"><a class="u-url" href="/post">A post</a></h2><div class="e-content"><p>Some words about <a href="https://other.example/x">engines</a>, <em>and</em> more of it at length.</p><ul><li>one<li>two</ul></div><time class="dt-published" datetime="2024-01-02">x</time></article>
		<script>(function(){var a="x",b='y';return a+b})()</script>`
	return head + fill(post, size-len(head)) + "</body></html>"
}

func FuzzPage(f *testing.F) {
	for _, make := range hostilePages {
		f.Add([]byte(make(200)), "text/html")
	}
	f.Add([]byte(ordinaryPage(3000)), "text/html; charset=utf-16")
	f.Add([]byte(`{"basics":{"name":"Ada","work":[{}]}}`), "application/json")
	f.Fuzz(func(t *testing.T, body []byte, contentType string) {
		facts := Page(Document{URL: home, ContentType: contentType, Body: body})
		record := facts.Record(Provenance{Source: "site", ContactEligible: true})
		for _, c := range record.Claims {
			if c.Text == "" || c.Evidence.Excerpt != nil && len([]rune(*c.Evidence.Excerpt)) > maxSnippet {
				t.Errorf("claim %+v", c)
			}
		}
		if _, err := json.Marshal(record); err != nil {
			t.Error(err)
		}
	})
}

func FuzzMicroformats(f *testing.F) {
	f.Add(`<div class="h-card"><a class="u-url p-name dt-x e-y" href=x>x</a></div>`)
	f.Add(`<div class="vcard hentry"><i class="fn org"><b class="value">x`)
	f.Fuzz(func(t *testing.T, source string) {
		if _, err := json.Marshal(ParseMicroformats(source, home)); err != nil {
			t.Error(err)
		}
	})
}

func FuzzJSON(f *testing.F) {
	f.Add(`<!-- {"a":[1,'b',{c:null,},],} --> // x`)
	f.Add(`{"a":"\ud83d\ude00\u00`)
	f.Fuzz(func(t *testing.T, source string) {
		values := readJSON(source)
		// What encoding/json reads, we read too.
		var plain any
		if json.Unmarshal([]byte(source), &plain) == nil {
			if m, ok := plain.(map[string]any); ok && (len(values) != 1 || values[0].kind != objectValue || len(values[0].fields) > len(m)) {
				t.Errorf("%q gives %d values", source, len(values))
			}
		}
	})
}

func FuzzScan(f *testing.F) {
	f.Add("ada.l [at] lovelace [dot] dev")
	f.Add("a-at-b-dot-c ä＠.(@)")
	f.Fuzz(func(t *testing.T, line string) {
		for _, a := range scanAddresses(line) {
			if clean, ok := cleanAddress(a.address); !ok || clean != a.address {
				t.Errorf("%q gives %q", line, a.address)
			}
		}
	})
}

func FuzzIdentify(f *testing.F) {
	f.Add("https://github.com/ada")
	f.Add("@ada@x.org")
	f.Fuzz(func(t *testing.T, raw string) {
		id, ok := Identify(raw)
		if !ok || id.URL == "" {
			return
		}
		if again, ok := Identify(id.URL); !ok || again != id {
			t.Errorf("%q gives %+v, whose address gives %+v", raw, id, again)
		}
	})
}

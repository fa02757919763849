package extract

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestMicroformatsCorpus(t *testing.T) {
	t.Parallel()
	root := corpus(t, "microformats")
	pages, err := filepath.Glob(filepath.Join(root, "*", "*", "*.html"))
	if err != nil {
		t.Fatal(err)
	}
	met := 0
	for _, page := range pages {
		source, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := os.ReadFile(strings.TrimSuffix(page, ".html") + ".json")
		if err != nil {
			t.Fatal(err)
		}
		var want any
		if err := json.Unmarshal(raw, &want); err != nil {
			t.Fatal(err)
		}
		got := roundTrip(t, ParseMicroformats(string(source), "http://example.com/"))
		if reflect.DeepEqual(got, want) {
			met++
			continue
		}
		name, _ := filepath.Rel(root, page)
		t.Errorf("%s\n got %s\nwant %s", name, marshal(t, got), marshal(t, want))
	}
	t.Logf("microformats: %d of %d", met, len(pages))
	if len(pages) != 28 {
		t.Fatalf("the corpus is not whole: %d pages", len(pages))
	}
}

// roundTrip makes plain JSON values of anything.
func roundTrip(t *testing.T, v any) any {
	t.Helper()
	var out any
	if err := json.Unmarshal([]byte(marshal(t, v)), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func marshal(t *testing.T, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestMicroformats(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, html, items string }{
		{"reads an old vcard by its own classes and implies nothing",
			`<p class="vcard"><a class="fn url" href="/ada">Ada</a>, <span class="title">Analyst</span> <b class="p-note">no</b></p>`,
			`[{"type":["h-card"],"properties":{"name":["Ada"],"url":["http://example.com/ada"],"job-title":["Analyst"]}}]`},
		{"makes an author of an old entry a card",
			`<div class="hentry"><h2 class="entry-title">T</h2><a rel="bookmark" href="/1">#</a><span class="author">Ada</span><a rel="tag" href="/tags/big%20data/">x</a></div>`,
			`[{"type":["h-entry"],"properties":{"name":["T"],"url":["http://example.com/1"],"category":["big data"],"author":[{"type":["h-card"],"properties":{},"value":"Ada"}]}}]`},
		{"joins two old roots on one element",
			`<div class="hresume"><div class="experience vevent vcard"><span class="title">Director</span> <span class="summary">W</span></div></div>`,
			`[{"type":["h-resume"],"properties":{"experience":[{"type":["h-card","h-event"],"properties":{"job-title":["Director"],"name":["W"]},"value":"W"}]}}]`},
		{"keeps a reviewed card a card",
			`<div class="hreview"><div class="item vcard"><span class="fn">Cafe</span></div><span class="dtreviewed">2005-04-18</span></div>`,
			`[{"type":["h-review"],"properties":{"item":[{"type":["h-card"],"properties":{"name":["Cafe"]},"value":"Cafe"}],"published":["2005-04-18"]}}]`},
		{"joins date, time and offset, and lends the date to the end",
			`<div class="h-event"><i class="p-name">E</i><p class="dt-start"><b class="value">2009-06-26</b> <b class="value">7:30pm</b><b class="value">-0700</b></p><p class="dt-end"><b class="value">9pm</b></p></div>`,
			`[{"type":["h-event"],"properties":{"name":["E"],"start":["2009-06-26 19:30-07:00"],"end":["2009-06-26 21:00"]}}]`},
		{"lends the date backwards as well",
			`<div class="h-event"><i class="p-name">E</i><time class="dt-end" datetime="21:00">x</time><time class="dt-start" datetime="2009-06-26T19:00Z">x</time></div>`,
			`[{"type":["h-event"],"properties":{"name":["E"],"end":["2009-06-26 21:00"],"start":["2009-06-26T19:00Z"]}}]`},
		{"takes the address of a nested item for a u- property and its markup for an e- property",
			`<div class="h-entry"><div class="u-comment h-cite"><a class="u-url p-name" href="/c">C</a></div><div class="e-content h-card">A <i>b</i></div></div>`,
			`[{"type":["h-entry"],"properties":{"comment":[{"type":["h-cite"],"properties":{"url":["http://example.com/c"],"name":["C"]},"value":"http://example.com/c"}],"content":[{"type":["h-card"],"properties":{"name":["A b"]},"value":"A b","html":"A <i>b</i>"}]}}]`},
		{"includes what an old card refers to",
			`<i id="n" class="fn">Ada</i><div class="vcard"><a class="include" href="#n">x</a><b class="role">Analyst</b></div>
			<div class="vcard" itemref="n"></div><table><tr><th id="o" class="org">Engine</th></tr><tr><td class="vcard" headers="o"><b class="fn">Bob</b></td></tr></table>`,
			`[{"type":["h-card"],"properties":{"name":["Ada"],"role":["Analyst"]}},{"type":["h-card"],"properties":{"name":["Ada"]}},{"type":["h-card"],"properties":{"name":["Bob"],"org":["Engine"]}}]`},
		{"tells the id of a root",
			`<div class="h-card" id="me">Ada</div>`, `[{"type":["h-card"],"id":"me","properties":{"name":["Ada"]}}]`},
		{"implies no photo from two images and no address from two links",
			`<div class="h-card">Ada<img src="a.png"><img src="b.png"><a href="/1">x</a><a href="/2">y</a></div>`,
			`[{"type":["h-card"],"properties":{"name":["Adaxy"]}}]`},
		{"takes an abbreviation's title, data's value and an input's value",
			`<div class="h-card"><abbr class="p-name" title="Ada L">A</abbr><data class="p-tz" value="+1">x</data><input class="p-role" value="dev"></div>`,
			`[{"type":["h-card"],"properties":{"name":["Ada L"],"tz":["+1"],"role":["dev"]}}]`},
		{"resolves whatever a u- property is made of",
			`<div class="h-card"><i class="p-name">E</i><video class="u-video" poster="p.jpg"></video><object class="u-logo" data="l.svg"></object><span class="u-url"> /t </span><span class="u-uid"><b class="value">/u</b></span></div>`,
			`[{"type":["h-card"],"properties":{"name":["E"],"video":["http://example.com/p.jpg"],"logo":["http://example.com/l.svg"],"url":["http://example.com/t"],"uid":["http://example.com/u"]}}]`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var want any
			if err := json.Unmarshal([]byte(c.items), &want); err != nil {
				t.Fatal(err)
			}
			got := roundTrip(t, ParseMicroformats(c.html, "http://example.com/").Items)
			if !reflect.DeepEqual(got, want) {
				t.Errorf("\n got %s\nwant %s", marshal(t, got), marshal(t, want))
			}
		})
	}
}

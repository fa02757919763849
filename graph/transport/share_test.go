package transport_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/enrichd/enrichd/graph"
	"github.com/enrichd/enrichd/graph/internal/testschema"
)

// shared serves a schema whose journals the test writes.
func shared(t *testing.T, change ...func(*graph.Options)) (*testschema.Resolvers, string) {
	t.Helper()
	r := &testschema.Resolvers{}
	_, url := serve(t, append(change, func(o *graph.Options) { o.Schema = r.Schema() })...)
	t.Cleanup(func() { // before the server's own end
		eventually(t, "nobody holds a journal", func() bool { return r.Journals.Places() == 0 })
	})
	return r, url
}

const journalQuery = `subscription($after:Int){journal(name:"j",afterSequence:$after){sequence payload counted}}`

// follow subscribes to the journal; after below zero is none.
func (c *client) follow(id, query string, after int) {
	c.t.Helper()
	variables := map[string]any{}
	if after >= 0 {
		variables["after"] = after
	}
	b, _ := json.Marshal(map[string]any{"id": id, "type": "subscribe", "payload": map[string]any{"query": query, "variables": variables}})
	c.say(string(b))
}

// tick is one event of the journal.
type tick struct {
	Sequence         int
	Payload, Counted string
}

// tick hears one event on an id.
func (c *client) tick(id string) tick {
	c.t.Helper()
	var p struct{ Data struct{ Journal *tick } }
	m := c.expect("next", id)
	if err := json.Unmarshal(m.Payload, &p); err != nil || p.Data.Journal == nil {
		c.t.Fatalf("%v in %s", err, m.Payload)
	}
	return *p.Data.Journal
}

// ticks hears events from..to on an id.
func (c *client) ticks(id string, from, to int) {
	c.t.Helper()
	for n := from; n <= to; n++ {
		if got := c.tick(id); got.Sequence != n {
			c.t.Fatalf("heard event %d where %d was due", got.Sequence, n)
		}
	}
}

func TestSharedSubscriptions(t *testing.T) {
	t.Parallel()
	t.Run("render an event once for all who select the same, wherever they began", func(t *testing.T) {
		t.Parallel()
		r, url := shared(t)
		for range 3 {
			r.Journals.Write("j", "old")
		}
		late, early := ready(t, url), ready(t, url)
		late.follow("late", journalQuery, 3)
		late.alive()
		early.follow("early", journalQuery, 0)
		early.ticks("early", 1, 3)
		early.follow("again", journalQuery, 1)
		early.ticks("again", 2, 3)
		for range 10 {
			r.Journals.Write("j", "new")
		}
		late.ticks("late", 4, 13)
		r.Journals.Write("j", "end")
		late.ticks("late", 14, 14)
		late.expect("complete", "late")
		heard := map[string]int{"early": 3, "again": 3}
		for range 2 * 12 {
			m := early.hear()
			if heard[m.ID]++; m.Type == "next" && heard[m.ID] == 15 || m.Type == "complete" && heard[m.ID] != 15 {
				t.Fatalf("heard %s of %s as number %d", m.Type, m.ID, heard[m.ID])
			}
		}
		if n := r.Rendered.Load(); n != 14 {
			t.Errorf("14 events for three subscribers were rendered %d times", n)
		}
	})
	t.Run("begin with a snapshot, and only with the end behind it do they end", func(t *testing.T) {
		t.Parallel()
		r, url := shared(t)
		r.Journals.Write("j", "end") // of an earlier life
		r.Journals.Write("j", "more")
		c := ready(t, url)
		c.follow("s", journalQuery, -1)
		if s := c.tick("s"); s.Payload != "snapshot" || s.Sequence != 2 {
			t.Errorf("began with %+v", s)
		}
		c.follow("r", journalQuery, 0)
		c.ticks("r", 1, 2)
		c.say(`{"type":"complete","id":"r"}`)
		c.alive()
		r.Journals.Write("j", "end")
		c.ticks("s", 3, 3)
		c.expect("complete", "s")
		c.follow("s", journalQuery, 3) // the id is free, and there is nothing to come
		c.expect("complete", "s")
		c.follow("s", journalQuery, 99) // a position that never was
		if s := c.tick("s"); s.Payload != "snapshot" {
			t.Errorf("began with %+v", s)
		}
		c.expect("complete", "s")
	})
	t.Run("are rendered apart when selection, inner variables or scopes differ", func(t *testing.T) {
		t.Parallel()
		r, url := shared(t)
		const prefixed = `subscription($after:Int,$p:String!){journal(name:"j",afterSequence:$after){sequence counted(prefix:$p)}}`
		var all []*client
		for _, key := range []string{goodKey, "key-2", "admin"} { // keys 1 and 2 may the same
			c := ready(t, url, key)
			for _, p := range []string{"a", "b"} {
				c.say(fmt.Sprintf(`{"id":%q,"type":"subscribe","payload":{"query":%q,"variables":{"after":0,"p":%q}}}`, p, prefixed, p))
			}
			c.follow("other", journalQuery, 0)
			c.alive()
			all = append(all, c)
		}
		r.Journals.Write("j", "x")
		for _, c := range all {
			got := map[string]string{}
			for range 3 {
				m := c.hear()
				var p struct{ Data struct{ Journal tick } }
				_ = json.Unmarshal(m.Payload, &p)
				got[m.ID] = p.Data.Journal.Counted
			}
			if got["a"] != "ax" || got["b"] != "bx" || got["other"] != "x" {
				t.Errorf("heard %v", got)
			}
		}
		if n := r.Rendered.Load(); n != 2*3 {
			t.Errorf("rendered %d times", n)
		}
	})
	t.Run("do not wait for one who does not read, and he misses nothing", func(t *testing.T) {
		t.Parallel()
		r, url := shared(t)
		slow, quick := ready(t, url), ready(t, url)
		slow.follow("s", journalQuery, 0)
		slow.alive()
		quick.follow("q", journalQuery, 0)
		const n = 400
		payload := strings.Repeat("x", 20_000) // 16 MB in all, more than sockets buffer
		for range n {
			r.Journals.Write("j", payload)
		}
		quick.ticks("q", 1, n)
		other := ready(t, url)
		other.follow("o", journalQuery, n-1)
		other.ticks("o", n, n)
		slow.ticks("s", 1, n)
	})
	t.Run("fall silent when the client completes one of many", func(t *testing.T) {
		t.Parallel()
		r, url := shared(t)
		c := ready(t, url)
		for i := range 10 {
			c.follow(fmt.Sprint(i), journalQuery, 0)
		}
		c.alive()
		for i := range 9 {
			c.say(fmt.Sprintf(`{"type":"complete","id":"%d"}`, i))
		}
		c.alive()
		r.Journals.Write("j", "x")
		c.ticks("9", 1, 1)
		c.alive()
	})
	t.Run("carry the sequence as id over server-sent events, and resume by it", func(t *testing.T) {
		t.Parallel()
		r, url := shared(t)
		for range 3 {
			r.Journals.Write("j", "x")
		}
		req, _ := http.NewRequestWithContext(t.Context(), "POST", url, strings.NewReader(query(`subscription($afterSequence:Int){journal(name:"j",afterSequence:$afterSequence){payload}}`)))
		for k, v := range map[string]string{"Accept": "text/event-stream", "Content-Type": "application/json", "Authorization": "Bearer " + goodKey, "Last-Event-ID": "1"} {
			req.Header.Set(k, v)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		var ids []string
		for lines := bufio.NewScanner(res.Body); lines.Scan(); {
			if id, ok := strings.CutPrefix(lines.Text(), "id: "); ok {
				if ids = append(ids, id); id == "3" {
					r.Journals.Write("j", "end")
				}
			}
		}
		if fmt.Sprint(ids) != "[2 3 4]" {
			t.Errorf("ids %v", ids)
		}
	})
	t.Run("end when their key is revoked and leave nothing behind", func(t *testing.T) {
		t.Parallel()
		r := &testschema.Resolvers{}
		s, url := serve(t, func(o *graph.Options) { o.Schema = r.Schema(); o.Sockets.WriteTimeout = time.Second })
		c := ready(t, url)
		c.follow("s", journalQuery, 0)
		c.alive()
		s.CloseKey(goodKey)
		c.closed(4403)
		r.Journals.Write("j", "x")
		eventually(t, "nobody holds the journal", func() bool { return r.Journals.Places() == 0 })
	})
}

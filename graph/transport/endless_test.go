package transport_test

import (
	"bufio"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/enrichd/enrichd/graph"
	"github.com/enrichd/enrichd/graph/internal/testschema"
)

const newsQuery = `subscription($after:Int!){journal:news(name:"n",afterSequence:$after){sequence payload counted}}`

func TestEndlessSubscriptions(t *testing.T) {
	t.Parallel()
	t.Run("render an event once for all who keep up", func(t *testing.T) {
		t.Parallel()
		r, url := shared(t)
		var all []*client
		for range 3 {
			c := ready(t, url)
			c.follow("a", newsQuery, 0)
			c.follow("b", newsQuery, 0)
			c.alive()
			all = append(all, c)
		}
		shown := 0
		for n := 1; n <= 5*testschema.NewsHeld; n++ {
			if n%4 == 0 {
				r.Journals.Write("n", testschema.Hidden)
				continue
			}
			r.Journals.Write("n", "x")
			shown++
			for _, c := range all { // nobody falls behind
				for range 2 {
					if got := c.hear(); got.Type != "next" || !strings.Contains(string(got.Payload), `"sequence":`+strconv.Itoa(n)+",") {
						t.Fatalf("heard %s %s where %d was due", got.Type, got.Payload, n)
					}
				}
			}
		}
		if n := int(r.Rendered.Load()); n != shown || r.Journals.Reads.Load() != 0 {
			t.Errorf("%d events for six subscribers were rendered %d times, and read %d times", shown, n, r.Journals.Reads.Load())
		}
	})
	t.Run("let whoever is behind read for himself until he is with the others, and miss nothing", func(t *testing.T) {
		t.Parallel()
		r, url := shared(t)
		for range 10 * testschema.NewsHeld {
			r.Journals.Write("n", "old")
		}
		with, behind := ready(t, url), ready(t, url)
		with.follow("w", newsQuery, 10*testschema.NewsHeld)
		with.alive()
		behind.follow("b", newsQuery, 3)
		behind.ticks("b", 4, 10*testschema.NewsHeld) // one reading fails, and is done again
		read := r.Journals.Reads.Load()
		if read < 10 {
			t.Errorf("read %d times", read)
		}
		for range testschema.NewsHeld / 2 {
			r.Journals.Write("n", "new")
		}
		from, to := 10*testschema.NewsHeld+1, 10*testschema.NewsHeld+testschema.NewsHeld/2
		with.ticks("w", from, to)
		behind.ticks("b", from, to)
		if again := r.Journals.Reads.Load(); again != read {
			t.Errorf("%d readings more, once it had caught up", again-read)
		}
	})
	t.Run("bring everybody a burst that is larger than what is held", func(t *testing.T) {
		t.Parallel()
		r, url := shared(t)
		var all []*client
		for range 3 {
			c := ready(t, url)
			c.follow("a", newsQuery, 0)
			c.alive()
			all = append(all, c)
		}
		at := 0
		for range 5 {
			for range 30 * testschema.NewsHeld {
				r.Journals.Write("n", "x")
			}
			for _, c := range all {
				c.ticks("a", at+1, at+30*testschema.NewsHeld)
			}
			at += 30 * testschema.NewsHeld
		}
	})
	t.Run("do not wait for one who does not read, keep little for him, and he misses nothing", func(t *testing.T) {
		t.Parallel()
		r, url := shared(t, func(o *graph.Options) { o.Sockets.WriteTimeout = time.Minute }) // or the slow one is cut off on a busy machine
		slow, quick := ready(t, url), ready(t, url)
		slow.follow("s", newsQuery, 0)
		slow.alive()
		quick.follow("q", newsQuery, 0)
		quick.alive()
		const n = 1500
		payload := strings.Repeat("x", 10_000) // 30 MB in all, more than sockets buffer
		for i := 1; i <= n; i++ {
			r.Journals.Write("n", payload)
			quick.ticks("q", i, i)
		}
		if reads := r.Journals.Reads.Load(); reads > 1 {
			t.Errorf("%d readings before the slow one goes on", reads)
		}
		slow.ticks("s", 1, n)
		if reads := r.Journals.Reads.Load(); reads == 0 {
			t.Error("everything was kept for the slow one")
		}
	})
	t.Run("carry no id over server-sent events, since they cannot be resumed by one", func(t *testing.T) {
		t.Parallel()
		r := &testschema.Resolvers{}
		_, url := serve(t, func(o *graph.Options) { o.Schema = r.Schema() })
		r.Journals.Write("n", "x")
		b, _ := json.Marshal(map[string]any{"query": newsQuery, "variables": map[string]any{"after": 0}})
		req, _ := http.NewRequestWithContext(t.Context(), "POST", url, strings.NewReader(string(b)))
		for k, v := range map[string]string{"Accept": "text/event-stream", "Content-Type": "application/json", "Authorization": "Bearer " + goodKey} {
			req.Header.Set(k, v)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		for lines := bufio.NewScanner(res.Body); lines.Scan(); {
			if strings.HasPrefix(lines.Text(), "id:") {
				t.Error(lines.Text())
			}
			if strings.HasPrefix(lines.Text(), "data: {") {
				return
			}
		}
		t.Error("nothing was heard")
	})
}

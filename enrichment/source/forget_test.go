package source

import (
	"net/http"
	"testing"
	"time"

	"github.com/enrichd/enrichd/enrichment/pipeline"
)

func TestForget(t *testing.T) {
	t.Parallel()
	t.Run("leaves nothing of what was held, and goes on holding", func(t *testing.T) {
		t.Parallel()
		g := &guard{store: newStore(), misses: newMisses()}
		set := &Set{guards: map[string]*guard{"site": g}}
		header := http.Header{"Etag": []string{`"1"`}}
		put := func() {
			g.store.put("https://ada.test/", header, pipeline.Answer{Body: []byte("Ada")})
			g.misses.put("https://ada.test/cv", pipeline.Answer{Status: 404}, time.Now())
		}
		put()
		set.Forget()
		if _, missed := g.misses.get("https://ada.test/cv", time.Now()); missed || g.store.get("https://ada.test/") != nil || g.store.bytes != 0 {
			t.Error("something is left")
		}
		put()
		if g.store.get("https://ada.test/") == nil || g.store.bytes != 3 {
			t.Error("nothing is held any more")
		}
	})
}

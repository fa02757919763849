package transport_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/enrichd/enrichd/graph"
	"github.com/enrichd/enrichd/graph/internal/testschema"
	"github.com/enrichd/enrichd/internal/access"
	"github.com/enrichd/enrichd/internal/fault"
)

// goodKey signs in as company "acme" with the key id "key-1"; "key-2" … give other ids.
const goodKey = "key-1"

// serve runs a server on a real socket until the test ends.
func serve(tb testing.TB, change ...func(*graph.Options)) (*graph.Server, string) {
	tb.Helper()
	o := graph.Options{Schema: testschema.New(), Authenticate: authenticate, Log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	for _, c := range change {
		c(&o)
	}
	s := graph.NewServer(o)
	hs := httptest.NewServer(s)
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			tb.Errorf("shutdown: %v, with %d streams left", err, s.Streams())
		}
		hs.Close()
	})
	return s, hs.URL
}

func authenticate(ctx context.Context, token string, r *http.Request) (context.Context, error) {
	p := &access.Principal{Company: access.Company{ID: "acme"}, Key: access.Key{ID: token}}
	switch {
	case token == "nil":
		return nil, graph.Unauthenticated("no")
	case token == "strange-address":
		return nil, fault.Forbidden{Message: "the key may not be used from this address"}
	case token == "database-down":
		return nil, errors.New(testschema.Secret)
	case token == "expiring":
		soon := time.Now().Add(200 * time.Millisecond)
		p.Key.ExpiresAt = &soon
	case token == "admin":
		p.Key.Scopes = []access.Scope{access.Admin}
	case !strings.HasPrefix(token, "key-"):
		return nil, graph.Unauthenticated("an API key is needed")
	}
	if c := r.Header.Get("Enrichd-Company"); c != "" {
		p.Company.ID = c
	}
	return access.With(ctx, p), nil
}

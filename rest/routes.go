package rest

import (
	"log/slog"
	"net/http"
	"net/netip"
	"strings"

	"github.com/enrichd/enrichd/enrichment"
	"github.com/enrichd/enrichd/internal/access"
	"github.com/enrichd/enrichd/internal/fault"
	"github.com/enrichd/enrichd/internal/ident"
)

// API serves the contract.
type API struct {
	Access     *access.Service
	Enrichment *enrichment.Service
	Log        *slog.Logger
}

// route is one line of the contract. Authorisation is a column, so that it cannot be forgotten.
type route struct {
	method, path string
	scope        access.Scope
	handle       func(*API, http.ResponseWriter, *http.Request) error
}

var routes = []route{
	{"POST", "/sourcing/enrich", access.EnrichWrite, (*API).startEnrich},
	{"GET", "/sourcing/enrich/{id}/results", access.EnrichRead, (*API).enrichResults},
}

// mounts are the two prefixes under which every route is served.
var mounts = []string{"", "/v1"}

// Mount puts every route on mux, under both prefixes.
func (a *API) Mount(mux *http.ServeMux) {
	for _, r := range routes {
		for _, prefix := range mounts {
			mux.Handle(r.method+" "+prefix+r.path, a.serve(r))
		}
	}
	for _, prefix := range mounts {
		mux.Handle(prefix+"/sourcing/", http.HandlerFunc(a.noRoute))
	}
}

// serve checks key and scope before anything of the request is read.
func (a *API) serve(r route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		id := ident.New("req")
		w.Header().Set("X-Request-Id", id)
		err := a.authorised(req, r.scope, func(req *http.Request) error { return r.handle(a, w, req) })
		if err != nil {
			failureOf(err, id, a.Log).write(w)
		}
	})
}

func (a *API) authorised(req *http.Request, scope access.Scope, next func(*http.Request) error) error {
	token, ok := strings.CutPrefix(req.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return access.ErrInvalidKey
	}
	peer, _ := netip.ParseAddrPort(req.RemoteAddr)
	p, err := a.Access.Authenticate(req.Context(), strings.TrimSpace(token), peer.Addr())
	if err != nil {
		return err
	}
	if !p.Can(scope) {
		return fault.Forbidden{Message: "missing scope", RequiredScope: string(scope)}
	}
	return next(req.WithContext(access.With(req.Context(), p)))
}

// noRoute answers paths of the family that the contract does not have here.
func (a *API) noRoute(w http.ResponseWriter, req *http.Request) {
	failure{status: http.StatusNotFound, code: "RESOURCE_NOT_FOUND", message: "No such route: " + req.Method + " on this path"}.write(w)
}

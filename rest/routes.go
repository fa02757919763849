package rest

import (
	"errors"
	"log/slog"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/enrichd/enrichd/billing"
	"github.com/enrichd/enrichd/dispatch"
	"github.com/enrichd/enrichd/enrichment"
	"github.com/enrichd/enrichd/internal/access"
	"github.com/enrichd/enrichd/internal/fault"
	"github.com/enrichd/enrichd/internal/ident"
	"github.com/enrichd/enrichd/internal/limit"
)

// API serves the contract.
type API struct {
	Access     *access.Service
	Enrichment *enrichment.Service
	Billing    *billing.Ledger
	Dispatch   *dispatch.Service
	// Limit keeps the rate limits; nil keeps none.
	Limit *limit.Limiter
	Open  Open
	Log   *slog.Logger

	streams streams
}

// route is one line of the contract. Authorisation and the style of the bodies
// are columns, so that they cannot be forgotten.
type route struct {
	method, path string
	// scopes of which a key needs one; the first is what a refusal names.
	scopes anyOf
	style  style
	// company says that the route is about one company's data: a key that manages several must name it.
	company bool
	// bucket is drawn on besides the requests' own; "" is none.
	bucket limit.Bucket
	handle func(*API, http.ResponseWriter, *http.Request) error
}

// anyOf are scopes of which one is enough.
type anyOf []access.Scope

var routes = []route{
	{"POST", "/sourcing/enrich", anyOf{access.EnrichWrite}, flat, true, limit.Runs, (*API).startEnrich},
	{"GET", "/sourcing/enrich/{id}/results", anyOf{access.EnrichWrite, access.EnrichRead}, flat, true, limit.Polls, (*API).enrichResults},
	{"POST", "/sourcing/render-html", anyOf{access.EnrichWrite}, flat, true, "", (*API).renderHTML},
	{"POST", "/webhooks", anyOf{access.WebhooksWrite}, bare, false, "", (*API).createWebhook},
	{"GET", "/webhooks", anyOf{access.WebhooksRead}, bare, false, "", (*API).listWebhooks},
	{"GET", "/webhooks/{id}", anyOf{access.WebhooksRead}, bare, false, "", (*API).getWebhook},
	{"PATCH", "/webhooks/{id}", anyOf{access.WebhooksWrite}, bare, false, "", (*API).updateWebhook},
	{"DELETE", "/webhooks/{id}", anyOf{access.WebhooksWrite}, bare, false, "", (*API).deleteWebhook},
	{"POST", "/webhooks/{id}/test", anyOf{access.WebhooksWrite}, bare, false, "", (*API).testWebhook},
	{"POST", "/webhooks/{id}/reset-circuit", anyOf{access.WebhooksWrite}, bare, false, "", (*API).resetCircuit},
	{"GET", "/billing/usage", anyOf{access.BillingRead}, general, false, "", (*API).billingUsage},

	{"GET", "/sourcing/enrich/{id}/events", anyOf{access.EnrichWrite, access.EnrichRead}, problem, true, limit.Subscriptions, (*API).enrichEvents},
	{"POST", "/sourcing/enrich/{id}/cancel", anyOf{access.EnrichWrite}, problem, true, "", (*API).cancelEnrich},
	{"POST", "/profiles", anyOf{access.EnrichWrite}, problem, true, "", (*API).putProfiles},
	{"GET", "/profiles/{id}", anyOf{access.EnrichRead}, problem, true, "", (*API).getProfile},
}

// mounts are the two prefixes under which every route is served.
var mounts = []string{"", "/v1"}

// families are the paths of the original service, served here or not: whatever
// lies under them and is not a route is answered as the contract answers. Under
// /v1 that holds for every path.
var families = []string{
	"/sourcing", "/webhooks", "/billing", "/profiles", "/company", "/companies", "/jobs", "/candidates", "/interviews", "/api-keys",
}

// Mount puts every route on mux, under both prefixes, and the reference.
func (a *API) Mount(mux *http.ServeMux) {
	for _, prefix := range mounts {
		for _, r := range routes {
			mux.Handle(r.method+" "+prefix+r.path, a.serve(r))
		}
	}
	missing := a.serve(route{style: general, handle: (*API).noRoute})
	for _, family := range families {
		mux.Handle(family, missing)
		mux.Handle(family+"/", missing)
	}
	// Without the slash too, which the mux would otherwise answer with a redirect.
	mux.Handle("/v1", missing)
	mux.Handle("/v1/", missing)
	mountReference(mux)
}

// serve is the order of checks: 401, 403 for the scope, the company, 429, and
// only then is anything of the request read.
func (a *API) serve(r route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		id := ident.New("req")
		w.Header().Set("X-Request-Id", id)
		defer func() {
			fault := recover()
			if fault == nil {
				return
			}
			if fault == http.ErrAbortHandler {
				panic(fault)
			}
			a.Log.Error("rest: recovered", "request_id", id, "panic", fault, "stack", string(debug.Stack()))
			// What a handler had begun to write cannot be taken back; then this is what the log shows.
			failureOf(errors.New("panic"), id, a.Log).write(w, r.style, a.Open)
		}()
		req, err := a.admit(w, req, r)
		if err == nil {
			err = r.handle(a, w, req)
		}
		if err != nil {
			failureOf(err, id, a.Log).write(w, r.style, a.Open)
		}
	})
}

// admit checks key, scope, company and limits. The limits are drawn on before
// the scope is looked at, since every answer to a known key tells them; one that
// is suspended or used from elsewhere is told them too, and draws on nothing.
func (a *API) admit(w http.ResponseWriter, req *http.Request, r route) (*http.Request, error) {
	scheme, token, _ := strings.Cut(req.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		token = ""
	}
	peer := a.Access.Proxies.Client(req.RemoteAddr, req.Header.Values("X-Forwarded-For"))
	p, err := a.Access.Authenticate(req.Context(), strings.TrimSpace(token), peer)
	if err != nil {
		if p != nil {
			verdict, _ := a.Limit.Take(req.Context(), p, limit.Requests, 0)
			verdict.SetHeaders(w.Header().Set)
		}
		return req, err
	}
	// A standard key ignores companyId. One that manages companies names one of
	// them, but where the resource is the key's own it need not.
	acting, foreign := p, error(nil)
	if company := canonical(req.URL.Query().Get("companyId")); company != "" || r.company {
		if acting, foreign = p.For(company); foreign != nil {
			acting = p
		}
	}
	verdict, limited := a.Limit.Take(req.Context(), acting, limit.Requests, 1)
	verdict.SetHeaders(w.Header().Set)
	if len(r.scopes) > 0 && !slices.ContainsFunc(r.scopes, p.Can) {
		return req, fault.Forbidden{Message: "missing scope", RequiredScope: string(r.scopes[0])}
	}
	if foreign != nil {
		return req, foreign
	}
	if limited == nil && r.bucket != "" {
		_, limited = a.Limit.Take(req.Context(), acting, r.bucket, 1)
	}
	if limited != nil {
		return req, limited
	}
	return req.WithContext(access.With(req.Context(), acting)), nil
}

// answer sends a success in the style of its route.
func (s style) answer(w http.ResponseWriter, status int, body any) {
	write(w, status, s.media(false), s.success(body, time.Now()))
}

// noRoute answers paths of the original that are not served here, and methods that a path does not have.
func (a *API) noRoute(http.ResponseWriter, *http.Request) error {
	return failure{status: http.StatusNotFound, code: "RESOURCE_NOT_FOUND", message: "There is no such route"}
}

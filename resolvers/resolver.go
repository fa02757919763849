// Package resolvers answers the GraphQL schema. A resolver is one service call
// and a wrapped answer; what needs deciding is decided in the domains.
package resolvers

import (
	"context"
	"errors"

	"github.com/99designs/gqlgen/graphql"

	"github.com/enrichd/enrichd/billing"
	"github.com/enrichd/enrichd/dispatch"
	"github.com/enrichd/enrichd/enrichment"
	"github.com/enrichd/enrichd/graph/exec"
	"github.com/enrichd/enrichd/internal/access"
	"github.com/enrichd/enrichd/internal/fault"
	"github.com/enrichd/enrichd/internal/idem"
	"github.com/enrichd/enrichd/internal/limit"
	"github.com/enrichd/enrichd/internal/page"
)

// Resolver holds the services that the resolvers call.
type Resolver struct {
	Access     *access.Service
	Enrichment *enrichment.Service
	Billing    *billing.Ledger
	Dispatch   *dispatch.Service
	Limit      *limit.Limiter // nil: no limits
}

// refused takes the refusals out of err for a payload's userErrors; what is left is a fault.
func refused(err error) ([]fault.User, error) {
	refusals, rest := fault.Users(err)
	out := []fault.User{}
	for _, r := range refusals {
		if special, ok := r.(interface{ General() fault.User }); ok {
			r = special.General() // the schema knows it by its general type
		}
		out = append(out, r)
	}
	return out, rest
}

// startKeyed starts a run. The service knows runs without a key, as the older
// contract allows them; this surface does not, and the type system cannot tell "".
func (r *Resolver) startKeyed(ctx context.Context, in enrichment.StartInput) (*enrichment.Run, bool, error) {
	if err := idem.CheckKey("idempotencyKey", in.IdempotencyKey); err != nil {
		return nil, false, err
	}
	return r.Enrichment.Start(ctx, in)
}

// unseen says of a webhook that is somebody else's what this surface says of all such things: that there is none.
func unseen(err error, webhookID *string) error {
	var foreign fault.Forbidden
	if webhookID == nil || !errors.As(err, &foreign) || foreign.RequiredScope != "" {
		return err
	}
	return fault.NotFound{
		Head: fault.Head{Message: "Webhook configuration not found", Field: []string{"webhookId"}},
		Type: "WebhookConfig", ID: *webhookID,
	}
}

func args(first int, after *string) page.Args {
	a := page.Args{First: first}
	if after != nil {
		a.After = *after
	}
	return a
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func deref[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// rowsOf reads whichever source an import names; the schema lets exactly one through.
func rowsOf(s *exec.ProfileSource) ([]enrichment.ImportRow, error) {
	for format, file := range map[enrichment.Format]*graphql.Upload{
		enrichment.FormatCSV: s.CSV, enrichment.FormatJSONLines: s.JSONLines, enrichment.FormatJSONResume: s.JSONResume,
	} {
		if file != nil {
			rows, _, err := enrichment.ReadRows(format, file.File)
			return rows, err
		}
	}
	rows := make([]enrichment.ImportRow, len(s.Rows))
	for i, in := range s.Rows {
		rows[i].Input = *in
	}
	return rows, nil
}

// imported wraps an import's answer: the refused rows, or the refusal of all of it.
func imported(im *enrichment.Import, err error) (*exec.ImportProfilesPayload, error) {
	refusals, err := refused(err)
	if len(refusals) > 0 || err != nil {
		return &exec.ImportProfilesPayload{Profiles: []*enrichment.Profile{}, UserErrors: refusals}, err
	}
	return &exec.ImportProfilesPayload{
		ImportID: &im.ID, Profiles: im.Profiles, Created: im.Created, Updated: im.Updated, Unchanged: im.Unchanged,
		UserErrors: append(refusals, im.Refused...),
	}, nil
}

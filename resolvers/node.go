package resolvers

import (
	"context"
	"strings"

	"github.com/enrichd/enrichd/graph/exec"
	"github.com/enrichd/enrichd/internal/access"
	"github.com/enrichd/enrichd/internal/fault"
	"github.com/enrichd/enrichd/internal/ident"
)

// kind is one way to find a Node: by the shape of its id, for keys with a scope.
type kind struct {
	shape func(id string) bool
	scope access.Scope // "": every key
	find  func(r *Resolver, ctx context.Context, id string) (exec.Node, error)
}

func prefixed(prefix string) func(string) bool {
	return func(id string) bool { return strings.HasPrefix(id, prefix) }
}

// kinds are asked in order. Ids that are plain UUIDs may be of several kinds.
var kinds = []kind{
	{ident.IsRun, access.EnrichRead, func(r *Resolver, ctx context.Context, id string) (exec.Node, error) {
		run, err := r.Enrichment.Run(ctx, id)
		return node(run, err)
	}},
	{prefixed("prof_"), access.EnrichRead, func(r *Resolver, ctx context.Context, id string) (exec.Node, error) {
		profile, err := r.Enrichment.Profile(ctx, id)
		return node(profile, err)
	}},
	{prefixed("sup_"), access.PrivacyWrite, func(r *Resolver, ctx context.Context, id string) (exec.Node, error) {
		suppression, err := r.Enrichment.Suppression(ctx, id)
		return node(suppression, err)
	}},
	{prefixed("acc_"), access.BillingRead, func(r *Resolver, ctx context.Context, id string) (exec.Node, error) {
		account, err := r.Billing.Account(ctx, access.From(ctx).Company.ID)
		if err != nil || account.ID != id {
			return nil, unknown(err)
		}
		return account, nil
	}},
	{prefixed("ent_"), access.BillingRead, func(r *Resolver, ctx context.Context, id string) (exec.Node, error) {
		entry, err := r.Billing.Entry(ctx, access.From(ctx).Company.ID, id)
		return node(entry, err)
	}},
	{prefixed("inv_"), access.BillingRead, func(r *Resolver, ctx context.Context, id string) (exec.Node, error) {
		invoice, err := r.Billing.InvoiceFor(ctx, access.From(ctx).Company.ID, id)
		return node(invoice, err)
	}},
	{prefixed("gnt_"), access.BillingRead, func(r *Resolver, ctx context.Context, id string) (exec.Node, error) {
		grant, err := r.Billing.CreditGrantFor(ctx, access.From(ctx).Company.ID, id)
		return node(grant, err)
	}},
	{ident.IsUUID, "", func(r *Resolver, ctx context.Context, id string) (exec.Node, error) {
		if company := access.From(ctx).Company; company.ID == id {
			return &company, nil
		}
		return nil, nil
	}},
	{ident.IsUUID, "", (*Resolver).key},
	{ident.IsUUID, access.WebhooksRead, func(r *Resolver, ctx context.Context, id string) (exec.Node, error) {
		webhook, err := r.Dispatch.Webhook(ctx, id)
		return node(webhook, err)
	}},
	{ident.IsUUID, access.WebhooksRead, func(r *Resolver, ctx context.Context, id string) (exec.Node, error) {
		delivery, err := r.Dispatch.Delivery(ctx, id)
		return node(delivery, err)
	}},
}

// node looks an object up by its id; nil when it is unknown, another company's,
// or of a kind that the key's scopes do not cover.
func (r *Resolver) node(ctx context.Context, id string) (exec.Node, error) {
	p := access.From(ctx)
	for _, k := range kinds {
		if !k.shape(id) || k.scope != "" && !p.Can(k.scope) {
			continue
		}
		if found, err := k.find(r, ctx, id); found != nil || err != nil {
			return found, err
		}
	}
	return nil, nil
}

// key finds an API key of the company. A key that is no administrator's sees itself only.
func (r *Resolver) key(ctx context.Context, id string) (exec.Node, error) {
	p := access.From(ctx)
	if p.Key.ID == id {
		return &p.Key, nil
	}
	if !p.Can(access.Admin) {
		return nil, nil
	}
	keys, err := r.Access.Keys(ctx, p.Company.ID)
	for _, k := range keys {
		if k.ID == id {
			return k, nil
		}
	}
	return nil, err
}

// node makes a Node of what was found, and no Node of nothing.
func node[T any, P interface {
	*T
	exec.Node
}](found P, err error) (exec.Node, error) {
	if found == nil || err != nil {
		return nil, unknown(err)
	}
	return found, nil
}

// unknown takes a NotFound for an answer: there is none.
func unknown(err error) error {
	_, rest := fault.Users(err)
	return rest
}

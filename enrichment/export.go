package enrichment

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/enrichd/enrichd/enrichment/pipeline"
	"github.com/enrichd/enrichd/internal/access"
	"github.com/enrichd/enrichd/internal/fault"
)

// export is the answer to an access request, as JSON.
type export struct {
	ExportedAt   time.Time           `json:"exportedAt"`
	Profiles     []exportProfile     `json:"profiles"`
	Results      []exportResult      `json:"results"`
	Deliveries   []exportDelivery    `json:"deliveries"`
	Suppressions []exportSuppression `json:"suppressions"`
}

type exportProfile struct {
	ID         string          `json:"id"`
	ImportedAt time.Time       `json:"importedAt"`
	UpdatedAt  time.Time       `json:"updatedAt"`
	Values     []exportedValue `json:"values"`
}

// exportedValue is one value with where it came from and when.
type exportedValue struct {
	Field     string    `json:"field"`
	Value     any       `json:"value"`
	Source    string    `json:"source"`
	FetchedAt time.Time `json:"fetchedAt"`
}

// exportResult is what one run found. The candidate's facts each carry their evidence: source, address, time.
type exportResult struct {
	RequestID  string              `json:"requestId"`
	ProfileID  string              `json:"profileId"`
	Outcome    Outcome             `json:"outcome"`
	StartedAt  *time.Time          `json:"startedAt"`
	FinishedAt *time.Time          `json:"finishedAt"`
	Candidate  *pipeline.Candidate `json:"candidate"`
}

type exportDelivery struct {
	ID        string          `json:"id"`
	WebhookID string          `json:"webhookId"`
	RequestID string          `json:"requestId"`
	Status    string          `json:"status"`
	Body      json.RawMessage `json:"body"`
}

type exportSuppression struct {
	ID        string    `json:"id"`
	Digest    string    `json:"digest"`
	Reason    string    `json:"reason"`
	Erased    bool      `json:"erased"`
	CreatedAt time.Time `json:"createdAt"`
}

// sourceImport names the caller's own import as the source of a value.
const sourceImport = "import"

// Export gathers everything held about one person as JSON, each value with its
// source and time; nil when nothing is. A suppressed person's data is part of
// it: this answers that person. Bodies of webhooks are shown whole only when
// the run was about nobody else, and named otherwise.
func (s *Service) Export(ctx context.Context, ref PersonRef) (json.RawMessage, error) {
	if err := ref.check(); err != nil {
		return nil, err
	}
	company := access.From(ctx).Company.ID
	who, err := s.person(ctx, s.DB, company, ref)
	if errors.As(err, new(fault.NotFound)) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	out := export{ExportedAt: now(), Profiles: []exportProfile{}, Results: []exportResult{}, Deliveries: []exportDelivery{}, Suppressions: []exportSuppression{}}
	for _, p := range who.profiles {
		out.Profiles = append(out.Profiles, exportProfile{ID: p.ID, ImportedAt: p.CreatedAt, UpdatedAt: p.UpdatedAt, Values: p.imported()})
	}
	if err := s.exportRuns(ctx, &out, company, who.ids()); err != nil {
		return nil, err
	}
	objections, err := s.Store.suppressionsOf(ctx, s.DB, company, who.digests)
	if err != nil {
		return nil, err
	}
	for _, o := range objections {
		out.Suppressions = append(out.Suppressions, exportSuppression{ID: o.ID, Digest: o.Hex(), Reason: o.Reason, Erased: o.Erased, CreatedAt: o.CreatedAt})
	}
	if len(out.Profiles)+len(out.Results)+len(out.Suppressions) == 0 {
		return nil, nil
	}
	b, err := json.Marshal(out)
	if err != nil {
		return nil, fmt.Errorf("export: %w", err)
	}
	return b, nil
}

func (s *Service) exportRuns(ctx context.Context, out *export, company string, profileIDs []string) error {
	if len(profileIDs) == 0 {
		return nil
	}
	results, err := s.Store.membersOf(ctx, s.DB, company, profileIDs)
	if err != nil || len(results) == 0 {
		return err
	}
	var runs []string
	mine := map[string]int{}
	for _, m := range results {
		out.Results = append(out.Results, exportResult{
			RequestID: m.RunID, ProfileID: m.ProfileID, Outcome: m.Outcome, StartedAt: m.StartedAt, FinishedAt: m.FinishedAt, Candidate: m.Candidate,
		})
		if mine[m.RunID]++; mine[m.RunID] == 1 {
			runs = append(runs, m.RunID)
		}
	}
	sent, err := s.Dispatch.SentAbout(ctx, s.DB, company, runs)
	if err != nil {
		return err
	}
	members, err := s.Store.members(ctx, s.DB, runs)
	if err != nil {
		return err
	}
	for _, d := range sent {
		e := exportDelivery{ID: d.ID, WebhookID: d.WebhookID, RequestID: d.RunID, Status: string(d.Status)}
		if len(members[d.RunID]) == mine[d.RunID] {
			e.Body = d.Body
		}
		out.Deliveries = append(out.Deliveries, e)
	}
	return nil
}

// imported lists the values that the caller brought.
func (p *Profile) imported() []exportedValue {
	values := []exportedValue{}
	add := func(field string, held bool, v any) {
		if held {
			values = append(values, exportedValue{Field: field, Value: v, Source: sourceImport, FetchedAt: p.UpdatedAt})
		}
	}
	add("externalId", true, p.ExternalID)
	add("name", true, p.Name)
	add("headline", p.Headline != nil, p.Headline)
	add("location", p.Location != nil, p.Location)
	add("currentCompany", p.CurrentCompany != nil, p.CurrentCompany)
	add("currentRole", p.CurrentRole != nil, p.CurrentRole)
	add("skills", len(p.Skills) > 0, p.Skills)
	add("emails", len(p.Emails) > 0, p.Emails)
	add("links", len(p.Links) > 0, p.Links)
	add("roleBrief", p.RoleBrief != nil, p.RoleBrief)
	add("metadata", len(p.Metadata) > 0, p.Metadata)
	return values
}

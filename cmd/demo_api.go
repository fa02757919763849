package cmd

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/enrichd/enrichd/enrichment"
)

// importedProfile is what an import answers for one row.
type importedProfile struct {
	ID         string `json:"id"`
	ExternalID string `json:"externalId"`
	Name       string `json:"name"`
}

func (c *client) importProfiles(ctx context.Context, rows []enrichment.ProfileInput) ([]importedProfile, error) {
	var out struct {
		ImportProfiles struct {
			Profiles   []importedProfile
			UserErrors []userError
		}
	}
	err := c.do(ctx, `mutation($in: ImportProfilesInput!) { importProfiles(input: $in) { profiles { id externalId name } userErrors { code message field } } }`,
		map[string]any{"in": map[string]any{"idempotencyKey": uuid.NewString(), "source": map[string]any{"rows": rows}}}, &out)
	if err == nil && len(out.ImportProfiles.UserErrors) > 0 {
		err = refusal(out.ImportProfiles.UserErrors)
	}
	return out.ImportProfiles.Profiles, err
}

// createWebhook subscribes url to the ends of all runs and returns the secret.
func (c *client) createWebhook(ctx context.Context, url string) (secret string, err error) {
	var out struct {
		CreateWebhook struct {
			Secret     string
			UserErrors []userError
		}
	}
	err = c.do(ctx, `mutation($in: CreateWebhookInput!) { createWebhook(input: $in) { secret userErrors { code message field } } }`,
		map[string]any{"in": map[string]any{"url": url, "eventTypes": []string{"ENRICH_COMPLETED", "ENRICH_FAILED"}}}, &out)
	if err == nil && len(out.CreateWebhook.UserErrors) > 0 {
		err = refusal(out.CreateWebhook.UserErrors)
	}
	return out.CreateWebhook.Secret, err
}

// accountView is an account as the API shows it.
type accountView struct {
	Available int64       `json:"available"`
	Held      int64       `json:"held"`
	Entries   []entryView `json:"entries"` // newest first
}

type entryView struct {
	Kind           string    `json:"kind"`
	Amount         int64     `json:"amount"`
	AvailableAfter int64     `json:"availableAfter"`
	Memo           *string   `json:"memo"`
	Run            *runRef   `json:"run"`
	OccurredAt     time.Time `json:"occurredAt"`
}

type runRef struct {
	RequestID string `json:"requestId"`
}

func (c *client) account(ctx context.Context) (accountView, error) {
	var out struct {
		BillingAccount struct {
			Balance struct{ Available, Held int64 }
			Ledger  struct{ Nodes []entryView }
		}
	}
	err := c.do(ctx, `{ billingAccount { balance { available held } ledger(first: 100) { nodes { kind amount availableAfter memo occurredAt run { requestId } } } } }`, nil, &out)
	b := out.BillingAccount
	return accountView{b.Balance.Available, b.Balance.Held, b.Ledger.Nodes}, err
}

// String shows the balance, and the entries oldest first; captures of one run in a row are one line.
func (a accountView) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "  %d available, %d held", a.Available, a.Held)
	for i := len(a.Entries) - 1; i >= 0; {
		e := a.Entries[i]
		n := 0
		for i >= 0 && a.Entries[i].Kind == e.Kind && sameRun(a.Entries[i], e) {
			n, i = n+1, i-1
		}
		what := strings.ToLower(e.Kind)
		if n > 1 {
			what = fmt.Sprintf("%s × %d", what, n)
		}
		for_ := ""
		if e.Run != nil {
			for_ = e.Run.RequestID
		} else if e.Memo != nil {
			for_ = *e.Memo
		}
		fmt.Fprintf(&b, "\n  %-14s %+4d   %3d available after   %s", what, e.Amount*int64(n), a.Entries[i+1].AvailableAfter, for_)
	}
	return b.String()
}

func sameRun(a, b entryView) bool {
	return (a.Run == nil) == (b.Run == nil) && (a.Run == nil || a.Run.RequestID == b.Run.RequestID)
}

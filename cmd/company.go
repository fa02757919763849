package cmd

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/uptrace/bun"

	"github.com/enrichd/enrichd/billing"
	"github.com/enrichd/enrichd/internal/access"
	"github.com/enrichd/enrichd/internal/fault"
	"github.com/enrichd/enrichd/internal/pg"
)

func companyCommand() *cobra.Command {
	return group("company", "Make and list companies", []string{"companies"}, companyCreate(), companyList(), companySet(), companyKeep())
}

func companyCreate() *cobra.Command {
	c := &cobra.Command{Use: "create", Short: "Make a company with its billing account", Args: usage(cobra.NoArgs)}
	name := c.Flags().String("name", "", "the company's name (needed)")
	mode := c.Flags().String("billing", "prepaid", "prepaid or postpaid")
	credits := c.Flags().Int64("credits", 0, "credits to begin with")
	limit := c.Flags().Int64("credit-limit", -1, "most that a postpaid company may owe; none when left out")
	plan := c.Flags().String("plan", "none", "rate limit plan: "+strings.Join(access.Plans, ", "))
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		if *name == "" {
			return usageError{fmt.Errorf("--name is needed")}
		}
		in := newCompany{Name: *name, Mode: billing.Mode(strings.ToUpper(*mode)), Plan: *plan, Credits: *credits}
		switch {
		case *credits < 0:
			return usageError{fmt.Errorf("--credits must not be negative")}
		case in.Mode != billing.Prepaid && in.Mode != billing.Postpaid:
			return usageError{fmt.Errorf("--billing is prepaid or postpaid, not %q", *mode)}
		case in.Mode == billing.Postpaid && *credits > 0:
			return usageError{fmt.Errorf("--credits are for prepaid companies: a postpaid one owes what it uses")}
		case !slices.Contains(access.Plans, *plan):
			return usageError{fmt.Errorf("--plan is one of %s, not %q", strings.Join(access.Plans, ", "), *plan)}
		}
		return withApp(c, func(ctx context.Context, a *App) error {
			if *limit >= 0 {
				in.Limit = limit
			}
			company, err := a.createCompany(ctx, in)
			if err != nil {
				return err
			}
			if *asJSON {
				return printJSON(c.OutOrStdout(), map[string]string{"id": company.ID})
			}
			fmt.Fprintln(c.OutOrStdout(), company.ID)
			return nil
		})
	}
	return c
}

// newCompany says what a company begins with.
type newCompany struct {
	Name, Plan string
	Mode       billing.Mode
	Credits    int64
	Limit      *int64
}

// createCompany makes a company and its account in one transaction, then grants its first credits.
func (a *App) createCompany(ctx context.Context, in newCompany) (company *access.Company, err error) {
	err = pg.InTx(ctx, a.DB, func(ctx context.Context, tx bun.Tx) error {
		if company, err = a.Access.CreateCompany(ctx, tx, in.Name, in.Plan); err != nil {
			return err
		}
		return a.Ledger.OpenAccount(ctx, tx, company.ID, in.Mode, in.Limit)
	})
	if err == nil && in.Credits > 0 {
		_, _, err = a.Ledger.Grant(ctx, billing.Grant{
			CompanyID: company.ID, Credits: in.Credits, Kind: billing.KindGrant, Memo: "first credits", Actor: "cli", Key: "first credits",
		})
	}
	return company, err
}

func companyList() *cobra.Command {
	c := &cobra.Command{Use: "list", Short: "List companies with their balances", Args: usage(cobra.NoArgs)}
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		return withApp(c, func(ctx context.Context, a *App) error {
			companies, err := a.Access.Companies(ctx)
			if err != nil {
				return err
			}
			type row struct {
				ID        string       `json:"id"`
				Name      string       `json:"name"`
				Plan      string       `json:"plan"`
				Billing   billing.Mode `json:"billing"`
				Available int64        `json:"available"`
				Held      int64        `json:"held"`
			}
			rows := make([]row, len(companies))
			for i, co := range companies {
				account, err := a.Ledger.Account(ctx, co.ID)
				if err != nil {
					return err
				}
				rows[i] = row{co.ID, co.Name, co.Plan, account.Mode, account.Balance().Available, account.Balance().Held}
			}
			if *asJSON {
				return printJSON(c.OutOrStdout(), rows)
			}
			w := tabwriter.NewWriter(c.OutOrStdout(), 0, 4, 2, ' ', 0)
			fmt.Fprintln(w, "ID\tNAME\tPLAN\tBILLING\tAVAILABLE\tHELD")
			for _, r := range rows {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%d\n", r.ID, r.Name, r.Plan, strings.ToLower(string(r.Billing)), r.Available, r.Held)
			}
			return w.Flush()
		})
	}
	return c
}

func keysCommand() *cobra.Command {
	return group("keys", "Make, list, suspend and revoke API keys", []string{"key"},
		keysCreate(), keysList(), keysSuspend(), keysResume(), keysRevoke(), keysManage(), keysAudit())
}

func keysCreate() *cobra.Command {
	c := &cobra.Command{
		Use: "create", Short: "Make an API key and show its secret, this once",
		Long: "Make an API key and show its secret, this once. The secret goes to stdout, everything else to stderr.",
		Args: usage(cobra.NoArgs),
	}
	company := c.Flags().String("company", "", "the company's id (needed)")
	mode := c.Flags().String("mode", "live", "live, or test: sandbox sources only, no credits")
	scopes := c.Flags().String("scopes", "", "comma-separated; every scope but ADMIN when left out")
	label := c.Flags().String("label", "", "what the key is for; at most two live keys have one label")
	ips := c.Flags().StringSlice("allow-ip", nil, "addresses or CIDR ranges it may be used from; anywhere when left out")
	expires := c.Flags().Duration("expires-in", 0, "how long it holds, such as 720h; for good when left out")
	manages := c.Flags().StringSlice("manages", nil, "ids of the companies it acts for, for an applicant tracking system; every call names one")
	only := c.Flags().Bool("persisted-only", false, "it may send the GraphQL operations of ENRICHD_GRAPHQL_OPERATIONS by their hash, and no others")
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		in := access.NewKey{CompanyID: *company, Label: *label, Test: *mode == "test", AllowedIPs: *ips, PersistedOnly: *only}
		if c.Flags().Changed("manages") {
			in.Manages = append([]string{}, *manages...)
		}
		switch {
		case *company == "":
			return usageError{fmt.Errorf("--company is needed; `enrichd company list` shows the ids")}
		case *mode != "live" && *mode != "test":
			return usageError{fmt.Errorf("--mode is live or test, not %q", *mode)}
		case *expires < 0:
			return usageError{fmt.Errorf("--expires-in must not be negative")}
		case *expires > 0:
			at := time.Now().Add(*expires).UTC()
			in.ExpiresAt = &at
		}
		var err error
		if in.Scopes, err = parseScopes(*scopes); err != nil {
			return usageError{err}
		}
		return withApp(c, func(ctx context.Context, a *App) error {
			key, secret, err := a.Access.CreateKey(ctx, in)
			if err != nil {
				return err
			}
			if *asJSON {
				return printJSON(c.OutOrStdout(), struct {
					ID     string `json:"id"`
					Secret string `json:"secret"`
				}{key.ID, secret})
			}
			fmt.Fprintf(c.ErrOrStderr(), "key %s; its secret is shown this once:\n", key.ID)
			fmt.Fprintln(c.OutOrStdout(), secret)
			return nil
		})
	}
	return c
}

// parseScopes reads a comma-separated list in any spelling; "" is every scope but Admin.
func parseScopes(s string) ([]access.Scope, error) {
	if strings.TrimSpace(s) == "" {
		var all []access.Scope
		for _, scope := range access.Scopes {
			if scope != access.Admin {
				all = append(all, scope)
			}
		}
		return all, nil
	}
	var out []access.Scope
	for _, item := range strings.Split(s, ",") {
		scope, ok := access.ParseScope(item)
		if !ok {
			known := make([]string, len(access.Scopes))
			for i, k := range access.Scopes {
				known[i] = string(k)
			}
			return nil, fmt.Errorf("--scopes: %q is none of %s", strings.TrimSpace(item), strings.Join(known, ", "))
		}
		out = append(out, scope)
	}
	return out, nil
}

func keysList() *cobra.Command {
	c := &cobra.Command{Use: "list", Short: "List a company's keys, revoked ones included", Args: usage(cobra.NoArgs)}
	company := c.Flags().String("company", "", "the company's id (needed)")
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		if *company == "" {
			return usageError{fmt.Errorf("--company is needed; `enrichd company list` shows the ids")}
		}
		return withApp(c, func(ctx context.Context, a *App) error {
			keys, err := a.Access.Keys(ctx, *company)
			if err != nil {
				return err
			}
			type row struct {
				ID            string         `json:"id"`
				Label         string         `json:"label"`
				Prefix        string         `json:"prefix"`
				Mode          string         `json:"mode"`
				State         string         `json:"state"`
				Scopes        []access.Scope `json:"scopes"`
				PersistedOnly bool           `json:"persistedOnly"`
				CreatedAt     time.Time      `json:"createdAt"`
				LastUsedAt    *time.Time     `json:"lastUsedAt"`
			}
			rows := make([]row, len(keys))
			for i, k := range keys {
				rows[i] = row{
					k.ID, k.Label, k.Prefix, map[bool]string{true: "test", false: "live"}[k.Test], k.State(time.Now()), k.Scopes, k.PersistedOnly, k.CreatedAt, k.LastUsedAt,
				}
			}
			if *asJSON {
				return printJSON(c.OutOrStdout(), rows)
			}
			w := tabwriter.NewWriter(c.OutOrStdout(), 0, 4, 2, ' ', 0)
			fmt.Fprintln(w, "ID\tLABEL\tPREFIX\tMODE\tSTATE\tOPERATIONS")
			for _, r := range rows {
				operations := map[bool]string{true: "known", false: "any"}[r.PersistedOnly]
				fmt.Fprintf(w, "%s\t%s\t%s…\t%s\t%s\t%s\n", r.ID, r.Label, r.Prefix, r.Mode, r.State, operations)
			}
			return w.Flush()
		})
	}
	return c
}

// as puts a principal with every right over one company into ctx, for commands
// that act with the operator's own hands.
func (a *App) as(ctx context.Context, companyID string) (context.Context, error) {
	company, err := a.Access.Company(ctx, companyID)
	if err != nil {
		return nil, err
	}
	if company == nil {
		return nil, fault.NotFound{Head: fault.Head{Message: "no company " + companyID + "; `enrichd company list` shows the ids"}, Type: "Company", ID: companyID}
	}
	return access.With(ctx, &access.Principal{Company: *company, Key: access.Key{ID: "cli", CompanyID: company.ID, Scopes: access.Scopes}}), nil
}

package cmd

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/enrichd/enrichd/enrichment"
)

func startCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "start PROFILE_ID…",
		Short: "Start a run of up to ten profiles",
		Long:  "Start a run of up to ten profiles on a running service. It prints the request id; --watch follows the run to its end.",
	}
	connect := clientFlags(c)
	profiles := c.Flags().StringSlice("profiles", nil, "profile ids, besides those given as arguments")
	watch := c.Flags().Bool("watch", false, "follow the run to its end")
	webhook := c.Flags().String("webhook", "", "also announce the end to this webhook")
	label := c.Flags().String("label", "", "a label to find the run by")
	key := c.Flags().String("idempotency-key", "", "makes a repeat harmless; a fresh one when left out")
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		api, err := connect()
		if err != nil {
			return err
		}
		ids := append(args, *profiles...)
		if len(ids) == 0 {
			return usageError{fmt.Errorf("name at least one profile id")}
		}
		if *key == "" {
			*key = uuid.NewString()
		}
		in := map[string]any{"idempotencyKey": *key, "profileIds": ids}
		if *webhook != "" {
			in["webhookId"] = *webhook
		}
		if *label != "" {
			in["label"] = *label
		}
		run, err := api.start(c.Context(), in)
		if err != nil {
			return err
		}
		if *asJSON && !*watch {
			return printJSON(c.OutOrStdout(), run)
		}
		if !*watch {
			fmt.Fprintln(c.OutOrStdout(), run.RequestID)
			return nil
		}
		fmt.Fprintf(c.ErrOrStderr(), "%s, %d credits held\n", run.RequestID, run.Credits.Held)
		return watchRun(c, api, run.RequestID, nil, *asJSON, false)
	}
	return c
}

// startedRun is what a start answers.
type startedRun struct {
	RequestID string            `json:"requestId"`
	Status    enrichment.Status `json:"status"`
	Credits   credits           `json:"credits"`
	Replayed  bool              `json:"replayed"`
}

func (c *client) start(ctx context.Context, in map[string]any) (*startedRun, error) {
	var out struct {
		StartEnrichment struct {
			Replayed   bool
			Run        *startedRun
			UserErrors []userError
		}
	}
	err := c.do(ctx, `mutation($in: StartEnrichmentInput!) { startEnrichment(input: $in) {
		replayed run { requestId status credits { reserved captured released held } } userErrors { code message field } } }`,
		map[string]any{"in": in}, &out)
	if err != nil {
		return nil, err
	}
	if len(out.StartEnrichment.UserErrors) > 0 {
		return nil, refusal(out.StartEnrichment.UserErrors)
	}
	out.StartEnrichment.Run.Replayed = out.StartEnrichment.Replayed
	return out.StartEnrichment.Run, nil
}

func watchCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "watch REQUEST_ID",
		Short: "Follow a run live to its end; resumes by itself when the connection breaks",
		Args:  usage(cobra.ExactArgs(1)),
	}
	connect := clientFlags(c)
	after := c.Flags().Int("after", -1, "begin after this sequence instead of with a snapshot; 0 replays all")
	exitStatus := c.Flags().Bool("exit-status", false, "end with status 3 when a profile failed or timed out")
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		api, err := connect()
		if err != nil {
			return err
		}
		var from *int
		if *after >= 0 {
			from = after
		}
		return watchRun(c, api, args[0], from, *asJSON, *exitStatus)
	}
	return c
}

// watchRun follows a run: bars on a terminal, lines on a pipe, NDJSON with --json.
func watchRun(c *cobra.Command, api *client, id string, after *int, asJSON, exitStatus bool) error {
	var state runState
	names, err := api.names(c.Context(), id)
	if err != nil {
		return err
	}
	paint := newPainter(c.OutOrStdout(), names)
	var last event
	err = api.follow(c.Context(), id, after, func(e event) error {
		state.fold(e)
		last = e
		if asJSON {
			return printJSON(c.OutOrStdout(), e)
		}
		paint.show(&state, e, state.Status.Final())
		return nil
	})
	if err != nil {
		return err
	}
	if !asJSON && paint.fd >= 0 {
		paint.show(&state, last, true)
	}
	if p := state.Progress; exitStatus && p.Failed+p.TimedOut > 0 {
		return exit(exitFailures)
	}
	return nil
}

// names gives the names of a run's profiles by id.
func (c *client) names(ctx context.Context, runID string) (map[string]string, error) {
	var out struct {
		EnrichmentRun *struct {
			Profiles struct {
				Nodes []struct {
					ProfileID string
					Profile   *struct{ Name string }
				}
			}
		}
	}
	err := c.do(ctx, `query($run: ID!) { enrichmentRun(requestId: $run) { profiles(first: 10) { nodes { profileId profile { name } } } } }`,
		map[string]any{"run": runID}, &out)
	if err != nil {
		return nil, err
	}
	if out.EnrichmentRun == nil {
		return nil, fmt.Errorf("no run %s", runID)
	}
	names := map[string]string{}
	for _, n := range out.EnrichmentRun.Profiles.Nodes {
		if n.Profile != nil {
			names[n.ProfileID] = n.Profile.Name
		}
	}
	return names, nil
}

const resultsQuery = `query($run: ID!) { enrichmentResults(requestId: $run) {
  status credits { reserved captured released held }
  profiles(first: 10) { nodes {
    profileId outcome fromStore missing credits failure { code message retryable }
    profile { externalId name }
    candidate {
      name headline location currentCompany currentRole linkedinUrl skills matchScore scoreBasis rationale fitPoints redFlags
      experience { role company duration }
      emails { address status method confidence reasons evidence { source url excerpt observedAt } }
      links { kind url verified }
      facts { name value confidence evidence { source url excerpt contentHash extractor observedAt } }
      identity { source record probability band }
    } } } } }`

// results are what enrichmentResults answers.
type results struct {
	Status   enrichment.Status `json:"status"`
	Credits  credits           `json:"credits"`
	Profiles struct {
		Nodes []json.RawMessage `json:"nodes"`
	} `json:"profiles"`
}

// resultLine is the part of a result that the terminal shows.
type resultLine struct {
	ProfileID string             `json:"profileId"`
	Outcome   enrichment.Outcome `json:"outcome"`
	Missing   []string           `json:"missing"`
	Failure   *struct{ Code, Message string }
	Profile   *struct {
		ExternalID string `json:"externalId"`
		Name       string `json:"name"`
	} `json:"profile"`
	Candidate *struct {
		Name           string   `json:"name"`
		Headline       string   `json:"headline"`
		Location       string   `json:"location"`
		CurrentCompany string   `json:"currentCompany"`
		CurrentRole    string   `json:"currentRole"`
		Skills         []string `json:"skills"`
		MatchScore     int      `json:"matchScore"`
		ScoreBasis     string   `json:"scoreBasis"`
		Rationale      string   `json:"rationale"`
		Emails         []struct {
			Address, Status string
			Reasons         []string
		} `json:"emails"`
		Facts []resultFact `json:"facts"`
	} `json:"candidate"`
}

type resultFact struct {
	Name       string          `json:"name"`
	Value      json.RawMessage `json:"value"`
	Confidence float64         `json:"confidence"`
	Evidence   []struct {
		Source  string  `json:"source"`
		URL     *string `json:"url"`
		Excerpt *string `json:"excerpt"`
	} `json:"evidence"`
}

func (c *client) results(ctx context.Context, runID string) (*results, []resultLine, error) {
	var out struct{ EnrichmentResults *results }
	if err := c.do(ctx, resultsQuery, map[string]any{"run": runID}, &out); err != nil {
		return nil, nil, err
	}
	if out.EnrichmentResults == nil {
		return nil, nil, fmt.Errorf("no run %s", runID)
	}
	lines := make([]resultLine, len(out.EnrichmentResults.Profiles.Nodes))
	for i, raw := range out.EnrichmentResults.Profiles.Nodes {
		if err := json.Unmarshal(raw, &lines[i]); err != nil {
			return nil, nil, err
		}
	}
	return out.EnrichmentResults, lines, nil
}

func resultsCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "results REQUEST_ID",
		Short: "Show what a run found, with evidence",
		Long:  "Show what a run found, with evidence. --json prints one profile a line, --csv the plain fields.",
		Args:  usage(cobra.ExactArgs(1)),
	}
	connect := clientFlags(c)
	asCSV := c.Flags().Bool("csv", false, "print the plain fields as CSV")
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		api, err := connect()
		if err != nil {
			return err
		}
		res, lines, err := api.results(c.Context(), args[0])
		if err != nil {
			return err
		}
		w := c.OutOrStdout()
		switch {
		case *asJSON:
			for _, raw := range res.Profiles.Nodes {
				if err := printJSON(w, raw); err != nil {
					return err
				}
			}
		case *asCSV:
			return resultsCSV(w, lines)
		default:
			for _, l := range lines {
				printResult(w, l)
			}
			fmt.Fprintf(w, "run %s; credits: %d spent, %d returned, %d held\n", strings.ToLower(string(res.Status)), res.Credits.Captured, res.Credits.Released, res.Credits.Held)
		}
		return nil
	}
	return c
}

// printResult shows one profile to a person: outcome, addresses with status,
// number of facts, and one piece of evidence.
func printResult(w io.Writer, l resultLine) {
	name := l.ProfileID
	if l.Profile != nil {
		name = l.Profile.Name
	}
	fmt.Fprintf(w, "%-22s %s", name, outcomeWords(l.Outcome))
	if len(l.Missing) > 0 {
		fmt.Fprintf(w, " (without %s)", strings.Join(l.Missing, ", "))
	}
	if l.Failure != nil {
		fmt.Fprintf(w, ": %s", l.Failure.Message)
	}
	fmt.Fprintln(w)
	if l.Candidate == nil {
		return
	}
	cand := l.Candidate
	fmt.Fprintf(w, "  score %d (%s), %d facts. %s\n", cand.MatchScore, strings.ToLower(cand.ScoreBasis), len(cand.Facts), cand.Rationale)
	for _, e := range cand.Emails {
		fmt.Fprintf(w, "  e-mail %s: %s (%s)\n", e.Address, strings.ToLower(e.Status), strings.Join(e.Reasons, ", "))
	}
	if f := telling(cand.Facts); f != nil {
		e := f.Evidence[0]
		fmt.Fprintf(w, "  e.g. %s = %s, %.2f sure: %s", f.Name, clip(string(f.Value), 60), f.Confidence, e.Source)
		if e.URL != nil {
			fmt.Fprintf(w, " %s", *e.URL)
		}
		if e.Excerpt != nil {
			fmt.Fprintf(w, " “%s”", clip(*e.Excerpt, 80))
		}
		fmt.Fprintln(w)
	}
}

// telling picks the fact that says most to a reader: a role or company before a name.
func telling(facts []resultFact) *resultFact {
	for _, name := range []string{"currentRole", "currentCompany", "headline", "skills", "name"} {
		for i := range facts {
			if facts[i].Name == name && len(facts[i].Evidence) > 0 {
				return &facts[i]
			}
		}
	}
	return nil
}

func resultsCSV(w io.Writer, lines []resultLine) error {
	out := csv.NewWriter(w)
	out.Write([]string{"externalId", "profileId", "outcome", "name", "headline", "location", "currentCompany", "currentRole", "skills", "emails", "matchScore", "rationale"})
	for _, l := range lines {
		row := make([]string, 12)
		row[1], row[2] = l.ProfileID, string(l.Outcome)
		if l.Profile != nil {
			row[0], row[3] = l.Profile.ExternalID, l.Profile.Name
		}
		if c := l.Candidate; c != nil {
			var valid []string
			for _, e := range c.Emails {
				if e.Status == "VALID" {
					valid = append(valid, e.Address)
				}
			}
			copy(row[3:], []string{c.Name, c.Headline, c.Location, c.CurrentCompany, c.CurrentRole,
				strings.Join(c.Skills, ";"), strings.Join(valid, ";"), strconv.Itoa(c.MatchScore), c.Rationale})
		}
		out.Write(row)
	}
	out.Flush()
	return out.Error()
}

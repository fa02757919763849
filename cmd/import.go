package cmd

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/enrichd/enrichd/enrichment"
)

func importCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "import FILE",
		Short: "Bring profiles from a CSV, JSON Lines or JSON Resume file",
		Long: "Bring profiles from a CSV file (a header line with externalId, name, headline, location, currentCompany, currentRole,\n" +
			"skills, emails, links, roleBrief.title, … ; lists separated by semicolons), a JSON Lines file with the same fields, or JSON\n" +
			"Resume. Rows that are refused are reported and do not stop the others. Profiles are matched on externalId.",
		Args: usage(cobra.ExactArgs(1)),
	}
	company := c.Flags().String("company", "", "the company's id (needed)")
	format := c.Flags().String("format", "", "csv, jsonl or jsonresume; by the file's ending when left out")
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		if *company == "" {
			return usageError{fmt.Errorf("--company is needed; `enrichd company list` shows the ids")}
		}
		f, err := enrichment.Format(*format), error(nil)
		if f == "" {
			if f, err = enrichment.FormatOf(args[0]); err != nil {
				return usageError{err}
			}
		}
		file, err := os.Open(args[0])
		if err != nil {
			return err
		}
		defer file.Close()
		rows, ignored, err := enrichment.ReadRows(f, file)
		if err != nil {
			return err
		}
		if len(ignored) > 0 {
			fmt.Fprintf(c.ErrOrStderr(), "columns that mean nothing here: %s\n", strings.Join(ignored, ", "))
		}
		return withApp(c, func(ctx context.Context, a *App) error {
			ctx, err := a.as(ctx, *company)
			if err != nil {
				return err
			}
			im, err := a.Enrichment.Import(ctx, uuid.NewString(), rows)
			if err != nil {
				return err
			}
			return printImport(c, im, *asJSON)
		})
	}
	return c
}

func printImport(c *cobra.Command, im *enrichment.Import, asJSON bool) error {
	for _, r := range im.Refused {
		fmt.Fprintf(c.ErrOrStderr(), "row %s: %s\n", strings.Join(r.Where(), "."), r.Error())
	}
	status := error(nil)
	if im.Refusals > 0 {
		status = exit(exitFailures)
	}
	if !asJSON {
		fmt.Fprintf(c.OutOrStdout(), "%d created, %d updated, %d unchanged, %d refused\n", im.Created, im.Updated, im.Unchanged, im.Refusals)
		return status
	}
	type profile struct {
		ID         string `json:"id"`
		ExternalID string `json:"externalId"`
	}
	type refusal struct {
		Field   []string `json:"field"`
		Message string   `json:"message"`
	}
	out := struct {
		Created   int       `json:"created"`
		Updated   int       `json:"updated"`
		Unchanged int       `json:"unchanged"`
		Refused   []refusal `json:"refused"`
		Profiles  []profile `json:"profiles"`
	}{im.Created, im.Updated, im.Unchanged, []refusal{}, []profile{}}
	for _, p := range im.Profiles {
		out.Profiles = append(out.Profiles, profile{p.ID, p.ExternalID})
	}
	for _, r := range im.Refused {
		out.Refused = append(out.Refused, refusal{r.Where(), r.Error()})
	}
	if err := printJSON(c.OutOrStdout(), out); err != nil {
		return err
	}
	return status
}

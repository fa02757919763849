package cmd

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/enrichd/enrichd/internal/config"
)

func configCommand() *cobra.Command {
	c := &cobra.Command{Use: "print", Short: "List every setting with the value in force; secrets are redacted", Args: usage(cobra.NoArgs)}
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		conf, err := config.FromEnv()
		if err != nil {
			return err
		}
		if *asJSON {
			return printJSON(c.OutOrStdout(), conf.Settings())
		}
		w := tabwriter.NewWriter(c.OutOrStdout(), 0, 4, 2, ' ', 0)
		for _, s := range conf.Settings() {
			fmt.Fprintf(w, "%s=%s\t# %s\n", s.Name, s.Value, s.Help)
		}
		if err := w.Flush(); err != nil {
			return err
		}
		for _, name := range conf.Unknown {
			fmt.Fprintf(c.ErrOrStderr(), "%s is set but means nothing here\n", name)
		}
		return nil
	}
	return group("config", "Show the configuration", nil, c)
}

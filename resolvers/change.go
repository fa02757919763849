package resolvers

import (
	"github.com/99designs/gqlgen/graphql"

	"github.com/enrichd/enrichd/dispatch"
	"github.com/enrichd/enrichd/graph/exec"
)

// changeOf keeps apart what an update leaves out and what it sets to null.
func changeOf(in exec.UpdateWebhookInput) dispatch.WebhookChange {
	c := dispatch.WebhookChange{
		URL: in.URL, Name: optionalText(in.Name), Description: optionalText(in.Description), EventTypes: in.EventTypes,
		AllRuns: in.AllRuns, MaxRetries: in.MaxRetries, TimeoutMillis: in.TimeoutMillis, Enabled: in.Enabled,
	}
	if in.Headers != nil {
		c.Headers = make([]dispatch.WebhookHeaderInput, len(in.Headers))
		for i, h := range in.Headers {
			c.Headers[i] = *h
		}
	}
	return c
}

func optionalText(o graphql.Omittable[*string]) dispatch.OptionalText {
	return dispatch.OptionalText{Given: o.IsSet(), Text: o.Value()}
}

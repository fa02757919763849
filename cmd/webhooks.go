package cmd

import (
	"github.com/enrichd/enrichd/dispatch"
	"github.com/enrichd/enrichd/internal/config"
)

// dispatchConfig is what the configuration says of webhooks.
func dispatchConfig(c *config.Config) dispatch.Config {
	patience := c.WebhookPatience
	if patience == 0 {
		patience = -1 // for ever
	}
	return dispatch.Config{
		WebhooksPerCompany: c.WebhooksPerCompany, Curve: c.WebhookCurve, Workers: c.WebhookWorkers, Version: Version,
		Circuit: dispatch.CircuitRule{
			Failures: c.CircuitFailures, Span: max(c.CircuitSpan, 1), ManualOnly: !c.CircuitProbe, Patience: patience,
		},
		OlderHeader: dispatch.OlderHeader{
			Name: c.SignatureHeader, Value: c.SignatureValue, Signed: c.SignatureSigns, DecodedKey: c.SignatureKeyForm == "hex",
		},
	}
}

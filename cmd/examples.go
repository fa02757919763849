package cmd

import (
	"strings"

	"github.com/spf13/cobra"
)

// examples show each command at work, by the words that call it. TestCommands
// holds that every command has some, and that they name flags and arguments it takes.
var examples = map[string][]string{
	"enrichd demo": {
		"enrichd demo",
		"enrichd demo --exit --json",
	},
	"enrichd serve": {
		"enrichd serve",
		"DATABASE_URL=postgres://… enrichd serve --roles api,dispatch",
	},
	"enrichd work":           {"DATABASE_URL=postgres://… enrichd work"},
	"enrichd migrate":        {"DATABASE_URL=postgres://… enrichd migrate"},
	"enrichd migrate status": {"enrichd migrate status --json"},

	"enrichd company create": {
		"enrichd company create --name Acme --credits 500 --plan business",
		"enrichd company create --name Acme --billing postpaid --credit-limit 10000",
	},
	"enrichd company list": {"enrichd company list"},
	"enrichd company set":  {"enrichd company set COMPANY --mode postpaid --cycle-anchor 15 --time-zone Europe/Berlin"},
	"enrichd company keep": {"enrichd company keep COMPANY --evidence-days 30 --result-days 180"},

	"enrichd keys create": {
		"enrichd keys create --company COMPANY --label ats > key.txt",
		"enrichd keys create --company COMPANY --mode test --scopes enrich:write,read:webhooks --expires-in 720h",
		"enrichd keys create --company COMPANY --label app --scopes enrich:read --persisted-only",
	},
	"enrichd keys list":    {"enrichd keys list --company COMPANY"},
	"enrichd keys suspend": {`enrichd keys suspend KEY_ID --reason "invoice_17_is_open"`},
	"enrichd keys resume":  {"enrichd keys resume KEY_ID"},
	"enrichd keys revoke":  {"enrichd keys revoke KEY_ID"},
	"enrichd keys manage": {
		"enrichd keys manage KEY_ID --company COMPANY",
		"enrichd keys manage KEY_ID --company COMPANY --remove",
		"enrichd keys manage KEY_ID --persisted-only=false",
	},
	"enrichd keys audit": {"enrichd keys audit KEY_ID"},
	"enrichd limits set": {
		"enrichd limits set --company COMPANY --per-minute 600 --burst 1000",
		"enrichd limits set --key KEY_ID # the plan's again",
	},

	"enrichd credits grant": {
		"enrichd credits grant --company COMPANY --credits 500 --memo pilot",
		"enrichd credits grant --company COMPANY --credits 5000 --payment-reference pi_42 --expires-in 8760h",
	},
	"enrichd credits adjust": {"enrichd credits adjust --company COMPANY --credits -3 --memo ticket-812"},
	"enrichd credits refund": {"enrichd credits refund --company COMPANY --run REQUEST_ID --profile PROFILE_ID --memo ticket-812"},
	"enrichd price set":      {"enrichd price set 0.05 EUR --company COMPANY --from 2026-10-01"},
	"enrichd price list":     {"enrichd price list --company COMPANY"},

	"enrichd invoice close": {
		"enrichd invoice close",
		"enrichd invoice close --company COMPANY --period 2026-10",
	},
	"enrichd invoice list":     {"enrichd invoice list --company COMPANY --limit 12"},
	"enrichd invoice show":     {"enrichd invoice show 2026-000017 --html > invoice.html"},
	"enrichd invoice pay":      {"enrichd invoice pay 2026-000017 --reference pi_42"},
	"enrichd invoice void":     {"enrichd invoice void 2026-000017 --reason wrong-price"},
	"enrichd invoice correct":  {"enrichd invoice correct 2026-000017"},
	"enrichd invoice add-line": {"enrichd invoice add-line INVOICE_ID --description onboarding --amount 250.00"},
	"enrichd audit":            {"enrichd audit"},

	"enrichd import": {
		"enrichd import people.csv --company COMPANY",
		"enrichd import people.jsonl --company COMPANY --json",
	},
	"enrichd start": {
		"enrichd start PROFILE_ID PROFILE_ID --watch",
		"enrichd start --profiles PROFILE_ID,PROFILE_ID --label spring --json",
	},
	"enrichd watch":   {"enrichd watch REQUEST_ID --after 0 --json"},
	"enrichd results": {"enrichd results REQUEST_ID --csv > people.csv"},

	"enrichd config print": {"enrichd config print"},
}

// illustrate gives the commands below c their examples.
func illustrate(c *cobra.Command) {
	if lines := examples[c.CommandPath()]; len(lines) > 0 {
		c.Example = "  " + strings.Join(lines, "\n  ")
	}
	for _, child := range c.Commands() {
		illustrate(child)
	}
}

package rest

import (
	"fmt"
	"slices"
	"strings"
)

// Open are the readings of what the contract leaves open that an operator can
// change without a new version. The zero value is the documented default.
type Open struct {
	// FailedRunFails gives the body of a failed run "success":false and an error
	// object. By default it is true, because the call itself worked (row 15).
	FailedRunFails bool
	// LimitEnvelope answers 429 in the general envelope instead of the documented bare body (row 38).
	LimitEnvelope bool
	// MinutesPerCredit converts the ledger's credits for companies billed in minutes; 0 is 0.4 (row 33).
	MinutesPerCredit float64
	// MinutesCompanies are the ids of the companies whose usage is shown in minutes; "*" is every company.
	MinutesCompanies []string
	// CostKey names what is billed in the usage report; "" is candidate_enrichment (row 34).
	CostKey string
}

const (
	defaultMinutesPerCredit = 0.4
	defaultCostKey          = "candidate_enrichment"
)

func (o Open) minutesPerCredit() float64 {
	if o.MinutesPerCredit == 0 {
		return defaultMinutesPerCredit
	}
	return o.MinutesPerCredit
}

func (o Open) costKey() string {
	if o.CostKey == "" {
		return defaultCostKey
	}
	return o.CostKey
}

func (o Open) inMinutes(companyID string) bool {
	return slices.Contains(o.MinutesCompanies, "*") || slices.Contains(o.MinutesCompanies, companyID)
}

// openRow is one point that the contract does not document, and what we do.
type openRow struct {
	point, decision string
	// where is the setting or the one place in the code that changes it; "" where nothing is meant to.
	where string
}

// openRows is every reading of ours, in the order of the contract page's section
// 13. README.md shows it, and a test keeps the two alike.
var openRows = []openRow{
	{"Signature header and signed string", "lower-case hex HMAC-SHA256 of the raw body in X-Webhook-Signature; the Standard Webhooks headers are sent as well", "ENRICHD_SIGNATURE_HEADER, _VALUE, _SIGNS"},
	{"HMAC key", "the 64 characters of the secret as text", "ENRICHD_SIGNATURE_KEY"},
	{"Back-off of deliveries", "one attempt and three retries after 5 s, 5 min, 30 min, each ±20 %; the same deliveryId and bytes each time", "dispatch.Config.Curve"},
	{"What is retried", "every answer that is not 2xx, and every transport error, but not 410; redirects are not followed; 30 s for an attempt", ""},
	{"Circuit threshold", "10 failed attempts in a row over at least 30 s", "dispatch.Config.Circuit"},
	{"isActive:true while the circuit is open", "kept as the owner's wish; the answer says false until the circuit closes", ""},
	{"data of enrich.completed", "the results body, byte for byte", "enrichment.Service.Render"},
	{"data of enrich.failed", "the results body of the failed run", "enrichment.Service.Render"},
	{"Event of a partial failure", "enrich.completed, also when every profile failed; enrich.failed only when the run itself broke", ""},
	{"Subscribed to one of the two events", "only that one is delivered", ""},
	{"Webhooks that the run does not name", "those made over REST hear only of runs that name them", ""},
	{"Failed item", "profileId, success, errorCode, errorMessage, and no candidate", "rest/results.go resultItem"},
	{"Codes of failed items", "see the table itemErrors", "rest/results.go itemErrors"},
	{"Body of a failed run", "the usual fields with empty data, then errorCode and errorMessage", "rest/results.go resultsBody"},
	{"success of a failed run", "true: the call worked", "ENRICHD_REST_FAILED_RUN_FAILS"},
	{"Fields while processing", "success, requestId, status, message, createdAt", ""},
	{"Absent, null, empty", "the sourcing family leaves unknown optionals out and shows lists as []; webhooks show null", ""},
	{"No e-mail found", "a success with emails [], billed", ""},
	{"Order of data", "that of the request", ""},
	{"Repeated ids", "each processed and billed once; the limit of 10 and the balance check count what was submitted", ""},
	{"Unknown or foreign profile", "202, and a PROFILE_NOT_FOUND item", ""},
	{"Already enriched", "enriched and billed again, unless the company has a repeat window", "repeat window of the company"},
	{"0 or more than 10 ids, wrong types, empty strings, NUL bytes", "400 VALIDATION_ERROR; unknown fields are ignored, a field named twice is refused", ""},
	{"Details of a 400", `{"errors":[{"field","message"}]}`, "rest/envelope.go validation"},
	{"Body of a 402", "INSUFFICIENT_CREDITS or BILLING_LIMIT_REACHED with required and available", "rest/failure.go"},
	{"Foreign webhook at the start of a run", "403 RESOURCE_ACCESS_DENIED", ""},
	{"Unknown webhook at the start of a run", "404 RESOURCE_NOT_FOUND of a WebhookConfig", ""},
	{"Disabled or open webhook at the start of a run", "accepted; disabled: not told; open: told when the circuit closes", ""},
	{"Body of a 422", "WEBHOOK_NOT_SUBSCRIBED with requiredEvents and webhookId", "rest/failure.go"},
	{"Global webhook at the start of a run", "accepted from the key that made it, else 403", ""},
	{"Order of checks", "401, 403 scope, company, 429, 400, replay, 404/403/422 webhook, 402", "rest/routes.go serve"},
	{"Concurrent spending", "the count is held when the run is accepted, successes are captured, the rest is released", ""},
	{"Companies billed in minutes", "1 credit is 0.4 minutes; no company is, unless it is named", "ENRICHD_REST_MINUTES_PER_CREDIT, ENRICHD_REST_MINUTES_COMPANIES"},
	{"costKey", defaultCostKey, "ENRICHD_REST_COST_KEY"},
	{"totalInterviews", "0", ""},
	{"Foreign or unknown run", "404 REQUEST_NOT_FOUND, the same body", ""},
	{"Scope failure", "the envelope and statusCode 403", "rest/failure.go"},
	{"Body of a 429", "the documented bare body, then success and code", "ENRICHD_REST_LIMIT_ENVELOPE"},
	{"Retry-After against retryAfter", "one figure: whole seconds until the window admits a request, at least 1", ""},
	{"Default limits", "60 a minute and 2,000 an hour when no plan is known", "internal/limit plans"},
	{"Burst and windows", "GCRA a minute, a quota an hour; a remaining figure is never negative", ""},
	{"Polls", "120 a minute and key on the results route, beside the key's own limits", "internal/limit pollsPerMinute"},
	{"Limit headers on a 401", "only when a key was identified: a suspended one is told its limits, nobody else; a 403 for the address tells them too", ""},
	{"Form of a key", "any sk_ token up to 128 bytes is looked up", ""},
	{"Expired key", "INVALID_API_KEY, the body of an unknown one", ""},
	{"Address not allowed", "403 RESOURCE_ACCESS_DENIED without saying why", ""},
	{"companyId of ATS keys", "required on the sourcing and profile routes; webhooks and usage are the key's own, and only narrowed by it", ""},
	{"Prefix", "every route without one and under /v1, with the same bodies", "rest/routes.go mounts"},
	{"Idempotency-Key", "optional on POST /sourcing/enrich: the same body replays, another is 422, one in flight 409", ""},
	{"Shape of the list of webhooks", "data within data, with total", "rest/webhook_body.go webhookList"},
	{"URL of a webhook", "https, no credentials, no private address, checked when saved and when connecting", "ENRICHD_WEBHOOK_ALLOW_HTTP"},
	{"Custom header that collides", "400", ""},
	{"isMasked", "when the name contains authorization, cookie, token, key or secret", "dispatch/header.go"},
	{"Sequential or parallel", "parallel; cannot be seen", ""},
	{"How long results stay", "90 days, then 404 REQUEST_NOT_FOUND", "the company's retention"},
	{"Rendering a profile that was never enriched", "from what is known of it; else PROFILE_NOT_FOUND", ""},
	{"Wrong theme; every item failing", "400; 200 with renderedCount 0", ""},
	{"Delivery log", "not here; GraphQL has it", ""},
}

// openTable renders openRows for README.md.
func openTable() string {
	var b strings.Builder
	b.WriteString("| # | Not documented | What we do | Changed by |\n|---|---|---|---|\n")
	for i, r := range openRows {
		fmt.Fprintf(&b, "| %d | %s | %s | %s |\n", i+1, r.point, r.decision, r.where)
	}
	return b.String()
}

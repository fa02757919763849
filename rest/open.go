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
	{"companyId of ATS keys", "required on the sourcing and profile routes; webhooks are the key's own, and the list is only narrowed by it; usage is that of all its companies", ""},
	{"Prefix", "every route without one and under /v1, with the same bodies", "rest/routes.go mounts"},
	{"Idempotency-Key", "optional on POST /sourcing/enrich: the same body replays, another is 422, one in flight 409", ""},
	{"Shape of the list of webhooks", "data within data, with total", "rest/webhook_body.go webhookList"},
	{"URL of a webhook", "https, no credentials, no private address, at most 2,048 bytes, checked when saved and when connecting", "ENRICHD_WEBHOOK_ALLOW_HTTP"},
	{"Custom header that collides", "400", ""},
	{"isMasked", "when the name contains authorization, cookie, token, key or secret", "dispatch/header.go"},
	{"Sequential or parallel", "parallel; cannot be seen", ""},
	{"How long results stay", "90 days, then 404 REQUEST_NOT_FOUND", "the company's retention"},
	{"Rendering a profile that was never enriched", "from what is known of it; else PROFILE_NOT_FOUND", ""},
	{"Wrong theme; every item failing", "400; 200 with renderedCount 0", ""},
	{"Delivery log", "not here; GraphQL has it", ""},
}

// furtherRows is what else is ours: readings that the sections before the last
// one leave to us, and what we add. The point begins with the section.
var furtherRows = []openRow{
	{"1 Order of fields", "fixed; golden files pin every body", ""},
	{"1 Styles of bodies", "flat on all sourcing routes; every body but a 204 is JSON with a boolean success, and every failure has error.message, but for the 429", "rest/routes.go routes"},
	{"1 Case of a UUID", "means nothing, in the path, the query and the body; answers are in lower case", "rest/body.go canonical"},
	{"2 Status of a new webhook", "201", ""},
	{"2 Scope of the results", "enrich:read is enough as well", "rest/routes.go routes"},
	{"2 Routes of ours", "GET /sourcing/enrich/{id}/events, POST /sourcing/enrich/{id}/cancel, POST /profiles, GET /profiles/{id}; they refuse with problem details, and CONFLICT when a run has ended", "rest/routes.go routes"},
	{"2 A method that a path does not have, OPTIONS included", "404 RESOURCE_NOT_FOUND behind the key, no 405; HEAD is GET without the body; no CORS headers", ""},
	{"2 Paths that HTTP would clean (//, /../)", "redirected with 307 before anything else is looked at", ""},
	{"3 Nothing asked for", "at least 1 id", ""},
	{"3 Ids of profiles", "ours or the caller's own (externalId), ours first; results, candidates and cards answer under the name given, the events of GET /sourcing/enrich/{id}/events under ours", "enrichment/given.go"},
	{"3 webhookId of the answer", "last, and absent when none was given or it was null", ""},
	{"4 Header of a 202", "Retry-After: 2", "rest/enrich.go answerRun"},
	{"4 Counts, data and completedAt", "in every body of a run that ended, and in no other", ""},
	{"4 Cancelled run", "completed, and its unfinished profiles ENRICHMENT_CANCELLED", "rest/results.go statusOf"},
	{"4 Run whose failed profiles are tried again", "processing again, and a new event at its end", ""},
	{"5 Unknown fields of a candidate", "headline, location, currentCompany, currentRole left out; linkedinUrl \"\"; lists []; texts inside lists \"\"", "rest/results.go candidateOf"},
	{"5 emails", "only addresses without doubt: those that the verifier calls valid", "rest/results.go candidateOf"},
	{"6 Failing items of render-html", "profileId, success, errorCode; also for a person who objected, and for the ids that the sandbox reserves", ""},
	{"6 Order, repeats, price of render-html", "that of the request; each once; free", ""},
	{"6 Values and links on a card", "escaped; only http and https", "rest/card.html"},
	{"7.1 isActive", "enabled by its owner, and a circuit that is closed; not while a delivery probes it", "rest/webhook_body.go isActive"},
	{"7.2 Limits", "description 2,000 characters, headers 16 KiB together; name, description and the value of a header are measured in characters", "dispatch/input.go, dispatch/header.go"},
	{"7.2 Number of webhooks", "20 a company, then 400", "ENRICHD_WEBHOOKS_PER_COMPANY"},
	{"7.2 Fields that are not taken (maxRetries, timeoutMs; companyId of a PATCH)", "ignored; an event named twice is kept once", ""},
	{"7.3 Order and companyId of the list", "newest first; companyId narrows for a standard key too, and must be a UUID", ""},
	{"7.3 null in a PATCH", "clears name and description, is 400 elsewhere", ""},
	{"7.3 reset-circuit", "nothing on a closed circuit; 409 CIRCUIT_RESET_TOO_SOON with Retry-After within 10 s; a webhook that its owner disabled stays so", "dispatch.Config.ResetCooldown"},
	{"7.3 test", "behind the colon a class of error or the HTTP status, never what the receiver said; more than 6 a minute are 429", "rest/webhooks.go failures"},
	{"7.3 test of a disabled webhook or an open circuit", "the end of the message", "rest/webhooks.go notDelivering"},
	{"7.4 Spelling of enrich.*, codes of sourcing.* and enrich.*", "as the other types; no code, so 6 and above are 400", "rest/event_types.go eventTypes"},
	{"7.5 data of a ping", "{\"message\":\"Webhook test\"}", "dispatch/ping.go"},
	{"8 Key that is missing", "INVALID_API_KEY, the body of an unknown one; WWW-Authenticate: Bearer on every 401", ""},
	{"8 reason of a suspension", "null when none was given", ""},
	{"8 Body over 256 KiB", "413 PAYLOAD_TOO_LARGE", "rest/body.go maxBody"},
	{"8 Content-Type", "application/json or none, in UTF-8; else 400", "rest/body.go checkMedia"},
	{"8 409 and 422 of Idempotency-Key", "IDEMPOTENCY_IN_PROGRESS with Retry-After; IDEMPOTENCY_KEY_REUSED with originalRequestId; a replay has Idempotent-Replayed: true", "rest/failure.go"},
	{"8 Codes of 500 and 503", "INTERNAL_ERROR, SERVICE_UNAVAILABLE with Retry-After; details.requestId finds the line of the log", "rest/failure.go"},
	{"8 Code of a 429", "RATE_LIMIT_EXCEEDED; an address that sends too many bad keys gets the envelope without figures", "ENRICHD_AUTH_FAILURES"},
	{"8 Who is told limits", "every key that is known, whatever the status, OPTIONS and HEAD included; /docs and /openapi.json ask for no key and tell none; nobody where ENRICHD_RATE_LIMITS is off", ""},
	{"8 What a refused request costs", "a request of the limits, but for a 401 and an address that is not allowed", ""},
	{"8 Further headers", "X-Request-Id, Cache-Control: no-store, X-Content-Type-Options: nosniff, RateLimit and RateLimit-Policy", ""},
	{"10 Days", "start and end are whole UTC days, both included; of a time its day counts; at most 366", "rest/usage.go usageRange"},
	{"10 events, empty breakdown, both units", "profiles that succeeded; []; the totals of a key whose companies differ have both units, those of a key without a company none", "rest/usage.go"},
	{"11 Page and limit out of range", "400", "rest/webhooks.go"},
}

// furtherTable renders furtherRows for README.md.
func furtherTable() string {
	var b strings.Builder
	b.WriteString("| Section and point | What we do | Changed by |\n|---|---|---|\n")
	for _, r := range furtherRows {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", r.point, r.decision, r.where)
	}
	return b.String()
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

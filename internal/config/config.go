// Package config is the program's configuration: read once from the
// environment, checked once, printed without secrets.
package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Secret is a value that is never printed.
type Secret string

// String hides the value.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "[redacted]"
}

// Config is every setting. The env tag names its variable, the default tag what
// holds when that is unset, the help tag what it does.
type Config struct {
	DatabaseURL Secret `env:"DATABASE_URL" help:"PostgreSQL to use; empty: a private one from the binaries on this machine"`
	Addr        string `env:"ENRICHD_ADDR" default:"127.0.0.1:8080" help:"where the API listens"`
	AdminAddr   string `env:"ENRICHD_ADMIN_ADDR" default:"127.0.0.1:8081" help:"where /metrics listens; keep it private; off: none"`
	StateDir    string `env:"ENRICHD_STATE_DIR" help:"where the private PostgreSQL lives; empty: the system's state directory"`
	PostgresBin string `env:"ENRICHD_POSTGRES_BIN" help:"folder with initdb and postgres; empty: searched"`
	MasterKey   Secret `env:"ENRICHD_MASTER_KEY" help:"32 bytes in hex or base64 that seal secrets and digest keys; empty: one made and kept in the database"`

	DBAllowInsecure bool `env:"ENRICHD_DB_ALLOW_INSECURE" default:"false" help:"connect to a database on another host without verified TLS; only on a network that is trusted by itself"`

	DBConns        int `env:"ENRICHD_DB_CONNS" default:"20" help:"connections of the application's pool"`
	EnrichWorkers  int `env:"ENRICHD_ENRICH_WORKERS" default:"200" help:"profiles at once on this node"`
	WebhookWorkers int `env:"ENRICHD_WEBHOOK_WORKERS" default:"256" help:"webhook deliveries at once on this node"`

	RateLimits     bool           `env:"ENRICHD_RATE_LIMITS" default:"true" help:"keep the rate limits of plans, keys and companies"`
	AuthFailures   int            `env:"ENRICHD_AUTH_FAILURES" default:"20" help:"keys that do not hold which one address may send a minute"`
	TrustedProxies []netip.Prefix `env:"ENRICHD_TRUSTED_PROXIES" help:"networks of proxies whose X-Forwarded-For is believed, as CIDRs; empty: the socket's address counts"`
	KeyPeppers     Secret         `env:"ENRICHD_KEY_PEPPERS" help:"VERSION:SECRET of the pepper that keys are digested under, newest first, two at most; empty: derived from the master key"`

	EgressAllow []netip.Prefix `env:"ENRICHD_EGRESS_ALLOW" help:"private networks that may be reached in spite of the guard, as CIDRs"`
	EgressPorts []uint16       `env:"ENRICHD_EGRESS_PORTS" help:"ports besides 80 and 443 that may be reached"`
	DNSServer   string         `env:"ENRICHD_DNS_SERVER" help:"resolver as host:port; empty: the system's"`
	ContactURL  string         `env:"ENRICHD_CONTACT_URL" default:"https://enrichd.dev/bot" help:"page about the crawler, told to every site in the User-Agent"`

	Sources    []string          `env:"ENRICHD_SOURCES" default:"site,github,openalex" help:"enabled sources"`
	SourceURLs map[string]string `env:"ENRICHD_SOURCE_*_URL" help:"base URL of one source, such as ENRICHD_SOURCE_GITHUB_URL"`
	SourceKeys map[string]Secret `env:"ENRICHD_SOURCE_*_KEY" help:"token of one source, such as ENRICHD_SOURCE_GITHUB_KEY"`
	CrawlRate  float64           `env:"ENRICHD_CRAWL_RATE" default:"1" help:"requests a second to one host"`

	WebhookHTTP bool `env:"ENRICHD_WEBHOOK_ALLOW_HTTP" default:"false" help:"accept webhook URLs without TLS, for tests and private networks"`
	// WebhookCurve are the delays after failed attempts, the last one repeating.
	WebhookCurve       []time.Duration `env:"ENRICHD_WEBHOOK_CURVE" default:"5s,5m,30m,2h,5h,10h,14h,20h,24h" help:"delays after a delivery's failed attempts, the last one repeating; each is spread by a fifth"`
	WebhookPatience    time.Duration   `env:"ENRICHD_WEBHOOK_PATIENCE" default:"120h" help:"how long a webhook may do nothing but fail before it is disabled; 0: for ever"`
	WebhooksPerCompany int             `env:"ENRICHD_WEBHOOKS_PER_COMPANY" default:"20" help:"webhooks that a company may have"`
	CircuitFailures    int             `env:"ENRICHD_CIRCUIT_FAILURES" default:"10" help:"failed attempts in a row that open a webhook's circuit"`
	CircuitSpan        time.Duration   `env:"ENRICHD_CIRCUIT_SPAN" default:"30s" help:"over at least this long, so that a receiver's restart does not open it"`
	CircuitProbe       bool            `env:"ENRICHD_CIRCUIT_PROBE" default:"true" help:"let a delivery that succeeds close an open circuit; false: only a reset does"`

	SignatureHeader  string `env:"ENRICHD_SIGNATURE_HEADER" default:"X-Webhook-Signature" help:"header with the older contract's hex HMAC"`
	SignatureValue   string `env:"ENRICHD_SIGNATURE_VALUE" default:"{hex}" help:"its value; {hex} is the signature"`
	SignatureSigns   string `env:"ENRICHD_SIGNATURE_SIGNS" default:"{body}" help:"what it signs, of {body}, {timestamp}, {id}"`
	SignatureKeyForm string `env:"ENRICHD_SIGNATURE_KEY" default:"text" help:"its key: text (the 64 hex characters) or hex (the 32 bytes)"`

	FailedRunFails   bool     `env:"ENRICHD_REST_FAILED_RUN_FAILS" default:"false" help:"results of a run that broke say success false, with an error"`
	LimitEnvelope    bool     `env:"ENRICHD_REST_LIMIT_ENVELOPE" default:"false" help:"REST answers 429 in the envelope of other errors"`
	MinutesPerCredit float64  `env:"ENRICHD_REST_MINUTES_PER_CREDIT" default:"0.4" help:"minutes that one credit is in the usage report"`
	MinutesCompanies []string `env:"ENRICHD_REST_MINUTES_COMPANIES" help:"ids of companies whose usage is reported in minutes; *: all"`
	CostKey          string   `env:"ENRICHD_REST_COST_KEY" default:"candidate_enrichment" help:"what the usage report calls what is billed"`

	InvoiceGrace  time.Duration `env:"ENRICHD_INVOICE_GRACE" default:"0s" help:"how long an invoice waits for its number, for corrections by hand"`
	InvoiceIssuer string        `env:"ENRICHD_INVOICE_ISSUER" help:"who bills, as printed on invoices; | begins a new line"`
	LedgerChain   bool          `env:"ENRICHD_LEDGER_CHAIN" default:"false" help:"chain each account's ledger entries by digests, for good once on"`

	AllowedOrigins []string      `env:"ENRICHD_ALLOWED_ORIGINS" help:"browser origins that may call and open sockets; empty: none but the server's own"`
	Operations     string        `env:"ENRICHD_GRAPHQL_OPERATIONS" help:"JSON file of SHA-256 to text: GraphQL operations that clients may send by hash alone"`
	PersistedOnly  bool          `env:"ENRICHD_GRAPHQL_PERSISTED_ONLY" default:"false" help:"run no GraphQL operation but those of ENRICHD_GRAPHQL_OPERATIONS"`
	Dev            bool          `env:"ENRICHD_DEV" default:"false" help:"introspection for every key, and suggestions in errors"`
	LogLevel       string        `env:"ENRICHD_LOG_LEVEL" default:"info" help:"debug, info, warn or error"`
	LogFormat      string        `env:"ENRICHD_LOG_FORMAT" default:"text" help:"text or json"`
	Traces         bool          `env:"ENRICHD_TRACES" default:"false" help:"send OpenTelemetry traces as the OTEL_ variables say; OTEL_EXPORTER_OTLP_ENDPOINT turns them on as well"`
	DrainWindow    time.Duration `env:"ENRICHD_DRAIN_WINDOW" default:"2s" help:"over how long a stopping server spreads the closing of sockets"`
	DrainDelay     time.Duration `env:"ENRICHD_DRAIN_DELAY" default:"0s" help:"how long to answer not ready before closing, for load balancers"`

	// AdminChosen says that ENRICHD_ADMIN_ADDR was set, so that failing to listen there is an error and not a warning.
	AdminChosen bool
	// Unknown are the ENRICHD_ names that mean nothing here, most likely typing errors.
	Unknown []string
}

// SourceNames are the sources that the design knows; not all are built yet.
var SourceNames = []string{
	"site", "github", "orcid", "openalex", "crossref", "dblp", "stackexchange", "gravatar", "fediverse", "bluesky", "wikidata", "ror",
}

// FromEnv reads the configuration of this process.
func FromEnv() (*Config, error) { return Read(os.Environ()) }

// Read reads a configuration from NAME=value pairs. It reports every problem at
// once; names that mean nothing are kept in Unknown, for a warning.
func Read(environ []string) (*Config, error) {
	env := map[string]string{}
	for _, pair := range environ {
		name, value, _ := strings.Cut(pair, "=")
		if name == "DATABASE_URL" || strings.HasPrefix(name, "ENRICHD_") {
			env[name] = value
		}
	}
	c := &Config{SourceURLs: map[string]string{}, SourceKeys: map[string]Secret{}}
	var problems []error
	c.AdminChosen = env["ENRICHD_ADMIN_ADDR"] != ""
	v := reflect.ValueOf(c).Elem()
	for i := range v.NumField() {
		tag := v.Type().Field(i).Tag
		name := tag.Get("env")
		if name == "" {
			continue
		}
		if prefix, suffix, wild := strings.Cut(name, "*"); wild {
			for _, source := range SourceNames {
				key := prefix + strings.ToUpper(source) + suffix
				if value := env[key]; value != "" {
					v.Field(i).SetMapIndex(reflect.ValueOf(source), reflect.ValueOf(value).Convert(v.Field(i).Type().Elem()))
				}
				delete(env, key)
			}
			continue
		}
		value := strings.TrimSpace(env[name])
		delete(env, name)
		if value == "" {
			value = tag.Get("default")
		}
		if err := set(v.Field(i), value); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", name, err))
		}
	}
	for name := range env {
		// Names for the tests and for programs beside this one are not ours to judge.
		if !strings.HasPrefix(name, "ENRICHD_TEST_") && name != "ENRICHD_CORPORA" && name != "ENRICHD_URL" && name != "ENRICHD_API_KEY" {
			c.Unknown = append(c.Unknown, name)
		}
	}
	slices.Sort(c.Unknown)
	problems = append(problems, c.check()...)
	if len(problems) > 0 {
		return nil, fmt.Errorf("configuration: %w", errors.Join(problems...))
	}
	return c, nil
}

func (c *Config) check() (problems []error) {
	bad := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	for name, addr := range map[string]string{"ENRICHD_ADDR": c.Addr, "ENRICHD_ADMIN_ADDR": c.AdminAddr, "ENRICHD_DNS_SERVER": c.DNSServer} {
		if _, _, err := net.SplitHostPort(addr); err != nil && addr != "" && (addr != "off" || name != "ENRICHD_ADMIN_ADDR") {
			bad("%s: %q is not host:port", name, addr)
		}
	}
	for _, s := range c.Sources {
		if !slices.Contains(SourceNames, s) {
			bad("ENRICHD_SOURCES: %q is none of %s", s, strings.Join(SourceNames, " "))
		}
	}
	for name, raw := range c.SourceURLs {
		if u, err := url.Parse(raw); err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
			bad("ENRICHD_SOURCE_%s_URL: %q is not an http or https address", strings.ToUpper(name), raw)
		}
	}
	if c.CrawlRate <= 0 {
		bad("ENRICHD_CRAWL_RATE: must be above 0")
	}
	if c.MinutesPerCredit <= 0 {
		bad("ENRICHD_REST_MINUTES_PER_CREDIT: must be above 0")
	}
	if c.AuthFailures < 1 {
		bad("ENRICHD_AUTH_FAILURES: must be at least 1")
	}
	if c.DBConns < 4 {
		bad("ENRICHD_DB_CONNS: must be at least 4")
	}
	if c.CircuitFailures < 1 || c.WebhooksPerCompany < 1 {
		bad("ENRICHD_CIRCUIT_FAILURES and ENRICHD_WEBHOOKS_PER_COMPANY: must be at least 1")
	}
	if c.CircuitSpan < 0 || c.WebhookPatience < 0 || len(c.WebhookCurve) == 0 || slices.ContainsFunc(c.WebhookCurve, func(d time.Duration) bool { return d <= 0 }) {
		bad("ENRICHD_WEBHOOK_CURVE: must be durations above 0; ENRICHD_CIRCUIT_SPAN and ENRICHD_WEBHOOK_PATIENCE: must not be negative")
	}
	if c.EnrichWorkers < 1 || c.WebhookWorkers < 1 {
		bad("ENRICHD_ENRICH_WORKERS and ENRICHD_WEBHOOK_WORKERS: must be at least 1")
	}
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, c.LogLevel) {
		bad("ENRICHD_LOG_LEVEL: %q is none of debug, info, warn, error", c.LogLevel)
	}
	if !slices.Contains([]string{"text", "json"}, c.LogFormat) {
		bad("ENRICHD_LOG_FORMAT: %q is none of text, json", c.LogFormat)
	}
	if !slices.Contains([]string{"text", "hex"}, c.SignatureKeyForm) {
		bad("ENRICHD_SIGNATURE_KEY: %q is none of text, hex", c.SignatureKeyForm)
	}
	if !strings.Contains(c.SignatureValue, "{hex}") {
		bad("ENRICHD_SIGNATURE_VALUE: must contain {hex}")
	}
	if !strings.Contains(c.SignatureSigns, "{body}") {
		bad("ENRICHD_SIGNATURE_SIGNS: must contain {body}")
	}
	return problems
}

func set(f reflect.Value, s string) error {
	switch p := f.Addr().Interface().(type) {
	case *string:
		*p = s
	case *Secret:
		*p = Secret(s)
	case *int:
		n, err := strconv.Atoi(s)
		if err != nil {
			return fmt.Errorf("%q is not a whole number", s)
		}
		*p = n
	case *float64:
		n, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return fmt.Errorf("%q is not a number", s)
		}
		*p = n
	case *bool:
		b, err := strconv.ParseBool(s)
		if err != nil {
			return fmt.Errorf("%q is neither true nor false", s)
		}
		*p = b
	case *time.Duration:
		d, err := time.ParseDuration(s)
		if err != nil {
			return fmt.Errorf("%q is not a duration such as 5s", s)
		}
		*p = d
	case *[]time.Duration:
		for _, item := range list(s) {
			d, err := time.ParseDuration(item)
			if err != nil {
				return fmt.Errorf("%q is not a duration such as 5s", item)
			}
			*p = append(*p, d)
		}
	case *[]string:
		*p = list(s)
	case *[]netip.Prefix:
		for _, item := range list(s) {
			prefix, err := netip.ParsePrefix(item)
			if addr, bare := netip.ParseAddr(item); bare == nil {
				prefix, err = netip.PrefixFrom(addr, addr.BitLen()), nil
			}
			if err != nil {
				return fmt.Errorf("%q is not a network such as 127.0.0.0/8", item)
			}
			*p = append(*p, prefix.Masked())
		}
	case *[]uint16:
		for _, item := range list(s) {
			n, err := strconv.ParseUint(item, 10, 16)
			if err != nil || n == 0 {
				return fmt.Errorf("%q is not a port", item)
			}
			*p = append(*p, uint16(n))
		}
	default:
		return fmt.Errorf("setting of unknown type %s", f.Type())
	}
	return nil
}

// list splits at commas and blanks.
func list(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' || r == '\n' })
}

// Setting is one line of what Print shows.
type Setting struct {
	Name    string `json:"name"`
	Value   string `json:"value"`
	Default string `json:"default"`
	Help    string `json:"help"`
}

// Settings lists every setting with the value in force, secrets redacted.
func (c *Config) Settings() []Setting {
	var out []Setting
	v := reflect.ValueOf(c).Elem()
	for i := range v.NumField() {
		tag := v.Type().Field(i).Tag
		name := tag.Get("env")
		if name == "" {
			continue
		}
		if prefix, suffix, wild := strings.Cut(name, "*"); wild {
			for _, source := range SourceNames {
				if value := v.Field(i).MapIndex(reflect.ValueOf(source)); value.IsValid() {
					out = append(out, Setting{prefix + strings.ToUpper(source) + suffix, fmt.Sprint(value.Interface()), "", tag.Get("help")})
				}
			}
			name = prefix + "<NAME>" + suffix
			out = append(out, Setting{name, "", "", tag.Get("help")})
			continue
		}
		value := fmt.Sprint(v.Field(i).Interface())
		if v.Field(i).Kind() == reflect.Slice {
			items := make([]string, v.Field(i).Len())
			for n := range items {
				items[n] = fmt.Sprint(v.Field(i).Index(n).Interface())
			}
			value = strings.Join(items, ",")
		}
		out = append(out, Setting{name, value, tag.Get("default"), tag.Get("help")})
	}
	return out
}

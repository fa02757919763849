// Package source holds the places that facts come from. Each implements
// pipeline.Source: Ask and Read are pure, Fetch reaches out through
// internal/egress and through a guard that keeps one bad source from costing more than itself.
package source

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/enrichd/enrichd/enrichment/pipeline"
	"github.com/enrichd/enrichd/internal/egress"
)

// Names are the sources that can be enabled, in order of preference.
var Names = []string{"site", "github", "openalex"}

// planned are names that the configuration may hold one day; they have no connector yet.
var planned = []string{"orcid", "crossref", "dblp", "stackexchange", "gravatar", "fediverse", "bluesky", "wikidata", "ror"}

// Config says which sources are asked, where, and how politely. The zero value
// of a field means its default.
type Config struct {
	Enabled []string // of Names; nil means all of them
	// URLs are base addresses by source name, for tests and air-gapped installs; "" is the public one.
	URLs map[string]string
	// Tokens are keys by source name; without one a source works within its anonymous limits.
	Tokens map[string]string
	// Contact is an address or page at which a source's operator can reach whoever runs this service.
	Contact string
	// Policy is what may be visited; its user agent is sent everywhere.
	Policy egress.Policy
	// RobotsToken is the product token looked for in robots.txt: "enrichd".
	RobotsToken string
	// CrawlRate is how many requests a second one host gets.
	CrawlRate float64
	// Turns hands out the moments at which a host may be asked; nil keeps them in memory of this process.
	Turns Turns
	// Slice is the longest that one call may take.
	Slice time.Duration
	// Parallel is how many calls to one source may be under way on this node.
	Parallel int
	// CircuitPause is how long an open circuit stays open before it is probed.
	CircuitPause time.Duration
}

func (c Config) withDefaults() Config {
	if c.Enabled == nil {
		c.Enabled = Names
	}
	if c.RobotsToken == "" {
		c.RobotsToken = "enrichd"
	}
	if c.CrawlRate <= 0 {
		c.CrawlRate = 1
	}
	if c.Turns == nil {
		c.Turns = &localTurns{}
	}
	if c.Slice <= 0 {
		c.Slice = 3 * time.Second
	}
	if c.Parallel <= 0 {
		c.Parallel = 8
	}
	if c.CircuitPause <= 0 {
		c.CircuitPause = 30 * time.Second
	}
	return c
}

// Set is the sources that a configuration enables. End it with Close.
type Set struct {
	// Sources are those enabled, in order of preference.
	Sources []pipeline.Source
	guards  map[string]*guard
	clients []*egress.Client
}

// New makes the enabled sources. A name that is unknown, or that has no
// connector yet, and an address that is no base address are errors.
func New(cfg Config) (*Set, error) {
	cfg = cfg.withDefaults()
	for _, name := range cfg.Enabled {
		switch {
		case slices.Contains(Names, name):
		case slices.Contains(planned, name):
			return nil, fmt.Errorf("source %q has no connector in this version; enable any of %s", name, strings.Join(Names, ", "))
		default:
			return nil, fmt.Errorf("source %q is unknown; enable any of %s", name, strings.Join(Names, ", "))
		}
	}
	apis := cfg.Policy
	for _, base := range cfg.URLs {
		// An operator who names a plain address means it: a mirror on his own network, or a test.
		apis.AllowHTTP = apis.AllowHTTP || strings.HasPrefix(base, "http:")
	}
	api, crawl := egress.NewClient(apis, egress.ForAPI), egress.NewClient(cfg.Policy, egress.ForCrawl)
	set := &Set{guards: map[string]*guard{}, clients: []*egress.Client{api, crawl}}
	for _, name := range Names {
		if !slices.Contains(cfg.Enabled, name) {
			continue
		}
		base, err := baseURL(name, cfg.URLs[name])
		if err != nil {
			return nil, err
		}
		var src pipeline.Source
		var g *guard
		switch name {
		case "site":
			src, g = newSite(cfg, crawl)
		case "github":
			g = newGuard(name, cfg, api)
			src = guarded{newGitHub(base, cfg.Tokens[name]), g}
		case "openalex":
			g = newGuard(name, cfg, api)
			src = guarded{newOpenAlex(base, cfg.Tokens[name], cfg.Contact), g}
		}
		set.guards[name] = g
		set.Sources = append(set.Sources, src)
	}
	return set, nil
}

// publicURLs are where the sources live.
var publicURLs = map[string]string{
	"github":   "https://api.github.com",
	"openalex": "https://api.openalex.org",
}

func baseURL(name, configured string) (string, error) {
	base := configured
	if base == "" {
		base = publicURLs[name]
	}
	if base == "" {
		return "", nil
	}
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery != "" || u.Fragment != "" {
		return "", fmt.Errorf("base address %q of source %s must be http or https with a host, and no query", base, name)
	}
	return strings.TrimSuffix(base, "/"), nil
}

// Switch turns one source on or off without a restart. A source that is off
// answers every ask with a loss at once. It is false when the source is not enabled at all.
func (s *Set) Switch(name string, on bool) bool {
	g, ok := s.guards[name]
	if ok {
		g.off.Store(!on)
	}
	return ok
}

// SetPolicy replaces what may be visited.
func (s *Set) SetPolicy(p egress.Policy) {
	for _, c := range s.clients {
		c.SetPolicy(p)
	}
}

// Close ends the calls that are still under way and closes idle connections.
func (s *Set) Close() {
	for _, g := range s.guards {
		g.close()
	}
	for _, c := range s.clients {
		c.Close()
	}
}

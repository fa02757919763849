// Package sandbox is a web of our own on loopback: candidates' sites, the
// sources' APIs in their true shapes, and the DNS that names them, played by
// real servers in this process. The demo and the end-to-end tests point the
// service at it and know what a correct run must bring back.
//
// Invariants:
//
//   - Nothing but loopback is listened on, and every address is a free port, so several sandboxes live side by side.
//   - The same day gives the same bytes: nothing is drawn by chance.
//   - After Close no goroutine of the sandbox is left, whatever its hosts were doing.
package sandbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// The hosts of the APIs.
const (
	gitHubHost   = "api.github.test"
	openAlexHost = "api.openalex.test"
)

// The keys that the APIs know.
const (
	gitHubToken = "sandbox-github-token"
	openAlexKey = "sandbox-openalex-key"
)

// Config says how to start. The zero value is of use.
type Config struct {
	// Log gets one debug line for each request; nil is silence.
	Log *slog.Logger
	// Today is the day on which the pages are read: their dates are relative to it, so that
	// "since March four years ago" never grows stale. Zero is the day of the start.
	Today time.Time
}

// Sandbox is a running web. All its methods are safe for concurrent use.
type Sandbox struct {
	log   *slog.Logger
	fill  filler
	trips trips
	port  uint16
	names *names
	sites map[string]*site // by host
	apis  map[string]http.Handler

	web    *http.Server
	served chan struct{} // closed when the web server's loop has ended
	cancel context.CancelFunc

	mu        sync.Mutex
	closed    bool
	busy      sync.WaitGroup // requests being answered
	behaviour map[string]Behaviour
}

// Start starts the servers. ctx bounds the start only; end the sandbox with Close.
func Start(ctx context.Context, cfg Config) (*Sandbox, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Today.IsZero() {
		cfg.Today = time.Now()
	}
	var listen net.ListenConfig
	listener, err := listen.Listen(ctx, "tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("sandbox web: %w", err)
	}
	s := &Sandbox{log: cfg.Log, served: make(chan struct{}), apis: map[string]http.Handler{}}
	s.port = listener.Addr().(*net.TCPAddr).AddrPort().Port()
	s.fill = filler{web: strconv.Itoa(int(s.port)), today: cfg.Today.UTC()}
	if err := s.load(ctx, &listen); err != nil {
		return nil, errors.Join(fmt.Errorf("sandbox: %w", err), listener.Close())
	}
	base, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	s.web = &http.Server{
		Handler: http.HandlerFunc(s.serve), ReadHeaderTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(cfg.Log.Handler(), slog.LevelDebug),
		BaseContext: func(net.Listener) context.Context { return base },
	}
	go func() {
		defer close(s.served)
		_ = s.web.Serve(listener) // ends with Close
	}()
	return s, nil
}

// load reads the embedded files and starts the DNS server.
func (s *Sandbox) load(ctx context.Context, listen *net.ListenConfig) error {
	var err error
	if s.sites, err = loadSites(s.fill); err != nil {
		return err
	}
	if s.apis[gitHubHost], err = newGitHub(s.fill, "http://"+gitHubHost+":"+s.fill.web); err != nil {
		return err
	}
	if s.apis[openAlexHost], err = newOpenAlex(s.fill); err != nil {
		return err
	}
	var trouble struct {
		Hosts    map[string]Behaviour `json:"hosts"`
		ServFail []string             `json:"servfail"`
	}
	if err := s.fill.decode("testdata/trouble.json", &trouble); err != nil {
		return err
	}
	s.behaviour = trouble.Hosts
	hosts := []string{gitHubHost, openAlexHost}
	for host := range s.sites {
		hosts = append(hosts, host)
	}
	zone, err := loadZone(hosts, trouble.ServFail)
	if err != nil {
		return err
	}
	s.names, err = startNames(ctx, listen, zone)
	return err
}

// Close ends every server and whatever request is still being answered. It may be called twice.
func (s *Sandbox) Close() error {
	s.mu.Lock()
	again := s.closed
	s.closed = true
	s.mu.Unlock()
	if again {
		return nil
	}
	s.cancel()
	err := errors.Join(s.web.Close(), s.names.close())
	s.busy.Wait()
	<-s.served
	return err
}

// Settings are what the service must be configured with to live in the sandbox.
type Settings struct {
	EgressAllow []netip.Prefix
	EgressPorts []uint16
	DNSServer   string // host:port
	// SourceURLs and SourceKeys are base addresses and tokens by source name; sites are found through DNS.
	SourceURLs map[string]string
	SourceKeys map[string]string
	// CrawlRate is what the sites bear, in requests a second.
	CrawlRate float64
}

// Settings answers where everything listens.
func (s *Sandbox) Settings() Settings {
	base := func(host string) string { return "http://" + host + ":" + s.fill.web }
	return Settings{
		EgressAllow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		EgressPorts: []uint16{s.port},
		DNSServer:   s.names.address,
		SourceURLs:  map[string]string{"github": base(gitHubHost), "openalex": base(openAlexHost)},
		SourceKeys:  map[string]string{"github": gitHubToken, "openalex": openAlexKey},
		CrawlRate:   20,
	}
}

// Environ is Settings as NAME=value pairs, for a service in a process of its own.
func (s Settings) Environ() []string {
	allow := make([]string, len(s.EgressAllow))
	for i, p := range s.EgressAllow {
		allow[i] = p.String()
	}
	ports := make([]string, len(s.EgressPorts))
	for i, p := range s.EgressPorts {
		ports[i] = strconv.Itoa(int(p))
	}
	env := []string{
		"ENRICHD_EGRESS_ALLOW=" + strings.Join(allow, ","),
		"ENRICHD_EGRESS_PORTS=" + strings.Join(ports, ","),
		"ENRICHD_DNS_SERVER=" + s.DNSServer,
		"ENRICHD_CRAWL_RATE=" + strconv.FormatFloat(s.CrawlRate, 'g', -1, 64),
	}
	for name, base := range s.SourceURLs {
		env = append(env, "ENRICHD_SOURCE_"+strings.ToUpper(name)+"_URL="+base)
	}
	for name, key := range s.SourceKeys {
		env = append(env, "ENRICHD_SOURCE_"+strings.ToUpper(name)+"_KEY="+key)
	}
	slices.Sort(env)
	return env
}

// Profiles is the import file: CSV, with links that lead into this sandbox.
func (s *Sandbox) Profiles() []byte { return s.fill.mustRead("testdata/profiles.csv") }

// Hosts lists the sites, sorted.
func (s *Sandbox) Hosts() []string {
	hosts := make([]string, 0, len(s.sites))
	for host := range s.sites {
		hosts = append(hosts, host)
	}
	slices.Sort(hosts)
	return hosts
}

// Package egress is the only way out of the service for everything it fetches
// or posts on someone's word: portfolio links, the sources' APIs, webhooks,
// mail servers. It refuses private and special addresses on the socket itself,
// after DNS, for every address actually dialled, so that neither a rebinding
// name server nor a redirect nor a pooled connection gets around it.
//
// Invariants:
//
//   - Fail closed: an address, port or network that cannot be judged is refused.
//   - No proxy is ever taken from the environment.
//   - Every redirect is judged like the first address.
//   - An attempt ends by its deadline, whatever the other side does, and never
//     holds more than its byte limit in memory.
//   - Nothing is global: every Client, Dialer and Resolver has its own policy.
package egress

import (
	"crypto/tls"
	"crypto/x509"
	"net/netip"
	"slices"
	"time"
)

// Use is what a client is for; it decides schemes, ports, redirects and pooling.
type Use int

// The uses. ForWebhook is the zero value because it is the strictest.
const (
	// ForWebhook posts to https on 443; http and port 80 only with Policy.AllowHTTP. Redirects are answers, never followed.
	ForWebhook Use = iota
	// ForAPI asks the sources' APIs: https on 443; http and port 80 only with Policy.AllowHTTP. At most three redirects.
	ForAPI
	// ForCrawl visits people's pages: http and https on 80 and 443. At most five redirects.
	ForCrawl
)

// Policy is what an operator permits. The zero value is the safe one: public
// addresses, standard ports, the system's resolver.
type Policy struct {
	// Allow lists networks that may be visited although they are private or special.
	Allow []netip.Prefix
	// Ports are permitted besides 80 and 443 of the use.
	Ports []uint16
	// Resolver is the DNS server to ask, "host" or "host:port"; "" is the system's configuration.
	Resolver string
	// UserAgent is sent where a request names none.
	UserAgent string
	// AllowHTTP permits http and port 80 where the use alone does not.
	AllowHTTP bool
	// RootCAs verifies servers; nil is the system's pool.
	RootCAs *x509.CertPool
	// Certificates are shown to servers that ask for one.
	Certificates []tls.Certificate
}

// limits are what a use allows beyond the policy.
type limits struct {
	redirects   int
	idlePerHost int
	idleFor     time.Duration
	gzip        bool
}

func (u Use) limits() limits {
	switch u {
	case ForCrawl:
		return limits{redirects: 5, idlePerHost: 2, idleFor: 10 * time.Second, gzip: true}
	case ForAPI:
		return limits{redirects: 3, idlePerHost: 8, idleFor: 60 * time.Second, gzip: true}
	default:
		return limits{redirects: 0, idlePerHost: 32, idleFor: 60 * time.Second}
	}
}

// http says whether the scheme http is permitted for the use.
func (p Policy) http(u Use) bool { return u == ForCrawl || p.AllowHTTP }

// ports lists all ports permitted for the use.
func (p Policy) ports(u Use) []uint16 {
	ports := append([]uint16{443}, p.Ports...)
	if p.http(u) {
		ports = append(ports, 80)
	}
	return ports
}

func (p Policy) portAllowed(u Use, port uint16) bool {
	return port != 0 && slices.Contains(p.ports(u), port)
}

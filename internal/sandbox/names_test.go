package sandbox_test

import (
	"strings"
	"testing"

	"github.com/miekg/dns"
)

func ask(t *testing.T, server, network, name string, qtype uint16) *dns.Msg {
	t.Helper()
	q := new(dns.Msg).SetQuestion(dns.Fqdn(name), qtype)
	q.SetEdns0(1232, false)
	reply, _, err := (&dns.Client{Net: network}).ExchangeContext(t.Context(), q, server)
	if err != nil {
		t.Fatalf("%s %s over %s: %v", name, dns.TypeToString[qtype], network, err)
	}
	return reply
}

func TestNames(t *testing.T) {
	t.Parallel()
	v := visit(t)
	rows := []struct {
		says, name string
		qtype      uint16
		rcode      int
		answers    string // data of the answers, joined
	}{
		{"sites live on loopback", "ada-lindqvist.test", dns.TypeA, dns.RcodeSuccess, "127.0.0.1"},
		{"so do the APIs", "api.github.test", dns.TypeA, dns.RcodeSuccess, "127.0.0.1"},
		{"names are compared without case", "ADA-Lindqvist.test", dns.TypeA, dns.RcodeSuccess, "127.0.0.1"},
		{"a name without the type asked for is an empty answer", "ada-lindqvist.test", dns.TypeAAAA, dns.RcodeSuccess, ""},
		{"mail goes to the exchangers", "ada-lindqvist.test", dns.TypeMX, dns.RcodeSuccess, "10 mx1.postkontor.test. 20 mx2.postkontor.test."},
		{"which have addresses", "mx2.postkontor.test", dns.TypeA, dns.RcodeSuccess, "127.0.0.1"},
		{"a null MX says that there is no mail", "henrik-solberg.test", dns.TypeMX, dns.RcodeSuccess, "0 ."},
		{"a domain may have an address and no MX", "noor-haddad.test", dns.TypeMX, dns.RcodeSuccess, ""},
		{"a throw-away service takes mail", "mailinator.com", dns.TypeMX, dns.RcodeSuccess, "10 mx1.mailinator.com."},
		{"a name above others exists", "postkontor.test", dns.TypeA, dns.RcodeSuccess, ""},
		{"the rest does not exist", "nobody.test", dns.TypeA, dns.RcodeNameError, ""},
		{"nor does the world", "github.com", dns.TypeA, dns.RcodeNameError, ""},
		{"one domain's server fails", "alborz-clinical.test", dns.TypeMX, dns.RcodeServerFailure, ""},
		{"and fails below it", "mail.alborz-clinical.test", dns.TypeA, dns.RcodeServerFailure, ""},
	}
	for _, network := range []string{"udp", "tcp"} {
		for _, row := range rows {
			t.Run(row.says+" over "+network, func(t *testing.T) {
				reply := ask(t, v.Settings().DNSServer, network, row.name, row.qtype)
				var data []string
				for _, rr := range reply.Answer {
					data = append(data, strings.TrimPrefix(rr.String(), rr.Header().String()))
				}
				if got := strings.Join(data, " "); reply.Rcode != row.rcode || got != row.answers {
					t.Errorf("%s %q", dns.RcodeToString[reply.Rcode], got)
				}
			})
		}
	}
}

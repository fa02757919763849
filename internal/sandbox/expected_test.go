package sandbox_test

import (
	"bytes"
	"encoding/csv"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/enrichd/enrichd/internal/sandbox"
)

func profiles(t *testing.T, v *visitor) (head []string, rows [][]string) {
	t.Helper()
	all, err := csv.NewReader(bytes.NewReader(v.Profiles())).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	return all[0], all[1:]
}

func TestExpectationsAndProfilesAgree(t *testing.T) {
	t.Parallel()
	v := visit(t)
	head, rows := profiles(t, v)
	expected := v.Expected()

	t.Run("there is one expectation for each profile, in the same order", func(t *testing.T) {
		if len(rows) != len(expected) {
			t.Fatalf("%d profiles, %d expectations", len(rows), len(expected))
		}
		for i, row := range rows {
			if row[0] != expected[i].ExternalID {
				t.Errorf("row %d is %s, expected is %s", i, row[0], expected[i].ExternalID)
			}
			if name := expected[i].Fields["name"]; len(name) == 1 && name[0] != row[1] {
				t.Errorf("%s is called %s here and %s there", row[0], row[1], name[0])
			}
		}
	})
	t.Run("each run has room for one more", func(t *testing.T) {
		runs := map[int]int{}
		for _, e := range expected {
			runs[e.Run]++
		}
		if len(runs) != 2 || runs[1] == 0 || runs[1] > 9 || runs[2] == 0 || runs[2] > 9 {
			t.Errorf("%v", runs)
		}
	})
	t.Run("links lead to hosts and accounts that are there", func(t *testing.T) {
		links := slices.Index(head, "links")
		for _, row := range rows {
			for link := range strings.SplitSeq(row[links], ";") {
				u, err := url.Parse(link)
				switch {
				case link == "":
				case err != nil:
					t.Error(err)
				case u.Host == "github.com":
					if r := v.api(t, "github", "/users"+u.Path); r.StatusCode == http.StatusNotFound {
						t.Errorf("%s: %s", link, r.Status)
					}
				case u.Host == "orcid.org":
					if r := v.api(t, "openalex", "/authors/orcid:"+u.Path[1:]); r.StatusCode != http.StatusOK {
						t.Errorf("%s: %s", link, r.Status)
					}
				case u.Port() != v.port || !slices.Contains(v.Hosts(), u.Hostname()):
					t.Errorf("%s leads out of the sandbox", link)
				}
			}
		}
	})
	t.Run("a profile with a role brief is scored by it, and no other", func(t *testing.T) {
		title := slices.Index(head, "roleBrief.title")
		for i, e := range expected {
			if basis := map[bool]string{true: "ROLE", false: "IDENTITY"}[rows[i][title] != ""]; e.ScoreBasis != "" && e.ScoreBasis != basis {
				t.Errorf("%s: %s", e.ExternalID, e.ScoreBasis)
			}
		}
	})
	t.Run("whoever is found has facts, and nobody else has", func(t *testing.T) {
		for _, e := range expected {
			found := e.Outcome == "ENRICHED" || e.Outcome == "PARTIAL"
			if found != (e.MinFacts > 0) || found != (e.ScoreBasis != "") || (e.Outcome == "PARTIAL") != (len(e.Missing) > 0) {
				t.Errorf("%+v", e)
			}
			values := len(e.Emails)
			for _, list := range e.Fields {
				values += len(list)
			}
			if e.MinFacts < values {
				t.Errorf("%s: at least %d facts, of which %d are named", e.ExternalID, e.MinFacts, values)
			}
		}
	})
	t.Run("an address has the status that its domain gives it", func(t *testing.T) {
		for _, e := range expected {
			for _, m := range e.Emails {
				_, domain, _ := strings.Cut(m.Address, "@")
				reply := ask(t, v.Settings().DNSServer, "udp", domain, dns.TypeMX)
				null := len(reply.Answer) == 1 && reply.Answer[0].(*dns.MX).Mx == "."
				switch {
				case (reply.Rcode == dns.RcodeServerFailure) != (m.Status == "UNKNOWN"), null != (m.Status == "INVALID"), reply.Rcode == dns.RcodeNameError:
					t.Errorf("%s is %s; DNS says %s, null MX %v", m.Address, m.Status, dns.RcodeToString[reply.Rcode], null)
				}
			}
		}
	})
}

// perfect is what a run would bring back that does exactly what is expected.
func perfect(v *visitor) map[string]sandbox.Result {
	results := map[string]sandbox.Result{}
	for _, e := range v.Expected() {
		r := sandbox.Result{Outcome: e.Outcome, Missing: e.Missing, ScoreBasis: e.ScoreBasis, MatchScore: e.MinScore, VerifiedLinks: e.VerifiedLinks}
		for _, m := range e.Emails {
			r.Emails = append(r.Emails, sandbox.ResultEmail(m))
		}
		for field, values := range e.Fields {
			for _, value := range values {
				r.Facts = append(r.Facts, sandbox.ResultFact{Name: field, Value: value, Sources: e.Sources})
			}
		}
		for len(r.Facts) < e.MinFacts {
			r.Facts = append(r.Facts, sandbox.ResultFact{Name: "fitPoints", Value: "something", Sources: e.Sources})
		}
		results[e.ExternalID] = r
	}
	return results
}

func TestJudge(t *testing.T) {
	t.Parallel()
	v := visit(t)

	t.Run("finds nothing wrong with what is expected", func(t *testing.T) {
		if problems := v.Judge(perfect(v)); len(problems) > 0 {
			t.Error(strings.Join(problems, "\n"))
		}
	})
	for _, row := range []struct {
		sees, who, says string
		change          func(*sandbox.Result)
	}{
		{"another outcome", "ada-lindqvist", "outcome PARTIAL", func(r *sandbox.Result) { r.Outcome = "PARTIAL" }},
		{"a source wrongly missing", "oskar-wiklund", "missing [site]", func(r *sandbox.Result) { r.Missing = []string{"site"} }},
		{"a score out of bounds", "mateo-ibarra", "score 99", func(r *sandbox.Result) { r.MatchScore = 99 }},
		{"another status", "henrik-solberg", "is VALID instead of INVALID", func(r *sandbox.Result) { r.Emails[0].Status = "VALID" }},
		{"an address too many", "freja-dahl", "must not be returned", func(r *sandbox.Result) {
			r.Emails = []sandbox.ResultEmail{{Address: "freja@freja-dahl.test", Status: "VALID"}}
		}},
		{"a missing value", "noor-haddad", "lacks", func(r *sandbox.Result) { r.Facts = r.Facts[1:] }},
		{"a fact of the stranger", "jonas-keller", "must not be there", func(r *sandbox.Result) {
			r.Facts = append(r.Facts, sandbox.ResultFact{Name: "location", Value: "Toronto, Canada", Sources: []string{"site"}})
		}},
		{"evidence from where there was none", "jonas-keller", "rests on github", func(r *sandbox.Result) {
			r.Facts = append(r.Facts, sandbox.ResultFact{Name: "skills", Value: "Go", Sources: []string{"github"}})
		}},
		{"a value without evidence", "ada-lindqvist", "without evidence", func(r *sandbox.Result) {
			r.Facts = append(r.Facts, sandbox.ResultFact{Name: "skills", Value: "Zig"})
		}},
		{"a value of somebody else of the batch", "yuki-tanaka", "belongs to ada-lindqvist", func(r *sandbox.Result) {
			r.Facts = append(r.Facts, sandbox.ResultFact{Name: "emails", Value: "ada@ada-lindqvist.test", Sources: []string{"site"}})
		}},
		{"facts about nobody", "bartholomew-quill", "about somebody else", func(r *sandbox.Result) {
			r.Facts = append(r.Facts, sandbox.ResultFact{Name: "skills", Value: "Binding", Sources: []string{"site"}})
		}},
		{"a link that is not proven", "ada-lindqvist", "not marked as verified", func(r *sandbox.Result) { r.VerifiedLinks = nil }},
	} {
		t.Run("sees "+row.sees, func(t *testing.T) {
			results := perfect(v)
			changed := results[row.who]
			row.change(&changed)
			results[row.who] = changed
			if problems := v.Judge(results); len(problems) == 0 || !slices.ContainsFunc(problems, func(p string) bool { return strings.HasPrefix(p, row.who+": ") && strings.Contains(p, row.says) }) {
				t.Errorf("%q", problems)
			}
		})
	}
	t.Run("sees that robots.txt was not obeyed", func(t *testing.T) {
		v := visit(t)
		v.get(t, "oskar-wiklund.test", "/robots.txt")
		v.get(t, "ada-lindqvist.test", "/about")
		if problems := v.Judge(perfect(v)); len(problems) > 0 {
			t.Error(problems)
		}
		v.get(t, "oskar-wiklund.test", "/")
		v.get(t, "ada-lindqvist.test", "/drafts/lidar")
		if problems := v.Judge(perfect(v)); len(problems) != 2 {
			t.Errorf("%q", problems)
		}
	})
	t.Run("misses who is not there", func(t *testing.T) {
		if problems := v.Judge(nil); len(problems) != len(v.Expected()) {
			t.Errorf("%q", problems)
		}
	})
}

func TestSettings(t *testing.T) {
	t.Parallel()
	v := visit(t)
	env := v.Settings().Environ()
	for _, want := range []string{"ENRICHD_EGRESS_ALLOW=127.0.0.0/8", "ENRICHD_EGRESS_PORTS=" + v.port, "ENRICHD_SOURCE_GITHUB_URL=http://api.github.test:" + v.port} {
		if !slices.Contains(env, want) {
			t.Errorf("no %s in %v", want, env)
		}
	}
	if _, _, err := net.SplitHostPort(v.Settings().DNSServer); err != nil {
		t.Error(err)
	}
}

package enrichment

import (
	"bytes"
	"encoding/hex"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/uptrace/bun"
	"golang.org/x/net/publicsuffix"

	"github.com/enrichd/enrichd/enrichment/email"
	"github.com/enrichd/enrichd/enrichment/extract"
	"github.com/enrichd/enrichd/enrichment/pipeline"
	"github.com/enrichd/enrichd/internal/fault"
	"github.com/enrichd/enrichd/internal/page"
	"github.com/enrichd/enrichd/internal/seal"
)

// Suppression is a standing refusal to process one person. Identity is kept
// only as a keyed digest of one identifier; a person has one row for each.
type Suppression struct {
	bun.BaseModel `bun:"table:suppressions,alias:s"`

	ID        string    `bun:"id,pk"`
	CompanyID string    `bun:"company_id"`
	Digest    []byte    `bun:"digest"`
	Reason    string    `bun:"reason"`
	Erased    bool      `bun:"erased"`
	CreatedAt time.Time `bun:"created_at,nullzero"`
}

// IsNode marks Suppression as a GraphQL Node.
func (*Suppression) IsNode() {}

// Hex is the digest as callers see it.
func (s *Suppression) Hex() string { return hex.EncodeToString(s.Digest) }

// SuppressionEdge is one suppression and its place in the list.
type SuppressionEdge struct{ page.Edge[*Suppression] }

// SuppressionConnection is one page of suppressions, newest first.
type SuppressionConnection struct {
	page.Connection[SuppressionEdge, *Suppression]
}

// PersonSuppressed refuses to hold data about a person who was erased.
type PersonSuppressed struct {
	fault.Head
	SuppressedAt time.Time
}

// Code is PERSON_SUPPRESSED.
func (PersonSuppressed) Code() fault.Code { return fault.CodePersonSuppressed }

// digester makes the keyed digests by which an objection finds a person. They
// differ from company to company, and tell nothing without the server's key.
type digester struct {
	box     *seal.Box
	company string
	// strict leaves out what several people may share, even where an objection can name it: for what one person's objection extends to.
	strict bool
	out    [][]byte
}

func (d *digester) add(kind string, parts ...string) {
	sum := d.box.Digest("person", []byte(d.company+"\n"+kind+"\n"+strings.Join(parts, "\n")))
	if !slices.ContainsFunc(d.out, func(b []byte) bool { return bytes.Equal(b, sum) }) {
		d.out = append(d.out, sum)
	}
}

// identified adds what names a person by itself (an address, an account, a home
// page below a site) and, with the name, what many people share: a site's front
// page, a deep link, the domain of an employer's mail. A name alone never
// counts. A shared mailbox counts by itself only when an objection names it.
func (d *digester) identified(name string, ids []pipeline.Identifier) {
	name = nameKey(name)
	with := func(kind, value string) {
		if name != "" && value != "" {
			d.add("name+"+kind, name, value)
		}
	}
	for _, id := range ids {
		switch id.Kind {
		case "email":
			a, err := email.Parse(id.Value)
			if err != nil {
				continue
			}
			if a.Shared() {
				with("email", addressKey(a))
			}
			if !a.Shared() || !d.strict {
				d.add("email", addressKey(a))
			}
			if !a.Public() {
				with("domain", domainKey(a.Domain))
			}
		case "website":
			u, err := url.Parse(id.Value)
			if err != nil {
				continue
			}
			if strings.Trim(u.Path, "/") != "" {
				d.add("website", id.Value)
			}
			with("domain", domainKey(u.Hostname()))
		case "link":
			with("link", id.Value)
		default:
			d.add(id.Kind, id.Value)
		}
	}
}

// addressKey ignores case before the @ as well: a person who objects is not to be missed for a capital.
func addressKey(a email.Address) string { return strings.ToLower(a.Local) + "@" + a.Domain }

// domainKey is the part of a host that one holder registered; on hosts that many share, the whole host.
func domainKey(host string) string {
	if d, err := publicsuffix.EffectiveTLDPlusOne(strings.ToLower(host)); err == nil {
		return d
	}
	return strings.ToLower(host)
}

// nameKey compares names whatever their case, accents and order.
func nameKey(name string) string {
	words := strings.Fields(pipeline.Fold(name))
	slices.Sort(words)
	return strings.Join(words, " ")
}

// personDigests are the digests of an imported profile, its external id
// included: by that even a profile without any link or address can be named.
func personDigests(box *seal.Box, companyID, externalID, name string, ids []pipeline.Identifier) [][]byte {
	d := digester{box: box, company: companyID}
	d.add("external", externalID)
	d.identified(name, ids)
	return d.out
}

// own are the digests that belong to this one person: what an objection to the profile extends to.
func (p *Profile) own(box *seal.Box) [][]byte {
	d := digester{box: box, company: p.CompanyID, strict: true}
	d.add("external", p.ExternalID)
	d.identified(p.Name, identifiers(p.Links, p.Emails))
	return d.out
}

// foundDigests are the digests of identifiers met on the way.
func foundDigests(box *seal.Box, companyID, name string, ids []pipeline.Identifier) [][]byte {
	d := digester{box: box, company: companyID, out: [][]byte{}}
	d.identified(name, ids)
	return d.out
}

// identifiers gives the canonical identifiers of links and addresses, without repeats.
func identifiers(links, emails []string) []pipeline.Identifier {
	var ids []pipeline.Identifier
	seen := map[pipeline.Identifier]bool{}
	add := func(id pipeline.Identifier) {
		if !seen[id] {
			seen[id] = true
			ids = append(ids, id)
		}
	}
	for _, e := range emails {
		add(pipeline.Identifier{Kind: "email", Value: strings.TrimSpace(e)})
	}
	for _, l := range links {
		if id, ok := extract.Identify(l); ok {
			add(id)
		}
	}
	return ids
}

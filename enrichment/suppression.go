package enrichment

import (
	"strings"
	"time"

	"github.com/uptrace/bun"

	"github.com/enrichd/enrichd/enrichment/extract"
	"github.com/enrichd/enrichd/enrichment/pipeline"
	"github.com/enrichd/enrichd/internal/seal"
)

// Suppression is a standing refusal to process one person. Identity is kept
// only as a keyed digest.
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

// personDigests are the keyed digests of every identifier by which an
// objection can name a person: addresses, accounts and pages. A shared page
// identifies nobody, so only identifiers of a known kind count, and a name
// alone never does.
func personDigests(box *seal.Box, companyID string, ids []pipeline.Identifier) [][]byte {
	digests := make([][]byte, 0, len(ids))
	for _, id := range ids {
		if id.Kind == "link" {
			continue
		}
		digests = append(digests, box.Digest("person", []byte(companyID+"\n"+id.Kind+"\n"+id.Value)))
	}
	return digests
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
		add(pipeline.Identifier{Kind: "email", Value: strings.ToLower(strings.TrimSpace(e))})
	}
	for _, l := range links {
		if id, ok := extract.Identify(l); ok {
			add(id)
		}
	}
	return ids
}

package extract

import (
	"time"

	"github.com/enrichd/enrichd/enrichment/pipeline"
)

// Document is one answer of a site, as fetched.
type Document struct {
	URL         string            // after redirects
	ContentType string            // as the header has it; "" is guessed from the body
	Header      map[string]string // lower-case names; x-robots-tag and tdm-reservation are read
	Body        []byte            // what is beyond MaxBytes is not read
}

// Facts are what one document says, and about whom.
type Facts struct {
	URL   string
	Title string
	// Kind is Person when the document is about one person, Organisation or
	// Bot when it says so, and Unclear when it is about several people or about
	// nobody that could be made out: then it gives links, and Person is empty.
	Kind   pipeline.RecordKind
	Person PersonFacts
	// Bio is the document's main text, at most 2,000 characters: for skill terms and snippets, not a fact.
	Bio string
	// Links are all links to other pages, in document order, each address once.
	Links []Link
	// NoContact quotes the notice that recruiters are unwelcome; "" is none.
	NoContact string
	// OptOut names the rule by which the document refuses to be used
	// ("noindex", "noai", "tdm-reservation"); then there are no facts at all.
	OptOut string
	// Truncated says that the document was larger or deeper than what is read.
	Truncated bool
}

// Value is one statement and the text that it rests on.
type Value struct {
	Text      string
	Snippet   string    // at most 300 characters, as the document has it
	Extractor string    // with its version: "jsonld/1"
	HeldAt    time.Time // when the document says it holds; zero is unknown
}

// PersonFacts is what a document says about its main person. Lists are in
// order of trust: JSON-LD, microformats, microdata, RDFa, JSON Resume, Open
// Graph, text; what an earlier one says is not repeated.
type PersonFacts struct {
	Names     []Value
	Headlines []Value
	Locations []Value
	Companies []Value // where the person works now
	Roles     []Value // as what, now
	Skills    []Value
	Emails    []Value // Text is the address, its domain in lower case
	Links     []Value // Text is the address of a page or account that is named as the person's own
	Employers []Employer
	Positions []Position
	BornYear  int
	DiedYear  int
}

// Employer is an organisation that the person is tied to.
type Employer struct {
	pipeline.Employer
	Value
}

// Position is one employment.
type Position struct {
	pipeline.Position
	Value
}

// Link is a link on the page.
type Link struct {
	URL  string // absolute, without fragment
	Text string // of the anchor, or its label or image text
	Rel  []string
	// SameSite: on the site of the page, as SameSite has it.
	SameSite bool
	// Rank orders links of the same site for crawling: 0 is of no use, more is better.
	Rank int
}

// Me tells whether the link claims to lead to the same person (rel="me").
func (l Link) Me() bool { return l.hasRel("me") }

func (l Link) hasRel(name string) bool {
	for _, r := range l.Rel {
		if r == name {
			return true
		}
	}
	return false
}

// Provenance is where and when a document was fetched, and what its source's terms allow.
type Provenance struct {
	Source          string    // the source's configuration name
	Hash            string    // SHA-256 of the body, hex
	FetchedAt       time.Time // the evidence's ObservedAt
	Licence         string    // "" when unstated
	ContactEligible bool      // before the document's own wishes
}

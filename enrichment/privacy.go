package enrichment

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"github.com/enrichd/enrichd/enrichment/email"
	"github.com/enrichd/enrichd/internal/access"
	"github.com/enrichd/enrichd/internal/fault"
	"github.com/enrichd/enrichd/internal/idem"
	"github.com/enrichd/enrichd/internal/ident"
	"github.com/enrichd/enrichd/internal/page"
	"github.com/enrichd/enrichd/internal/pg"
)

// PersonRef names one person, by exactly one of its fields.
type PersonRef struct {
	ProfileID  *string `json:"profileId,omitempty"`
	ExternalID *string `json:"externalId,omitempty"`
	Email      *string `json:"email,omitempty"`
}

func (r PersonRef) check() error {
	n := 0
	for field, s := range map[string]*string{"profileId": r.ProfileID, "externalId": r.ExternalID, "email": r.Email} {
		if s == nil {
			continue
		}
		n++
		if *s == "" {
			return fault.Invalid("person."+field, "must not be empty")
		}
		if err := fault.Characters("person."+field, *s, maxLine); err != nil {
			return err
		}
	}
	if n != 1 {
		return fault.Invalid("person", "must be named by exactly one of profileId, externalId and email")
	}
	return nil
}

// person is everything by which one person is known to a company.
type person struct {
	digests  [][]byte
	profiles []*Profile
}

// person finds who is meant: the identifier named, and every profile that has
// it, whether it was imported with it or a run met it, with all of their
// identifiers. An unknown profileId is a NotFound; an address or external id
// that no profile has still names somebody.
func (s *Service) person(ctx context.Context, db bun.IDB, companyID string, r PersonRef) (*person, error) {
	d := digester{box: s.Box, company: companyID}
	switch {
	case r.ProfileID != nil:
		p, err := s.Store.profile(ctx, db, companyID, *r.ProfileID)
		if err != nil {
			return nil, err
		}
		if p == nil {
			return nil, fault.NotFound{
				Head: fault.Head{Message: "no such profile", Field: []string{"person", "profileId"}}, Type: "Profile", ID: *r.ProfileID,
			}
		}
		d.out = p.own(s.Box)
	case r.ExternalID != nil:
		d.add("external", strings.TrimSpace(*r.ExternalID))
	default:
		a, err := email.Parse(strings.TrimSpace(*r.Email))
		if err != nil {
			return nil, fault.Invalid("person.email", "is not an e-mail address")
		}
		d.add("email", addressKey(a))
	}
	profiles, found, err := s.Store.holders(ctx, db, companyID, d.out)
	if err != nil {
		return nil, err
	}
	all := map[string][]byte{}
	for _, digest := range slices.Concat(d.out, found) {
		all[string(digest)] = digest
	}
	for _, p := range profiles {
		for _, digest := range p.own(s.Box) {
			all[string(digest)] = digest
		}
	}
	who := &person{profiles: profiles}
	for _, k := range slices.Sorted(maps.Keys(all)) {
		who.digests = append(who.digests, all[k])
	}
	return who, nil
}

func (p *person) ids() []string {
	ids := make([]string, len(p.profiles))
	for i, profile := range p.profiles {
		ids[i] = profile.ID
	}
	return ids
}

// Suppress sees to it that the person is never enriched again for this company:
// digests of all known identifiers are kept, profiles of runs that go on settle
// SUPPRESSED at once, and what was found is not shown any more. It returns since
// when, and how many profiles it concerns. Repeating it changes nothing.
func (s *Service) Suppress(ctx context.Context, ref PersonRef, reason string) (at time.Time, affected int, err error) {
	if err := firstOf(ref.check(), checkReason(reason)); err != nil {
		return at, 0, err
	}
	company := access.From(ctx).Company.ID
	var touched []string
	err = pg.InTx(ctx, s.DB, func(ctx context.Context, tx bun.Tx) error {
		who, err := s.person(ctx, tx, company, ref)
		if err != nil {
			return err
		}
		if err := s.mustNotName(who, ref, reason); err != nil {
			return err
		}
		affected = len(who.profiles)
		at, touched, err = s.suppress(ctx, tx, company, who, reason, false)
		return err
	})
	if err == nil {
		s.Wake.Publish(touched...)
	}
	return at, affected, err
}

func checkReason(reason string) error {
	if strings.TrimSpace(reason) == "" {
		return fault.Invalid("reason", "is needed")
	}
	return fault.Characters("reason", reason, maxReason)
}

// mustNotName refuses a reason that would keep what is to be forgotten.
func (s *Service) mustNotName(who *person, ref PersonRef, reason string) error {
	for _, secret := range who.names(ref) {
		if strings.Contains(strings.ToLower(reason), secret) {
			return fault.Invalid("reason", "is kept for good, so it must not name the person")
		}
	}
	return nil
}

// names are the texts in lower case that tell who the person is.
func (p *person) names(ref PersonRef) []string {
	set := map[string]bool{}
	add := func(list ...string) {
		for _, s := range list {
			if s = strings.ToLower(strings.TrimSpace(s)); len(s) > 2 {
				set[s] = true
			}
		}
	}
	add(text(ref.ExternalID), text(ref.Email))
	for _, profile := range p.profiles {
		add(profile.Name, profile.ExternalID)
		add(profile.Emails...)
		add(profile.Links...)
	}
	return slices.Sorted(maps.Keys(set))
}

// suppress keeps the objection and ends what is going on about the person. It
// returns since when the person is suppressed, and which runs changed.
func (s *Service) suppress(ctx context.Context, tx bun.Tx, company string, who *person, reason string, erased bool) (at time.Time, touched []string, err error) {
	rows := make([]*Suppression, len(who.digests))
	for i, d := range who.digests {
		rows[i] = &Suppression{ID: ident.New("sup"), CompanyID: company, Digest: d, Reason: reason, Erased: erased, CreatedAt: now()}
	}
	if at, err = s.Store.insertSuppressions(ctx, tx, rows); err != nil {
		return at, nil, err
	}
	open, err := s.Store.openRuns(ctx, tx, company, who.ids())
	if err != nil || len(open) == 0 {
		return at, nil, err
	}
	books, err := s.open(ctx, tx, open)
	if err != nil {
		return at, nil, err
	}
	for _, id := range slices.Sorted(maps.Keys(books)) {
		b := books[id]
		var stopped []*RunProfile
		for _, p := range who.profiles {
			if m := b.member(p.ID); m != nil && m.Outcome.Open() {
				b.finish(m, now(), Finish{Outcome: OutcomeSuppressed})
				stopped = append(stopped, m)
			}
		}
		if err := s.stopJobs(ctx, tx, id, stopped); err != nil {
			return at, nil, err
		}
	}
	touched, err = s.commit(ctx, tx, books)
	return at, touched, err
}

// ErasedTopic is what a Waker is told after an erasure: whoever holds pages or results in memory drops them.
const ErasedTopic = "erased"

// eraseOperation scopes idempotency keys.
const eraseOperation = "erasePerson"

// Erasure is the receipt of an erasure. It tells nothing about whom.
type Erasure struct {
	bun.BaseModel `bun:"table:erasures,alias:er"`

	ID        string    `bun:"id,pk"`
	CompanyID string    `bun:"company_id"`
	APIKeyID  string    `bun:"api_key_id"`
	Reason    string    `bun:"reason"`
	Profiles  int       `bun:"profiles"`
	CreatedAt time.Time `bun:"created_at"`
}

// Erase suppresses the person and deletes what is held: profiles, results and
// evidence in all of the company's runs, webhook bodies and what receivers
// answered, finished jobs. Digests and the receipt stay; the ledger keeps
// amounts and opaque ids. The company's row is locked meanwhile, so that no import slips in between.
func (s *Service) Erase(ctx context.Context, key string, ref PersonRef, reason string) (*Erasure, error) {
	if err := firstOf(idem.CheckKey("idempotencyKey", key), ref.check(), checkReason(reason)); err != nil {
		return nil, err
	}
	p := access.From(ctx)
	receipt := &Erasure{ID: ident.New("ers"), CompanyID: p.Company.ID, APIKeyID: p.Key.ID, Reason: reason, CreatedAt: now()}
	var touched []string
	replayed := false
	err := pg.InTx(ctx, s.DB, func(ctx context.Context, tx bun.Tx) error {
		if err := s.Store.lockCompany(ctx, tx, p.Company.ID); err != nil {
			return err
		}
		prior, err := idem.Take(ctx, tx, idem.Claim{
			CompanyID: p.Company.ID, Operation: eraseOperation, Key: key, ResourceID: receipt.ID,
			// Keyed, because an unkeyed digest of an address can be guessed.
			Fingerprint: s.Box.Digest("erase", idem.Fingerprint(eraseOperation, []any{ref, reason})),
		})
		if err != nil {
			return err
		}
		if replayed = prior != ""; replayed {
			receipt, err = s.Store.erasure(ctx, tx, prior)
			return err
		}
		touched, err = s.erase(ctx, tx, receipt, ref)
		return err
	})
	if err != nil {
		return nil, err
	}
	if replayed {
		s.Metrics.Replayed(eraseOperation)
	}
	s.Wake.Publish(append(touched, ErasedTopic)...)
	return receipt, nil
}

func (s *Service) erase(ctx context.Context, tx bun.Tx, receipt *Erasure, ref PersonRef) (touched []string, err error) {
	company := receipt.CompanyID
	who, err := s.person(ctx, tx, company, ref)
	if err != nil {
		return nil, err
	}
	if err := s.mustNotName(who, ref, receipt.Reason); err != nil {
		return nil, err
	}
	receipt.Profiles = len(who.profiles)
	if _, touched, err = s.suppress(ctx, tx, company, who, receipt.Reason, true); err != nil {
		return nil, err
	}
	runs, err := s.Store.eraseProfiles(ctx, tx, company, who.ids(), who.names(ref))
	if err != nil {
		return nil, err
	}
	if err := s.Dispatch.Erase(ctx, tx, company, runs); err != nil {
		return nil, err
	}
	return touched, s.Store.insertErasure(ctx, tx, receipt)
}

// Suppressions lists the company's objections, newest first.
func (s *Service) Suppressions(ctx context.Context, a page.Args) (*SuppressionConnection, error) {
	before, err := a.Position()
	if err := firstOf(err, a.Check()); err != nil {
		return nil, err
	}
	rows, err := s.Store.suppressions(ctx, s.DB, access.From(ctx).Company.ID, before, a.First+1)
	if err != nil {
		return nil, err
	}
	return &SuppressionConnection{page.Make(rows, a, func(s *Suppression) string { return s.ID },
		func(e page.Edge[*Suppression]) SuppressionEdge { return SuppressionEdge{e} })}, nil
}

// Suppression returns one of the company's objections, or nil.
func (s *Service) Suppression(ctx context.Context, id string) (*Suppression, error) {
	return s.Store.suppression(ctx, s.DB, access.From(ctx).Company.ID, id)
}

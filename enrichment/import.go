package enrichment

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"github.com/uptrace/bun"

	"github.com/enrichd/enrichd/dispatch"
	"github.com/enrichd/enrichd/internal/access"
	"github.com/enrichd/enrichd/internal/fault"
	"github.com/enrichd/enrichd/internal/idem"
	"github.com/enrichd/enrichd/internal/ident"
	"github.com/enrichd/enrichd/internal/pg"
)

const (
	// MaxRows is how many rows one import may hold.
	MaxRows     = 10_000
	importBatch = 500
)

// ImportRow is one row of an import: an input, or why it could not be read.
type ImportRow struct {
	Input ProfileInput
	Err   error
}

// Import is the record of one import, and with it the answer.
type Import struct {
	bun.BaseModel `bun:"table:imports,alias:i"`

	ID        string `bun:"id,pk"`
	CompanyID string `bun:"company_id"`
	Created   int    `bun:"created"`
	Updated   int    `bun:"updated"`
	Unchanged int    `bun:"unchanged"`
	Refusals  int    `bun:"refused"`

	// Profiles are in the order of the rows; refused rows are left out.
	Profiles []*Profile `bun:"-"`
	// Refused has one entry per problem of a refused row; its field begins with the row's index, from 0.
	Refused []fault.User `bun:"-"`
}

// importOperation scopes idempotency keys.
const importOperation = "importProfiles"

// Import adds or updates profiles, matched on the caller's external id. Rows
// that fail do not stop the rest. The key makes a repeat harmless: it answers as the first call did.
func (s *Service) Import(ctx context.Context, key string, rows []ImportRow) (*Import, error) {
	company := access.From(ctx).Company.ID
	if err := idem.CheckKey("idempotencyKey", key); err != nil {
		return nil, err
	}
	if len(rows) > MaxRows {
		return nil, fault.LimitExceeded{
			Head:  fault.Head{Message: fmt.Sprintf("at most %d rows an import, not %d", MaxRows, len(rows)), Field: []string{"source"}},
			Limit: MaxRows, Actual: len(rows),
		}
	}
	im := &Import{ID: ident.New("imp"), CompanyID: company}
	profiles, rowOf := s.accept(im, rows)
	replayed := false
	err := pg.InTx(ctx, s.DB, func(ctx context.Context, tx bun.Tx) error {
		if err := s.Store.holdCompany(ctx, tx, company); err != nil {
			return err
		}
		prior, err := idem.Take(ctx, tx, idem.Claim{
			CompanyID: company, Operation: importOperation, Key: key,
			Fingerprint: idem.Fingerprint(importOperation, fingerprints(profiles)), ResourceID: im.ID,
		})
		if err != nil {
			return err
		}
		replayed = prior != ""
		wanted, err := s.dropErased(ctx, tx, im, profiles, rowOf)
		if err != nil {
			return err
		}
		if err := s.store(ctx, tx, im, wanted); err != nil {
			return err
		}
		if prior == "" {
			if err := s.Store.insertImport(ctx, tx, im); err != nil {
				return err
			}
			return dispatch.Announce(ctx, tx, im.news(access.From(ctx).Key.Test))
		}
		first, err := s.Store.importOf(ctx, tx, prior)
		if err == nil {
			im.ID, im.Created, im.Updated, im.Unchanged = first.ID, first.Created, first.Updated, first.Unchanged
		}
		return err
	})
	if err == nil {
		s.Wake.Publish(dispatch.CompanyTopic(company))
		if replayed {
			s.Metrics.Replayed(importOperation)
		}
	}
	return im, err
}

// accept makes profiles of the good rows and keeps the problems of the others. rowOf tells the row of an external id.
func (s *Service) accept(im *Import, rows []ImportRow) (profiles []*Profile, rowOf map[string]int) {
	seen := map[string]int{}
	for i, row := range rows {
		at := strconv.Itoa(i)
		if row.Err != nil {
			im.refuse(at, row.Err)
			continue
		}
		in := row.Input
		in.tidy()
		problems := in.check(at)
		if first, again := seen[in.ExternalID]; again && in.ExternalID != "" {
			problems = append(problems, fault.Invalid(at+".externalId", "repeats row %d", first))
		}
		if len(problems) > 0 {
			im.Refused = append(im.Refused, problems...)
			im.Refusals++
			continue
		}
		seen[in.ExternalID] = i
		profiles = append(profiles, s.profileOf(im.CompanyID, in))
	}
	return profiles, seen
}

// dropErased refuses the rows about people who were erased: nothing may be held about them again.
func (s *Service) dropErased(ctx context.Context, tx bun.Tx, im *Import, profiles []*Profile, rowOf map[string]int) ([]*Profile, error) {
	var digests [][]byte
	for _, p := range profiles {
		digests = append(digests, p.PersonDigests...)
	}
	if len(digests) == 0 {
		return profiles, nil
	}
	erased, err := s.Store.erasedAmong(ctx, tx, im.CompanyID, digests)
	if err != nil || len(erased) == 0 {
		return profiles, err
	}
	return slices.DeleteFunc(slices.Clone(profiles), func(p *Profile) bool {
		for _, d := range p.PersonDigests {
			if at, gone := erased[string(d)]; gone {
				im.refuse(strconv.Itoa(rowOf[p.ExternalID]), PersonSuppressed{
					Head:         fault.Head{Message: "this person was erased and must not be held again", Field: []string{strconv.Itoa(rowOf[p.ExternalID])}},
					SuppressedAt: at,
				})
				return true
			}
		}
		return false
	}), nil
}

func (im *Import) refuse(at string, err error) {
	im.Refusals++
	users, rest := fault.Users(err)
	if rest != nil {
		users = append(users, fault.Invalid(at, "cannot be read: %v", rest))
	}
	im.Refused = append(im.Refused, users...)
}

func (s *Service) profileOf(company string, in ProfileInput) *Profile {
	b, err := json.Marshal(in)
	if err != nil {
		panic(fmt.Sprintf("marshal a checked profile: %v", err)) // its metadata is valid JSON
	}
	sum := sha256.Sum256(b)
	return &Profile{
		ID: ident.NewProfile(), CompanyID: company, ExternalID: in.ExternalID, Name: in.Name,
		Headline: in.Headline, Location: in.Location, CurrentCompany: in.CurrentCompany, CurrentRole: in.CurrentRole,
		Skills: in.Skills, Emails: in.Emails, Links: in.Links, RoleBrief: in.RoleBrief, Metadata: in.Metadata,
		Fingerprint: sum[:], PersonDigests: personDigests(s.Box, company, in.ExternalID, in.Name, identifiers(in.Links, in.Emails)),
	}
}

func (s *Service) store(ctx context.Context, tx bun.Tx, im *Import, profiles []*Profile) error {
	im.Profiles = []*Profile{}
	for start := 0; start < len(profiles); start += importBatch {
		batch := profiles[start:min(start+importBatch, len(profiles))]
		stored, created, changed, err := s.Store.upsert(ctx, tx, batch)
		if err != nil {
			return err
		}
		for _, p := range stored {
			switch {
			case created[p.ExternalID]:
				im.Created++
			case changed[p.ExternalID]:
				im.Updated++
			default:
				im.Unchanged++
			}
			im.Profiles = append(im.Profiles, p.masked())
		}
	}
	return nil
}

func fingerprints(profiles []*Profile) [][]byte {
	f := make([][]byte, len(profiles))
	for i, p := range profiles {
		f[i] = p.Fingerprint
	}
	return f
}

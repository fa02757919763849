package access

import (
	"context"

	"github.com/uptrace/bun"

	"github.com/enrichd/enrichd/internal/fault"
	"github.com/enrichd/enrichd/internal/pg"
)

// For is the principal that acts for a company. A standard key acts for its
// own, whatever companyID says. A key that manages companies must name one of
// them: fault.InvalidInput about companyId when it names none, fault.Forbidden when it does not manage it.
func (p *Principal) For(companyID string) (*Principal, error) {
	if !p.Key.Manages {
		return p, nil
	}
	if companyID == "" {
		return nil, fault.Invalid("companyId", "companyId is required for a key that manages several companies")
	}
	for _, c := range p.managed {
		if c.ID == companyID {
			as := *p
			as.Company = *c
			return &as, nil
		}
	}
	return nil, fault.Forbidden{Message: "Access denied to this company"}
}

// Managed lists the companies that the principal's key reaches: its own, or those it manages.
func (p *Principal) Managed() []*Company {
	if !p.Key.Manages {
		own := p.Company
		return []*Company{&own}
	}
	return p.managed
}

// Manage lets a key of an applicant tracking system act for a company, or, with
// on false, no longer; its sockets are closed then, since one may be that company's.
func (s *Service) Manage(ctx context.Context, keyID, companyID string, on bool) error {
	err := pg.InTx(ctx, s.DB, func(ctx context.Context, tx bun.Tx) error {
		k, err := s.Store.lockKey(ctx, tx, "", keyID)
		switch {
		case err != nil:
			return err
		case k == nil:
			return fault.NotFound{Head: fault.Head{Message: "no such key", Field: []string{"id"}}, Type: "ApiKey", ID: keyID}
		case !k.Manages:
			return fault.Conflict{Head: fault.Head{Message: "the key is of one company and manages none", Field: []string{"id"}}, State: "standard"}
		}
		return s.manage(ctx, tx, k, companyID, on)
	})
	if err != nil {
		return err
	}
	if on {
		s.announce(ResumedPrefix + keyID)
	} else {
		s.announce(RevokedPrefix + keyID)
	}
	return nil
}

func (s *Service) manage(ctx context.Context, tx bun.Tx, k *Key, companyID string, on bool) error {
	known, err := s.Store.company(ctx, tx, companyID)
	if err != nil {
		return err
	}
	if known == nil {
		return noCompany("manages", companyID)
	}
	if err := s.Store.setManaged(ctx, tx, k.ID, companyID, on); err != nil {
		return err
	}
	action := "manages"
	if !on {
		action = "manages no longer"
	}
	return s.Store.audit(ctx, tx, k, action, actor(ctx), companyID)
}

package enrichment

import (
	"context"
	"fmt"

	"github.com/uptrace/bun"

	"github.com/enrichd/enrichd/internal/pg"
)

// repeats finds those of the profiles whose newest success of the last days was
// about the profile exactly as it is now, by profile.
func (Store) repeats(ctx context.Context, tx bun.Tx, companyID string, profileIDs []string, days int) (map[string]repeat, error) {
	var rows []repeat
	err := tx.NewRaw(`
		SELECT n.profile_id, n.run_id, n.fields_changed, n.missing
		  FROM profiles AS p
		 CROSS JOIN LATERAL (
				SELECT rp.*
				  FROM run_profiles AS rp
				  JOIN runs AS r ON r.id = rp.run_id AND NOT r.test
				 WHERE rp.profile_id = p.id AND rp.company_id = p.company_id AND rp.outcome IN ('ENRICHED', 'PARTIAL') AND NOT rp.from_store
				 ORDER BY rp.finished_at DESC
				 LIMIT 1) AS n
		 WHERE p.company_id = ? AND p.id IN (?) AND n.fingerprint = p.fingerprint AND n.candidate IS NOT NULL
		   AND n.finished_at > now() - make_interval(days => ?)`, companyID, bun.List(profileIDs), days).Scan(ctx, &rows)
	if err != nil {
		return nil, fmt.Errorf("look for repeats: %w", err)
	}
	found := make(map[string]repeat, len(rows))
	for _, r := range rows {
		found[r.ProfileID] = r
	}
	return found, nil
}

// copyServed gives the members of a run that are served from store what the earlier runs found.
func (Store) copyServed(ctx context.Context, tx bun.Tx, b *book) error {
	if len(b.served) == 0 {
		return nil
	}
	var runs, profiles pg.Texts
	for _, s := range b.served {
		runs, profiles = append(runs, s.RunID), append(profiles, s.ProfileID)
	}
	_, err := tx.Tx.ExecContext(ctx, `
		UPDATE run_profiles AS m
		   SET from_store = true, candidate = o.candidate, fields_changed = o.fields_changed, missing = o.missing,
		       person_digests = o.person_digests, fingerprint = o.fingerprint
		  FROM unnest($2::text[], $3::text[]) AS w (run_id, profile_id)
		  JOIN run_profiles AS o ON o.run_id = w.run_id AND o.profile_id = w.profile_id
		 WHERE m.run_id = $1 AND m.profile_id = w.profile_id`, b.run.ID, runs, profiles)
	if err != nil {
		return fmt.Errorf("serve repeats of run %s from store: %w", b.run.ID, err)
	}
	return nil
}

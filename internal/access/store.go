package access

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/uptrace/bun"
)

// Store holds every SQL statement about companies and keys.
type Store struct{}

// principal reads the key that has one of the digests, with its company and those it manages; nil when there is none.
func (st Store) principal(ctx context.Context, db bun.IDB, digests []peppered) (*Principal, error) {
	var row struct {
		Key           `bun:",extend"`
		CompanyName   string    `bun:"company_name"`
		Plan          string    `bun:"company_plan"`
		RepeatDays    int       `bun:"company_repeat"`
		CompanyLimits *Limits   `bun:"company_limits,type:jsonb"`
		CompanySince  time.Time `bun:"company_since"`
	}
	under := make([][]byte, len(digests))
	for i, d := range digests {
		under[i] = d.digest
	}
	err := db.NewSelect().Model(&row).ColumnExpr("k.*").
		ColumnExpr("co.name AS company_name, co.plan AS company_plan, co.repeat_window_days AS company_repeat").
		ColumnExpr("co.limits AS company_limits, co.created_at AS company_since").
		Join("JOIN companies AS co ON co.id = k.company_id").Where("k.digest IN (?)", bun.List(under)).Limit(1).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	p := &Principal{
		Key: row.Key,
		Company: Company{
			ID: row.CompanyID, Name: row.CompanyName, Plan: row.Plan,
			RepeatWindowDays: row.RepeatDays, Limits: row.CompanyLimits, CreatedAt: row.CompanySince,
		},
	}
	if p.Key.Manages {
		if p.managed, err = st.managed(ctx, db, p.Key.ID); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (Store) managed(ctx context.Context, db bun.IDB, keyID string) ([]*Company, error) {
	companies := []*Company{}
	err := db.NewSelect().Model(&companies).Join("JOIN key_companies AS kc ON kc.company_id = co.id").
		Where("kc.key_id = ?", keyID).OrderExpr("co.created_at, co.id").Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("list the companies that key %s manages: %w", keyID, err)
	}
	return companies, nil
}

func (Store) setManaged(ctx context.Context, db bun.IDB, keyID, companyID string, on bool) (err error) {
	if on {
		_, err = db.NewRaw("INSERT INTO key_companies (key_id, company_id) VALUES (?, ?) ON CONFLICT DO NOTHING", keyID, companyID).Exec(ctx)
	} else {
		_, err = db.NewRaw("DELETE FROM key_companies WHERE key_id = ? AND company_id = ?", keyID, companyID).Exec(ctx)
	}
	if err != nil {
		return fmt.Errorf("change what key %s manages: %w", keyID, err)
	}
	return nil
}

// repepper moves a key's digest to another pepper, unless somebody else has moved it.
func (Store) repepper(ctx context.Context, db bun.IDB, id string, from []byte, to peppered) error {
	_, err := db.NewUpdate().Model((*Key)(nil)).Set("digest = ?", to.digest).Set("pepper = ?", to.version).
		Where("k.id = ? AND k.digest = ?", id, from).Exec(ctx)
	if err != nil {
		return fmt.Errorf("move key %s to pepper %d: %w", id, to.version, err)
	}
	return nil
}

// holding returns those of the keys that hold now.
func (Store) holding(ctx context.Context, db bun.IDB, ids []string) ([]string, error) {
	holding := []string{}
	if len(ids) == 0 {
		return holding, nil
	}
	err := db.NewSelect().Model((*Key)(nil)).Column("id").Where("k.id IN (?)", bun.List(ids)).
		Where("k.revoked_at IS NULL AND k.suspended_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now())").Scan(ctx, &holding)
	if err != nil {
		return nil, fmt.Errorf("look at %d keys: %w", len(ids), err)
	}
	return holding, nil
}

// touch writes a key's last use, unless one was written within the last every.
func (Store) touch(ctx context.Context, db bun.IDB, id string, every time.Duration) error {
	_, err := db.NewUpdate().Model((*Key)(nil)).Set("last_used_at = now()").
		Where("k.id = ? AND (k.last_used_at IS NULL OR k.last_used_at < now() - make_interval(secs => ?))", id, every.Seconds()).Exec(ctx)
	if err != nil {
		return fmt.Errorf("note the use of key %s: %w", id, err)
	}
	return nil
}

func (Store) insertCompany(ctx context.Context, db bun.IDB, c *Company) error {
	if _, err := db.NewInsert().Model(c).Returning("NULL").Exec(ctx); err != nil {
		return fmt.Errorf("insert company: %w", err)
	}
	return nil
}

func (Store) companies(ctx context.Context, db bun.IDB) ([]*Company, error) {
	companies := []*Company{}
	if err := db.NewSelect().Model(&companies).OrderExpr("co.created_at, co.id").Scan(ctx); err != nil {
		return nil, fmt.Errorf("list companies: %w", err)
	}
	return companies, nil
}

func (Store) company(ctx context.Context, db bun.IDB, id string) (*Company, error) {
	c := new(Company)
	err := db.NewSelect().Model(c).Where("co.id = ?", id).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read company %s: %w", id, err)
	}
	return c, nil
}

func (Store) insertKey(ctx context.Context, db bun.IDB, k *Key) error {
	if _, err := db.NewInsert().Model(k).Returning("NULL").Exec(ctx); err != nil {
		return fmt.Errorf("insert key: %w", err)
	}
	return nil
}

func (Store) keys(ctx context.Context, db bun.IDB, companyID string) ([]*Key, error) {
	keys := []*Key{}
	if err := db.NewSelect().Model(&keys).Where("k.company_id = ?", companyID).OrderExpr("k.created_at, k.id").Scan(ctx); err != nil {
		return nil, fmt.Errorf("list keys of %s: %w", companyID, err)
	}
	return keys, nil
}

// lockCompany locks a company's row for the transaction; false when there is none.
func (Store) lockCompany(ctx context.Context, tx bun.Tx, id string) (bool, error) {
	var found string
	err := tx.NewSelect().Model((*Company)(nil)).Column("id").Where("co.id = ?", id).For("NO KEY UPDATE").Scan(ctx, &found)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("lock company %s: %w", id, err)
	}
	return true, nil
}

// liveKeys counts the keys that hold and have the name and mode of k.
func (Store) liveKeys(ctx context.Context, db bun.IDB, k *Key) (int, error) {
	n, err := db.NewSelect().Model((*Key)(nil)).
		Where("k.company_id = ? AND k.label = ? AND k.test = ?", k.CompanyID, k.Label, k.Test).
		Where("k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now())").Count(ctx)
	if err != nil {
		return 0, fmt.Errorf("count keys of %s: %w", k.CompanyID, err)
	}
	return int(n), nil
}

// lockKey reads a key and locks it for the transaction; nil when the company ("": any) has no such key.
func (Store) lockKey(ctx context.Context, tx bun.Tx, companyID, id string) (*Key, error) {
	k := new(Key)
	q := tx.NewSelect().Model(k).Where("k.id = ?", id).For("UPDATE")
	if companyID != "" {
		q = q.Where("k.company_id = ?", companyID)
	}
	err := q.Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("lock key %s: %w", id, err)
	}
	return k, nil
}

// updateKey writes what of a key may change.
func (Store) updateKey(ctx context.Context, tx bun.Tx, k *Key) error {
	_, err := tx.NewUpdate().Model(k).Column("revoked_at", "suspended_at", "suspended_reason", "limits", "persisted_only").WherePK().Exec(ctx)
	if err != nil {
		return fmt.Errorf("change key %s: %w", k.ID, err)
	}
	return nil
}

func (Store) setCompanyLimits(ctx context.Context, db bun.IDB, id string, l *Limits) (known bool, err error) {
	res, err := db.NewUpdate().Model(&Company{ID: id, Limits: l}).Column("limits").WherePK().Exec(ctx)
	if err != nil {
		return false, fmt.Errorf("set limits of company %s: %w", id, err)
	}
	n, err := res.RowsAffected()
	return n == 1, err
}

func (Store) setRepeatWindow(ctx context.Context, db bun.IDB, id string, days int) (known bool, err error) {
	res, err := db.NewUpdate().Model(&Company{ID: id, RepeatWindowDays: days}).Column("repeat_window_days").WherePK().Exec(ctx)
	if err != nil {
		return false, fmt.Errorf("set the repeat window of company %s: %w", id, err)
	}
	n, err := res.RowsAffected()
	return n == 1, err
}

func (Store) audit(ctx context.Context, tx bun.Tx, k *Key, action, actor, detail string) error {
	line := &AuditLine{KeyID: k.ID, CompanyID: k.CompanyID, Action: action, Actor: actor, Detail: detail}
	if _, err := tx.NewInsert().Model(line).Returning("NULL").Exec(ctx); err != nil {
		return fmt.Errorf("audit key %s: %w", k.ID, err)
	}
	return nil
}

func (Store) audits(ctx context.Context, db bun.IDB, keyID string) ([]*AuditLine, error) {
	lines := []*AuditLine{}
	if err := db.NewSelect().Model(&lines).Where("ka.key_id = ?", keyID).OrderExpr("ka.id").Scan(ctx); err != nil {
		return nil, fmt.Errorf("read the audit of key %s: %w", keyID, err)
	}
	return lines, nil
}

// MasterKey returns the server's own master key, making it of fresh at the
// first call; every node of one database gets the same.
func (Store) MasterKey(ctx context.Context, db bun.IDB, fresh []byte) ([]byte, error) {
	if _, err := db.NewRaw("INSERT INTO server_keys (name, material) VALUES ('master', ?) ON CONFLICT DO NOTHING", fresh).Exec(ctx); err != nil {
		return nil, fmt.Errorf("keep the master key: %w", err)
	}
	var key []byte
	if err := db.NewRaw("SELECT material FROM server_keys WHERE name = 'master'").Scan(ctx, &key); err != nil {
		return nil, fmt.Errorf("read the master key: %w", err)
	}
	return key, nil
}

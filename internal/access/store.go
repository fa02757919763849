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

// principal reads the key of a digest with its company; nil when there is none.
func (Store) principal(ctx context.Context, db bun.IDB, digest []byte) (*Principal, error) {
	var row struct {
		Key          `bun:",extend"`
		CompanyName  string    `bun:"company_name"`
		Plan         string    `bun:"company_plan"`
		RepeatDays   int       `bun:"company_repeat"`
		CompanySince time.Time `bun:"company_since"`
	}
	err := db.NewSelect().Model(&row).ColumnExpr("k.*").
		ColumnExpr("co.name AS company_name, co.plan AS company_plan, co.repeat_window_days AS company_repeat, co.created_at AS company_since").
		Join("JOIN companies AS co ON co.id = k.company_id").Where("k.digest = ?", digest).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	return &Principal{
		Key: row.Key,
		Company: Company{
			ID: row.CompanyID, Name: row.CompanyName, Plan: row.Plan,
			RepeatWindowDays: row.RepeatDays, CreatedAt: row.CompanySince,
		},
	}, nil
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

// revoke marks a key as revoked and returns it; nil when the company ("": any) has no such key.
func (Store) revoke(ctx context.Context, tx bun.IDB, companyID, id string) (*Key, error) {
	k := new(Key)
	q := tx.NewUpdate().Model(k).Set("revoked_at = coalesce(k.revoked_at, now())").Where("k.id = ?", id)
	if companyID != "" {
		q = q.Where("k.company_id = ?", companyID)
	}
	err := q.Returning("*").Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("revoke key %s: %w", id, err)
	}
	return k, nil
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

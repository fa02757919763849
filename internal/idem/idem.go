// Package idem is the table that GraphQL inputs and REST headers share, so that
// the same key over either surface is the same work, done once.
package idem

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"github.com/enrichd/enrichd/internal/fault"
	"github.com/enrichd/enrichd/internal/pg"
)

// MaxKey is the longest key in bytes.
const MaxKey = 255

// Claim is one use of a key. Two claims with the same company, operation and
// key are the same work when their fingerprints are equal.
type Claim struct {
	CompanyID   string
	Operation   string
	Key         string
	Fingerprint []byte
	ResourceID  string // what the work will make
}

// CheckKey refuses keys that are not 1 to 255 visible ASCII characters.
func CheckKey(path, key string) error {
	if key == "" || len(key) > MaxKey {
		return fault.Invalid(path, "must be 1 to %d characters long", MaxKey)
	}
	for i := range len(key) {
		if key[i] < 0x21 || key[i] > 0x7e {
			return fault.Invalid(path, "may hold visible ASCII characters only")
		}
	}
	return nil
}

// Fingerprint digests an input in a canonical form: JSON with sorted object
// keys, so that neither white space nor key order matters, but the order of lists does.
func Fingerprint(operation string, input any) []byte {
	b, err := json.Marshal(input)
	if err != nil {
		panic(fmt.Sprintf("fingerprint of %T: %v", input, err)) // inputs are plain structs of ours
	}
	sum := sha256.Sum256(append([]byte(operation+"\n"), b...))
	return sum[:]
}

// ClaimCTE is the claim as part of a statement, with the arguments :company
// :operation :key :fingerprint :resource. taken returns a row exactly when the
// claim was made; an empty key claims nothing.
const ClaimCTE = `
	taken AS (
		INSERT INTO idempotency_keys (company_id, operation, key, fingerprint, resource_id)
		SELECT :company::text, :operation::text, :key::text, :fingerprint::bytea, :resource::text WHERE :key <> ''
		ON CONFLICT DO NOTHING
		RETURNING resource_id, fingerprint, true AS fresh)`

// The second arm sees only what was committed before the statement began, so a
// conflict with a claim that committed meanwhile shows no row: Take then reads once more.
var takeSQL = pg.Named("WITH "+ClaimCTE+`
	SELECT resource_id, fingerprint, fresh FROM taken
	UNION ALL
	SELECT resource_id, fingerprint, false FROM idempotency_keys
	 WHERE company_id = :company AND operation = :operation AND key = :key
	LIMIT 1`, "company", "operation", "key", "fingerprint", "resource")

// Take claims the key inside the transaction that does the work. It returns
// "" when the work is to be done, or the id of what an earlier claim made.
// Other input under the same key is an IdempotencyKeyReused. While the first
// claim is in flight it waits for it, up to the connection's lock_timeout.
func Take(ctx context.Context, tx bun.Tx, c Claim) (replayOf string, err error) {
	var resource string
	var fingerprint []byte
	var fresh bool
	err = tx.Tx.QueryRowContext(ctx, takeSQL, c.CompanyID, c.Operation, c.Key, c.Fingerprint, c.ResourceID).
		Scan(&resource, &fingerprint, &fresh)
	if errors.Is(err, sql.ErrNoRows) {
		err = tx.NewRaw(`SELECT resource_id, fingerprint FROM idempotency_keys WHERE company_id = ? AND operation = ? AND key = ?`,
			c.CompanyID, c.Operation, c.Key).Scan(ctx, &resource, &fingerprint)
	}
	switch {
	case err != nil:
		return "", fmt.Errorf("claim idempotency key: %w", err)
	case fresh:
		return "", nil
	case string(fingerprint) != string(c.Fingerprint):
		return "", fault.IdempotencyKeyReused{
			Head:              fault.Head{Message: "this idempotency key was first used with other input", Field: []string{"idempotencyKey"}},
			OriginalRequestID: resource,
		}
	}
	return resource, nil
}

// Life is how long a key is remembered.
const Life = 24 * time.Hour

// sweepKeys is how many keys one statement of Sweep deletes.
const sweepKeys = 10_000

// Sweep forgets every key that is older than Life at now.
func Sweep(ctx context.Context, db bun.IDB, now time.Time) error {
	for {
		res, err := db.NewRaw(`DELETE FROM idempotency_keys WHERE ctid = ANY (ARRAY(
			SELECT ctid FROM idempotency_keys WHERE created_at < ? LIMIT ?))`, now.Add(-Life), sweepKeys).Exec(ctx)
		if err != nil {
			return fmt.Errorf("sweep idempotency keys: %w", err)
		}
		if n, err := res.RowsAffected(); err != nil || n < sweepKeys {
			return err
		}
	}
}

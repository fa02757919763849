package billing

import (
	"context"
	"strings"
	"time"

	"github.com/uptrace/bun"
)

// Every statement here turns its times into numbers of entries first, since the
// entries are found by number (see billing_seq_before).

// usageOf sums the captures of each of the companies that has an account.
func usageOf(ctx context.Context, db bun.IDB, companyIDs []string, from, to time.Time) ([]CompanyUsage, error) {
	var rows []CompanyUsage
	err := db.NewRaw(`
		SELECT a.company_id, u.events, u.credits
		  FROM billing_accounts AS a
		 CROSS JOIN LATERAL (SELECT billing_seq_before(a.id, ?) AS low, billing_seq_before(a.id, ?) AS high OFFSET 0) AS r
		 CROSS JOIN LATERAL (
				SELECT count(*) AS events, coalesce(sum(e.d_captured), 0)::bigint AS credits
				  FROM billing_entries AS e
				 WHERE e.account_id = a.id AND e.seq > r.low AND e.seq <= r.high AND e.kind = 'CAPTURE') AS u
		 WHERE a.company_id IN (?)`, from, to, bun.List(companyIDs)).Scan(ctx, &rows)
	return rows, err
}

// capturesSQL are the captures of an account within a range of time.
const capturesSQL = `
	  FROM (SELECT billing_seq_before(?account, ?from) AS low, billing_seq_before(?account, ?to) AS high OFFSET 0) AS r
	  JOIN billing_entries AS e ON e.account_id = ?account AND e.seq > r.low AND e.seq <= r.high AND e.kind = 'CAPTURE'`

type usageRange struct {
	Account  string
	From, To time.Time
	Unit     string
}

// usagePoints returns the intervals in which something was captured, in order.
func usagePoints(ctx context.Context, db bun.IDB, accountID string, from, to time.Time, every UsageInterval) ([]UsagePoint, error) {
	var rows []UsagePoint
	err := db.NewRaw(`
		SELECT date_trunc(?unit, e.at, 'UTC') AS start, sum(e.d_captured)::bigint AS captured, count(DISTINCT e.profile_id) AS profiles`+
		capturesSQL+`
		 GROUP BY 1
		 ORDER BY 1`, usageRange{accountID, from, to, strings.ToLower(string(every))}).Scan(ctx, &rows)
	return rows, err
}

// usageShares groups captures by the key that reserved for their run, or by their own outcome.
func usageShares(ctx context.Context, db bun.IDB, accountID string, by UsageDimension, from, to time.Time) ([]*UsageShare, error) {
	value, join := "coalesce(e.memo, '')", ""
	if by == ByKey {
		value, join = "coalesce(k.actor, '')", `
	  LEFT JOIN LATERAL (
			SELECT f.actor
			  FROM billing_entries AS f
			 WHERE f.account_id = e.account_id AND f.run_id = e.run_id AND f.profile_id IS NULL AND f.kind = 'RESERVE'
			 ORDER BY f.seq
			 LIMIT 1) AS k ON true`
	}
	rows := []*UsageShare{}
	err := db.NewRaw(`
		SELECT `+value+` AS value, sum(e.d_captured)::bigint AS captured, count(DISTINCT e.profile_id) AS profiles`+
		capturesSQL+join+`
		 GROUP BY 1
		 ORDER BY captured DESC, value`, usageRange{Account: accountID, From: from, To: to}).Scan(ctx, &rows)
	return rows, err
}

// Package billing is the ledger: accounts, the credits on them, what runs hold
// of those, and one immutable entry for every movement. README.md says it in
// sentences and lists the invariants.
package billing

import (
	"time"

	"github.com/uptrace/bun"
)

// Mode says when a company pays: before the work or after it.
type Mode string

// The modes, spelled as in GraphQL.
const (
	// Prepaid spends credits that were bought or granted; a run is refused without them.
	Prepaid Mode = "PREPAID"
	// Postpaid records what was captured and owes it until it is invoiced.
	Postpaid Mode = "POSTPAID"
)

// Account is a company's standing: a row whose every figure is the sum of its
// entries. It is the GraphQL type BillingAccount. All amounts are whole credits.
type Account struct {
	bun.BaseModel `bun:"table:billing_accounts,alias:a"`

	ID        string `bun:"id,pk"`
	CompanyID string `bun:"company_id"`
	Mode      Mode   `bun:"mode"`

	Available     int64 `bun:"available"`
	Held          int64 `bun:"held"`
	GrantedTotal  int64 `bun:"granted_total"`
	CapturedTotal int64 `bun:"captured_total"`
	ExpiredTotal  int64 `bun:"expired_total"`
	AdjustedTotal int64 `bun:"adjusted_total"`
	RefundedTotal int64 `bun:"refunded_total"`
	// Owed is captured and not yet invoiced; postpaid only.
	Owed          int64 `bun:"owed"`
	InvoicedTotal int64 `bun:"invoiced_total"`
	// CreditLimit is the most that may be owed and held together; nil when prepaid or unlimited.
	CreditLimit *int64 `bun:"credit_limit"`

	LastSeq int64     `bun:"last_seq"`
	LastAt  time.Time `bun:"last_at"`
	// NextExpiryAt is never later than the earliest moment at which a live grant expires; nil when none does.
	NextExpiryAt *time.Time `bun:"next_expiry_at"`

	// CycleAnchor is the day of the month on which a billing period begins; 29 to 31 mean the last day of shorter months.
	CycleAnchor int `bun:"cycle_anchor"`
	// TimeZone is the IANA name of the zone in which a period begins at midnight.
	TimeZone string `bun:"time_zone"`
	// NextPeriodStart and NextPeriodEnd bound the first period that is not closed yet: start included, end not.
	NextPeriodStart time.Time `bun:"next_period_start"`
	NextPeriodEnd   time.Time `bun:"next_period_end"`
	// LowThreshold is what is left when the company is told that its credits run low; nil for never.
	LowThreshold *int64    `bun:"low_threshold"`
	CreatedAt    time.Time `bun:"created_at"`
}

// CreditBalance is what an account holds: Posted = Available + Held.
type CreditBalance struct {
	Posted    int64
	Held      int64
	Available int64
}

// Balance sums up the account.
func (a *Account) Balance() CreditBalance {
	return CreditBalance{Posted: a.Available + a.Held, Held: a.Held, Available: a.Available}
}

// RunCredits are one run's credits: Reserved = Captured + Released + Held at every commit.
type RunCredits struct {
	Reserved int64 `bun:"reserved"`
	Captured int64 `bun:"captured"`
	Released int64 `bun:"released"`
	Held     int64 `bun:"held"`
}

// IsNode marks Account as a GraphQL Node.
func (*Account) IsNode() {}

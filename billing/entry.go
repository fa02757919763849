package billing

import (
	"strconv"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"github.com/enrichd/enrichd/internal/page"
)

// EntryKind says what moved; GraphQL's LedgerEntryKind.
type EntryKind string

// The kinds, spelled as in GraphQL.
const (
	KindPurchase EntryKind = "PURCHASE"
	KindGrant    EntryKind = "GRANT"
	KindReserve  EntryKind = "RESERVE"
	KindCapture  EntryKind = "CAPTURE"
	KindRelease  EntryKind = "RELEASE"
	KindExpire   EntryKind = "EXPIRE"
	KindAdjust   EntryKind = "ADJUST"
	KindRefund   EntryKind = "REFUND"
	KindInvoice  EntryKind = "INVOICE"
)

// Entry is one line of an account's ledger, numbered from 1 without gaps and
// never changed. It is the GraphQL type LedgerEntry.
type Entry struct {
	bun.BaseModel `bun:"table:billing_entries,alias:e"`

	AccountID string    `bun:"account_id,pk"`
	Seq       int64     `bun:"seq,pk"`
	Kind      EntryKind `bun:"kind"`
	// Amount is what the entry adds to the available credits: AvailableAfter is the
	// sum of all amounts so far. It is 0 for a capture, which spends what is held.
	Amount int64 `bun:"d_available"`
	// HeldChange, CapturedChange and OwedChange are what the entry adds to the account's other figures.
	HeldChange     int64 `bun:"d_held"`
	CapturedChange int64 `bun:"d_captured"`
	OwedChange     int64 `bun:"d_owed"`
	AvailableAfter int64 `bun:"available_after"`
	HeldAfter      int64 `bun:"held_after"`

	// RunID and ProfileID are set where a run moved the credits, GrantID where one grant gained or lost them.
	RunID     *string `bun:"run_id"`
	ProfileID *string `bun:"profile_id"`
	GrantID   *string `bun:"grant_id"`
	// InvoiceID names the invoice that an INVOICE entry took off what is owed.
	InvoiceID *string `bun:"invoice_id"`
	// Key is the idempotency key of the command, for those that have one.
	Key   *string `bun:"idempotency_key"`
	Actor string  `bun:"actor"`
	Memo  *string `bun:"memo"`
	// OccurredAt is the database's clock; within an account it never runs against Seq.
	OccurredAt time.Time `bun:"at"`
	// Chain is the digest of the entry and of the chain before it; nil where chaining was off.
	Chain []byte `bun:"chain"`
}

// entryPrefix begins the id of every entry.
const entryPrefix = "ent_"

// ID is the entry's global id: the account's own, and the entry's number in it.
func (e *Entry) ID() string {
	return entryPrefix + strings.TrimPrefix(e.AccountID, accountPrefix+"_") + "_" + strconv.FormatInt(e.Seq, 10)
}

// LedgerEntryEdge is one entry and its place in the list.
type LedgerEntryEdge struct{ page.Edge[*Entry] }

// LedgerEntryConnection is one page of an account's entries.
type LedgerEntryConnection struct {
	page.Connection[LedgerEntryEdge, *Entry]
}

// IsNode marks Entry as a GraphQL Node.
func (*Entry) IsNode() {}

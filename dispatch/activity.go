package dispatch

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/uptrace/bun"

	"github.com/enrichd/enrichd/internal/fault"
	"github.com/enrichd/enrichd/internal/page"
)

// ActivityKind says what kind of thing is of note.
type ActivityKind string

// The kinds, spelled as in GraphQL.
const (
	ActivityEnrichmentStarted  ActivityKind = "ENRICHMENT_STARTED"
	ActivityEnrichmentFinished ActivityKind = "ENRICHMENT_FINISHED"
	ActivityProfilesImported   ActivityKind = "PROFILES_IMPORTED"
	ActivityCreditsLow         ActivityKind = "CREDITS_LOW"
	ActivityDeliveryExhausted  ActivityKind = "DELIVERY_EXHAUSTED"
	ActivityCircuitOpened      ActivityKind = "CIRCUIT_OPENED"
	ActivityCircuitClosed      ActivityKind = "CIRCUIT_CLOSED"
	ActivityWebhookDisabled    ActivityKind = "WEBHOOK_DISABLED"
)

// SubjectType says what an activity is about, by the name of its GraphQL type.
type SubjectType string

// The types of subjects.
const (
	SubjectRun      SubjectType = "EnrichmentRun"
	SubjectWebhook  SubjectType = "Webhook"
	SubjectDelivery SubjectType = "Delivery"
	SubjectAccount  SubjectType = "BillingAccount"
)

// Activity is one thing of note in a company. Sequences begin at 1 and have no
// gaps within a company; Announce gives them.
type Activity struct {
	bun.BaseModel `bun:"table:company_activity,alias:y"`

	CompanyID  string       `bun:"company_id,pk" json:"company_id"`
	Sequence   int64        `bun:"sequence,pk" json:"-"`
	Kind       ActivityKind `bun:"kind" json:"kind"`
	OccurredAt time.Time    `bun:"occurred_at" json:"occurred_at"`
	// Summary is one sentence for people. It names no person and no URL.
	Summary string `bun:"summary" json:"summary"`
	// SubjectType and SubjectID name what it is about; "" when nothing in particular. The subject may be gone.
	SubjectType SubjectType `bun:"subject_type,nullzero" json:"subject_type,omitempty"`
	SubjectID   string      `bun:"subject_id,nullzero" json:"subject_id,omitempty"`
	// Test says that a test key caused it: only test keys see it, and they nothing else.
	Test bool `bun:"test" json:"test"`
}

// Cursor is the activity's place in its company.
func (a *Activity) Cursor() string { return activityCursor(a.Sequence) }

// CompanyTopic is what a Waker calls a company whose activity may have grown.
// Whoever announced publishes it after the commit.
func CompanyTopic(companyID string) string { return "company:" + companyID }

// Announce records activities in the caller's transaction, in one statement,
// numbered in the order given. It locks the company's counter until that
// transaction ends, so it comes last in it, after every other lock.
func Announce(ctx context.Context, tx bun.Tx, activities ...Activity) error {
	if len(activities) == 0 {
		return nil
	}
	b, err := json.Marshal(activities)
	if err != nil {
		return fmt.Errorf("announce %d activities: %w", len(activities), err)
	}
	return store{}.announce(ctx, tx, string(b))
}

// activityPage is the most activities that one call returns.
const activityPage = 500

// ActivitySince returns what is of note to the asking company behind cursor,
// oldest first, at most 500; "" is the very beginning. kinds narrow it when
// given. Whoever follows a company asks again from the last one's Cursor when
// its CompanyTopic wakes, and after a full page at once; nothing is skipped. A malformed cursor is an InvalidInput.
func (s *Service) ActivitySince(ctx context.Context, cursor string, kinds ...ActivityKind) ([]*Activity, error) {
	p, err := asking(ctx)
	if err != nil {
		return nil, err
	}
	after, err := activityPlace(cursor)
	if err != nil {
		return nil, err
	}
	return s.store.activitySince(ctx, s.DB, p, after, slices.Compact(slices.Sorted(slices.Values(kinds))), activityPage)
}

// ActivityEnd returns the cursor of the asking company's newest activity, for
// whoever wants to follow from now on.
func (s *Service) ActivityEnd(ctx context.Context) (cursor string, err error) {
	p, err := asking(ctx)
	if err != nil {
		return "", err
	}
	last, err := s.store.activityEnd(ctx, s.DB, p.Company.ID)
	return activityCursor(last), err
}

func activityCursor(sequence int64) string {
	return page.Encode("activity." + strconv.FormatInt(sequence, 10))
}

func activityPlace(cursor string) (int64, error) {
	key, err := page.Args{After: cursor}.Position()
	if err != nil || key == "" {
		return 0, err
	}
	var after int64
	if n, err := fmt.Sscanf(key, "activity.%d", &after); n != 1 || err != nil || after < 0 {
		return 0, fault.Invalid("after", "is not a cursor of this list")
	}
	return after, nil
}

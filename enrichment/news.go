package enrichment

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/uptrace/bun"

	"github.com/enrichd/enrichd/dispatch"
)

// tellOf tells the world beside the run's own followers what books gathered, in
// their transaction: webhooks hear of runs that began or ended and of profiles
// that ended, the company of runs that began or ended. It comes after every
// other lock, because the company's counter is locked until the commit. It
// returns the topics to wake after that.
func (s *Service) tellOf(ctx context.Context, tx bun.Tx, books []*book) (topics []string, err error) {
	var small []dispatch.Event
	var news []dispatch.Activity
	for _, b := range books {
		small = append(small, b.events()...)
		news = append(news, b.news()...)
	}
	if err := s.publishSmall(ctx, tx, small); err != nil {
		return nil, err
	}
	for _, b := range books {
		if b.ended {
			if err := s.announce(ctx, tx, b.run, b.members); err != nil {
				return nil, err
			}
		}
	}
	for _, n := range news {
		topics = append(topics, dispatch.CompanyTopic(n.CompanyID))
	}
	return topics, dispatch.Announce(ctx, tx, news...)
}

// publishSmall publishes events that name ids only; those that nobody wants cost no statement.
func (s *Service) publishSmall(ctx context.Context, tx bun.Tx, events []dispatch.Event) error {
	var wanted []dispatch.Event
	for _, e := range events {
		ok, err := s.Dispatch.Listening(ctx, tx, e)
		if err != nil {
			return err
		}
		if ok {
			wanted = append(wanted, e)
		}
	}
	return s.Dispatch.Publish(ctx, tx, wanted...)
}

// startedData is what a receiver of enrich.started is told.
type startedData struct {
	RequestID string `json:"requestId"`
	Sequence  int    `json:"sequence"`
	Status    Status `json:"status"`
	Profiles  int    `json:"profileCount"`
}

// endedData is what a receiver of enrich.profile_completed or enrich.profile_failed is told: ids and how it ended, nothing about the person.
type endedData struct {
	RequestID string  `json:"requestId"`
	Sequence  int     `json:"sequence"`
	ProfileID string  `json:"profileId"`
	Outcome   Outcome `json:"outcome"`
}

// events are the small announcements that a book's changes deserve.
func (b *book) events() (events []dispatch.Event) {
	event := func(t dispatch.EventType, data any) dispatch.Event {
		body, err := json.Marshal(data)
		if err != nil {
			panic(fmt.Sprintf("marshal %T: %v", data, err)) // plain structs of ours
		}
		return dispatch.Event{
			Type: t, CompanyID: b.run.CompanyID, RunID: b.run.ID, Sequence: b.run.LastSequence, WebhookID: b.run.WebhookID,
			Test: b.run.Test, Data: body,
		}
	}
	if b.began {
		e := event(dispatch.EnrichStarted, startedData{b.run.ID, b.run.LastSequence, StatusRunning, b.run.Progress.Total})
		e.At = *b.run.StartedAt
		events = append(events, e)
	}
	for _, m := range b.members {
		if !b.changed[m] || m.Outcome.Open() {
			continue
		}
		t := dispatch.EnrichProfileFailed
		if m.Outcome.Success() {
			t = dispatch.EnrichProfileCompleted
		}
		e := event(t, endedData{b.run.ID, b.run.LastSequence, m.ProfileID, m.Outcome})
		e.At = *m.FinishedAt
		events = append(events, e)
	}
	return events
}

// news are the lines of the company's activity that a book's changes deserve.
func (b *book) news() (news []dispatch.Activity) {
	line := dispatch.Activity{CompanyID: b.run.CompanyID, SubjectType: dispatch.SubjectRun, SubjectID: b.run.ID, Test: b.run.Test}
	p := b.run.Progress
	if b.began {
		line.Kind, line.OccurredAt, line.Summary = dispatch.ActivityEnrichmentStarted, *b.run.StartedAt, fmt.Sprintf("An enrichment of %s started", profiles(p.Total))
		news = append(news, line)
	}
	if b.ended {
		line.Kind, line.OccurredAt = dispatch.ActivityEnrichmentFinished, *b.run.FinishedAt
		how := "ended"
		switch b.run.Status {
		case StatusCancelled:
			how = "was cancelled"
		case StatusFailed:
			how = "failed"
		}
		line.Summary = fmt.Sprintf("An enrichment of %s %s: %d succeeded", profiles(p.Total), how, p.Succeeded())
		news = append(news, line)
	}
	return news
}

// news is the line of the company's activity that an import deserves.
func (im *Import) news(test bool) dispatch.Activity {
	return dispatch.Activity{
		CompanyID: im.CompanyID, Kind: dispatch.ActivityProfilesImported, OccurredAt: now(), Test: test,
		Summary: fmt.Sprintf("An import brought %s: %d new, %d changed", profiles(im.Created+im.Updated+im.Unchanged), im.Created, im.Updated),
	}
}

func profiles(n int) string {
	if n == 1 {
		return "1 profile"
	}
	return fmt.Sprintf("%d profiles", n)
}

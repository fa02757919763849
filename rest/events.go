package rest

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/enrichd/enrichd/enrichment"
	"github.com/enrichd/enrichd/enrichment/pipeline"
	"github.com/enrichd/enrichd/internal/access"
	"github.com/enrichd/enrichd/internal/sse"
)

const (
	// writeTimeout is how long a reader may take nothing of one event.
	writeTimeout = 30 * time.Second
	// comeBack is when the clients of a server that stops should try again.
	comeBack = time.Second
)

// enrichEvents streams a run from its first event, or from behind the one that
// Last-Event-ID names, to its end; then it sends the event complete and ends.
func (a *API) enrichEvents(w http.ResponseWriter, req *http.Request) error {
	run, err := a.run(req)
	if err != nil {
		return err
	}
	after, err := lastEventID(req)
	if err != nil {
		return err
	}
	if req.Method == http.MethodHead {
		// The headers alone: nobody would read the events.
		w.Header().Set("Content-Type", sse.Media+"; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		return nil
	}
	ctx, live, err := a.streams.add(req.Context(), access.From(req.Context()).Key)
	if err != nil {
		return err
	}
	defer a.streams.remove(live)
	events, err := a.Enrichment.Follow(ctx, run.ID, &after)
	if err != nil {
		return err
	}
	out := sse.NewStream(w, writeTimeout)
	defer out.Close()
	for e := range events {
		kind, body := eventOf(e)
		data, err := marshal(body)
		if err != nil {
			panic(err) // shapes of our own
		}
		if out.Event(kind, strconv.Itoa(e.At()), data) != nil {
			live.end(nil)
		}
	}
	switch why := context.Cause(ctx); {
	case why == nil:
		_ = out.Event("complete", "", nil)
	case errors.Is(why, errDraining):
		_ = out.Retry(comeBack)
	case errors.Is(why, access.ErrInvalidKey):
		f := failureOf(why, "", a.Log)
		data, err := marshal(problem.failure(f, a.Open, time.Now()))
		if err == nil {
			_ = out.Event("error", "", data)
		}
	}
	return nil
}

// lastEventID reads the header that clients send when they come back; 0 without it.
func lastEventID(req *http.Request) (int, error) {
	header := req.Header.Get("Last-Event-ID")
	if header == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(header, 10, 32)
	if err != nil || n < 0 {
		return 0, validation(fieldError{"Last-Event-ID", "must be the id of an event of this run"})
	}
	return int(n), nil
}

// eventHead is what every event of the stream begins with.
type eventHead struct {
	Sequence   int           `json:"sequence"`
	OccurredAt string        `json:"occurredAt"`
	Progress   eventProgress `json:"progress"`
}

// eventProgress shows every count, where stored events leave zeros out.
type eventProgress struct {
	Total      int `json:"total"`
	Queued     int `json:"queued"`
	Active     int `json:"active"`
	Enriched   int `json:"enriched"`
	Partial    int `json:"partial"`
	NoMatch    int `json:"noMatch"`
	NotFound   int `json:"notFound"`
	Suppressed int `json:"suppressed"`
	TimedOut   int `json:"timedOut"`
	Failed     int `json:"failed"`
	Cancelled  int `json:"cancelled"`
}

// The events, by the name that the stream gives them.
type (
	statusEvent struct {
		eventHead
		Status string `json:"status"`
	}
	stageEvent struct {
		eventHead
		Stage       pipeline.Stage         `json:"stage"`
		StageStatus enrichment.StageStatus `json:"stageStatus"`
		Completed   int                    `json:"completed"`
		Failed      int                    `json:"failed"`
	}
	profileEvent struct {
		eventHead
		ProfileID     string             `json:"profileId"`
		Outcome       enrichment.Outcome `json:"outcome"`
		Stage         *pipeline.Stage    `json:"stage"`
		FieldsChanged []string           `json:"fieldsChanged"`
		WaitingOn     []string           `json:"waitingOn"`
	}
	sourceEvent struct {
		eventHead
		ProfileID string               `json:"profileId"`
		Source    string               `json:"source"`
		State     pipeline.SourceState `json:"state"`
		Loss      *string              `json:"loss"`
		Records   int                  `json:"records"`
	}
	creditsEvent struct {
		eventHead
		Reserved int64 `json:"reserved"`
		Captured int64 `json:"captured"`
		Released int64 `json:"released"`
		Held     int64 `json:"held"`
	}
)

func headOf(h enrichment.Head) eventHead {
	return eventHead{Sequence: h.Sequence, OccurredAt: h.OccurredAt.UTC().Format(millis), Progress: eventProgress(h.Progress)}
}

// eventOf names an event and gives its body.
func eventOf(e enrichment.Event) (kind string, body any) {
	switch e := e.(type) {
	case *enrichment.RunStatusChanged:
		return "status", statusEvent{headOf(e.Head), statusOf(e.Status)}
	case *enrichment.StageChanged:
		return "stage", stageEvent{headOf(e.Head), e.StageProgress.Stage, e.StageProgress.Status, e.StageProgress.Completed, e.StageProgress.Failed}
	case *enrichment.ProfileAdvanced:
		return "profile", profileEvent{headOf(e.Head), e.ProfileID, e.Outcome, e.Stage, list(e.FieldsChanged), list(e.WaitingOn)}
	case *enrichment.SourceChanged:
		return "source", sourceEvent{headOf(e.Head), e.ProfileID, e.Source, e.State, e.Loss, e.Records}
	case *enrichment.CreditsMoved:
		return "credits", creditsEvent{headOf(e.Head), e.Credits.Reserved, e.Credits.Captured, e.Credits.Released, e.Credits.Held}
	case *enrichment.RunSnapshot:
		return "status", statusEvent{headOf(e.Head), statusOf(e.Run.Status)}
	}
	return "event", json.RawMessage("{}")
}

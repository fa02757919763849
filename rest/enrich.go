package rest

import (
	"net/http"

	"github.com/enrichd/enrichd/enrichment"
	"github.com/enrichd/enrichd/internal/fault"
	"github.com/enrichd/enrichd/internal/idem"
)

// enrichAccepted is the 202 of the start, in the contract's field order.
type enrichAccepted struct {
	Success   bool    `json:"success"`
	RequestID string  `json:"requestId"`
	Status    string  `json:"status"`
	Message   string  `json:"message"`
	CreatedAt string  `json:"createdAt"`
	WebhookID *string `json:"webhookId,omitempty"`
}

func (a *API) startEnrich(w http.ResponseWriter, req *http.Request) error {
	body, err := readBody(w, req)
	if err != nil {
		return err
	}
	key, err := idempotencyKey(req)
	if err != nil {
		return err
	}
	in := enrichment.StartInput{
		IdempotencyKey: key, ProfileIDs: body.texts("profileIds"), WebhookID: body.uuid("webhookId"), AllowRepeats: true,
	}
	if err := body.err(); err != nil {
		return err
	}
	run, replayed, err := a.Enrichment.Start(req.Context(), in)
	if err != nil {
		return err
	}
	if replayed {
		w.Header().Set("Idempotent-Replayed", "true")
	}
	flat.answer(w, http.StatusAccepted, enrichAccepted{
		Success: true, RequestID: run.ID, Status: "processing",
		Message:   "Enrichment run accepted and queued for processing.",
		CreatedAt: run.CreatedAt.UTC().Format(millis), WebhookID: run.WebhookID,
	})
	return nil
}

// idempotencyKey reads the header; "" when there is none.
func idempotencyKey(req *http.Request) (string, error) {
	values := req.Header.Values("Idempotency-Key")
	switch len(values) {
	case 0:
		return "", nil
	case 1:
		return values[0], idem.CheckKey("Idempotency-Key", values[0])
	}
	return "", fault.Invalid("Idempotency-Key", "must be given once")
}

func (a *API) enrichResults(w http.ResponseWriter, req *http.Request) error {
	run, err := a.run(req)
	if err != nil {
		return err
	}
	return a.answerRun(w, req, flat, run)
}

// run is the run that the path names; one that is unknown, foreign or malformed is not found.
func (a *API) run(req *http.Request) (*enrichment.Run, error) {
	run, err := a.Enrichment.Run(req.Context(), req.PathValue("id"))
	if err == nil && run == nil {
		err = noRun()
	}
	return run, err
}

// answerRun sends the results body: 202 while the run is going, 200 when it ended.
func (a *API) answerRun(w http.ResponseWriter, req *http.Request, s style, run *enrichment.Run) error {
	status, members := http.StatusAccepted, []*enrichment.RunProfile(nil)
	if run.Status.Final() {
		status = http.StatusOK
		var err error
		if members, err = a.Enrichment.Results(req.Context(), run); err != nil {
			return err
		}
	}
	body, err := a.Open.RenderResults(run, members)
	if err != nil {
		return err
	}
	if status == http.StatusAccepted {
		w.Header().Set("Retry-After", "2")
	}
	s.answer(w, status, rawBody(body))
	return nil
}

// cancelEnrich stops what has not begun and answers as the results route does.
func (a *API) cancelEnrich(w http.ResponseWriter, req *http.Request) error {
	run, err := a.run(req)
	if err != nil {
		return err
	}
	var reason *string
	if req.ContentLength != 0 {
		body, err := readBody(w, req)
		if err != nil {
			return err
		}
		reason = body.text("reason")
		if err := body.err(); err != nil {
			return err
		}
	}
	if run, err = a.Enrichment.Cancel(req.Context(), run.ID, reason); err != nil {
		return err
	}
	return a.answerRun(w, req, problem, run)
}

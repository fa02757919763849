package rest

import (
	"net/http"

	"github.com/enrichd/enrichd/enrichment"
	"github.com/enrichd/enrichd/internal/fault"
	"github.com/enrichd/enrichd/internal/idem"
	"github.com/enrichd/enrichd/internal/ident"
)

type enrichRequest struct {
	ProfileIDs []string `json:"profileIds"`
	WebhookID  *string  `json:"webhookId"`
}

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
	var in enrichRequest
	if err := readBody(w, req, &in); err != nil {
		return err
	}
	key := req.Header.Get("Idempotency-Key")
	if _, given := req.Header["Idempotency-Key"]; given {
		if err := idem.CheckKey("Idempotency-Key", key); err != nil {
			return err
		}
	}
	if in.WebhookID != nil && !ident.IsUUID(*in.WebhookID) {
		return fault.Invalid("webhookId", "webhookId must be a UUID")
	}
	run, replayed, err := a.Enrichment.Start(req.Context(), enrichment.StartInput{
		IdempotencyKey: key, ProfileIDs: in.ProfileIDs, WebhookID: in.WebhookID, AllowRepeats: true,
	})
	if err != nil {
		return err
	}
	if replayed {
		w.Header().Set("Idempotent-Replayed", "true")
	}
	write(w, http.StatusAccepted, enrichAccepted{
		Success: true, RequestID: run.ID, Status: "processing",
		Message:   "Enrichment run accepted and queued for processing.",
		CreatedAt: run.CreatedAt.UTC().Format(millis), WebhookID: run.WebhookID,
	})
	return nil
}

func (a *API) enrichResults(w http.ResponseWriter, req *http.Request) error {
	id := req.PathValue("id")
	if err := fault.Text("id", id, 200); err != nil {
		return requestNotFound()
	}
	run, err := a.Enrichment.Run(req.Context(), id)
	if err != nil {
		return err
	}
	if run == nil {
		return requestNotFound()
	}
	status, members := http.StatusAccepted, []*enrichment.RunProfile(nil)
	if run.Status.Final() {
		status = http.StatusOK
		if members, err = a.Enrichment.Results(req.Context(), run); err != nil {
			return err
		}
	}
	body, err := RenderResults(run, members)
	if err != nil {
		return err
	}
	if status == http.StatusAccepted {
		w.Header().Set("Retry-After", "2")
	}
	write(w, status, rawBody(body))
	return nil
}

func requestNotFound() error {
	return fault.NotFound{Head: fault.Head{Message: "Enrichment request not found"}}
}

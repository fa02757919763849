package rest

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/enrichd/enrichd/dispatch"
)

// eventTypes are the types of event that the contract knows, each at the place
// of its code. Those behind the last code have one that is not documented.
// Only ping and enrich.* ever fire; the others are stored, so that an existing configuration can be replayed.
var eventTypes = []dispatch.EventType{
	"analysis.completed", "analysis.failed", dispatch.Ping, "interview.completed", "interview.failed", "interview.started",
	"sourcing.completed", "sourcing.failed", dispatch.EnrichCompleted, dispatch.EnrichFailed,
}

// lastCode is the last place in eventTypes whose code is documented.
const lastCode = 5

// parseEvent reads an event type in any of its spellings: the code, the dotted
// form in any case, or the constant (ENRICH_COMPLETED).
func parseEvent(raw json.RawMessage) (dispatch.EventType, bool) {
	if code, err := strconv.Atoi(string(raw)); err == nil {
		if code < 0 || code > lastCode {
			return "", false
		}
		return eventTypes[code], true
	}
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return "", false
	}
	for _, t := range eventTypes {
		dotted := string(t)
		if strings.EqualFold(s, dotted) || s == strings.ToUpper(strings.ReplaceAll(dotted, ".", "_")) {
			return t, true
		}
	}
	return "", false
}

// Package rest speaks the older contract, unchanged, for integrations that
// already exist. It is the only package that knows that contract's shapes.
package rest

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The two forms of time on this surface: the sourcing family and deliveries
// show milliseconds, webhooks and the general envelope whole seconds.
const (
	millis  = "2006-01-02T15:04:05.000Z"
	seconds = "2006-01-02T15:04:05Z"
)

// style is how a route dresses its bodies. Every body is JSON with a boolean success.
type style int

const (
	// flat: success is a field of the resource itself; failures wear the general envelope.
	flat style = iota
	// general: success, data, error and timestamp, always all four.
	general
	// bare: success and data, or success and error. The webhook family's.
	bare
	// problem: flat, and failures are problem details (RFC 9457) that the
	// published client reads as well. The routes that are ours.
	problem
)

// envelope is the general envelope of a success.
type envelope struct {
	Success   bool      `json:"success"`
	Data      any       `json:"data"`
	Error     *struct{} `json:"error"`
	Timestamp string    `json:"timestamp"`
}

// bareEnvelope is the webhook family's envelope of a success.
type bareEnvelope struct {
	Success bool `json:"success"`
	Data    any  `json:"data"`
}

// errorBody is the general envelope of a failure, in the contract's field order.
type errorBody struct {
	Success    bool        `json:"success"`
	Data       *struct{}   `json:"data"`
	Error      errorDetail `json:"error"`
	StatusCode int         `json:"statusCode,omitempty"`
	Timestamp  string      `json:"timestamp"`
}

// bareErrorBody is the webhook family's envelope of a failure.
type bareErrorBody struct {
	Success    bool        `json:"success"`
	Error      errorDetail `json:"error"`
	StatusCode int         `json:"statusCode,omitempty"`
}

// problemBody is a problem detail with the same code, and what the published client reads behind it.
type problemBody struct {
	Type    string      `json:"type"`
	Title   string      `json:"title"`
	Status  int         `json:"status"`
	Detail  string      `json:"detail"`
	Code    string      `json:"code"`
	Success bool        `json:"success"`
	Error   errorDetail `json:"error"`
}

// limitBody is the documented body of a 429, and behind it what makes it readable by the code.
type limitBody struct {
	StatusCode int    `json:"statusCode"`
	Message    string `json:"message"`
	Error      string `json:"error"`
	limitDetails
	Success bool   `json:"success"`
	Code    string `json:"code"`
}

type limitDetails struct {
	RetryAfter int64 `json:"retryAfter"`
	Limit      int64 `json:"limit"`
	Remaining  int64 `json:"remaining"`
	Reset      int64 `json:"reset"`
}

type errorDetail struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Details any    `json:"details,omitempty"`
}

type validationDetails struct {
	Errors []fieldError `json:"errors"`
}

type fieldError struct {
	Field   string `json:"field"`
	Message string `json:"message"`
}

// success dresses data as the style does it.
func (s style) success(data any, now time.Time) any {
	switch s {
	case general:
		return envelope{Success: true, Data: data, Timestamp: now.UTC().Format(seconds)}
	case bare:
		return bareEnvelope{Success: true, Data: data}
	default:
		return data
	}
}

// failure dresses f as the style does it.
func (s style) failure(f failure, o Open, now time.Time) any {
	detail := errorDetail{Code: f.code, Message: f.message, Details: f.details}
	limits, limited := f.details.(limitDetails)
	switch {
	case s == problem:
		return problemBody{
			Type: "/docs#" + f.code, Title: http.StatusText(f.status), Status: f.status, Detail: f.message,
			Code: f.code, Error: detail,
		}
	case limited && !o.LimitEnvelope:
		return limitBody{
			StatusCode: f.status, Message: f.message, Error: http.StatusText(f.status), limitDetails: limits, Code: f.code,
		}
	case s == bare:
		return bareErrorBody{Error: detail, StatusCode: f.statusCode}
	default:
		return errorBody{Error: detail, StatusCode: f.statusCode, Timestamp: now.UTC().Format(seconds)}
	}
}

func (s style) media(failed bool) string {
	if s == problem && failed {
		return "application/problem+json"
	}
	return "application/json; charset=utf-8"
}

// write sends one body.
func write(w http.ResponseWriter, status int, media string, body any) {
	b, err := marshal(body)
	if err != nil {
		panic(err) // shapes of our own
	}
	h := w.Header()
	h.Set("Content-Type", media)
	h.Set("Content-Length", strconv.Itoa(len(b)))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	w.Write(b) // the client may be gone; there is nobody left to tell
}

// marshal writes JSON as the contract shows it: no escaping for HTML, no trailing newline.
func marshal(v any) ([]byte, error) {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return []byte(strings.TrimSuffix(b.String(), "\n")), nil
}

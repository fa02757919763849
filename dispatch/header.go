package dispatch

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"unicode/utf8"

	"github.com/enrichd/enrichd/internal/fault"
)

// Bounds of custom headers. A name or a value is measured in characters, all of them together in bytes.
const (
	maxHeaders     = 50
	maxHeaderName  = 255
	maxHeaderValue = 4096
	maxHeaderBytes = 16 << 10 // names and values together
)

// WebhookHeaderInput is a custom header as its owner gives it. The value is
// write-only: whatever prints or logs this type shows the name alone.
type WebhookHeaderInput struct {
	Name  string
	Value string
}

// LogValue hides the value.
func (h WebhookHeaderInput) LogValue() slog.Value { return slog.StringValue(h.Name + ": [redacted]") }

// Format hides the value under every verb.
func (h WebhookHeaderInput) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "%s: [redacted]", h.Name)
}

// reservedHeaders are the connection's, the body's, the trace's and our own:
// RFC 9110 7.6.1 lists the hop-by-hop ones. Content-* and webhook-* are refused by prefix.
var reservedHeaders = map[string]bool{
	"connection": true, "proxy-connection": true, "keep-alive": true, "te": true, "trailer": true, "trailers": true,
	"transfer-encoding": true, "upgrade": true, "http2-settings": true, "expect": true,
	"proxy-authenticate": true, "proxy-authorization": true, "proxy-authentication-info": true,
	"host": true, "user-agent": true, "accept-encoding": true, "traceparent": true, "tracestate": true,
}

// secretive reports whether a header's name promises a secret (rest-contract: isMasked).
func secretive(name string) bool {
	name = strings.ToLower(name)
	for _, word := range [...]string{"authorization", "cookie", "token", "key", "secret"} {
		if strings.Contains(name, word) {
			return true
		}
	}
	return false
}

// checkHeaders returns every refusal that the custom headers deserve. older is
// the configured name of the older signature header, which is ours too.
func checkHeaders(headers []WebhookHeaderInput, older string) (refusals []error) {
	if len(headers) > maxHeaders {
		return []error{fault.LimitExceeded{
			Head:  fault.Head{Message: fmt.Sprintf("at most %d headers, not %d", maxHeaders, len(headers)), Field: []string{"headers"}},
			Limit: maxHeaders, Actual: len(headers),
		}}
	}
	total := 0
	seen := map[string]bool{}
	for i, h := range headers {
		total += len(h.Name) + len(h.Value)
		path := fmt.Sprintf("headers.%d", i)
		lower := strings.ToLower(h.Name)
		switch {
		case h.Name == "" || len(h.Name) > maxHeaderName || strings.ContainsFunc(h.Name, notToken):
			refusals = append(refusals, fault.Invalid(path+".name", "must be 1 to %d characters that HTTP allows in a header name", maxHeaderName))
		case reservedHeaders[lower] || lower == strings.ToLower(older) || strings.HasPrefix(lower, "content-") || strings.HasPrefix(lower, "webhook-"):
			refusals = append(refusals, fault.Invalid(path+".name", "%s is set by the service or belongs to the connection", h.Name))
		case seen[lower]:
			refusals = append(refusals, fault.Invalid(path+".name", "%s is given twice", h.Name))
		}
		seen[lower] = true
		switch {
		case h.Value == "" || utf8.RuneCountInString(h.Value) > maxHeaderValue:
			refusals = append(refusals, fault.Invalid(path+".value", "must be 1 to %d characters long", maxHeaderValue))
		case fault.Text(path, h.Value, 0) != nil || strings.ContainsFunc(h.Value, notFieldValue) || strings.Trim(h.Value, " \t") != h.Value:
			refusals = append(refusals, fault.Invalid(path+".value", "holds characters that HTTP does not allow in a header value, or white space around it"))
		}
	}
	if total > maxHeaderBytes {
		refusals = append(refusals, fault.LimitExceeded{
			Head:  fault.Head{Message: fmt.Sprintf("names and values together may be %d bytes long, not %d", maxHeaderBytes, total), Field: []string{"headers"}},
			Limit: maxHeaderBytes, Actual: total,
		})
	}
	return refusals
}

// notToken reports a character outside RFC 9110's tchar.
func notToken(r rune) bool {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
		return false
	}
	return !strings.ContainsRune("!#$%&'*+-.^_`|~", r)
}

// notFieldValue reports a control character other than tab (RFC 9110 5.5).
func notFieldValue(r rune) bool { return r != '\t' && (r < 0x20 || r == 0x7f) }

// boundTo is the additional data that ties a sealed value to its webhook and its place.
func boundTo(webhookID, what string) []byte { return []byte("webhook/" + webhookID + "/" + what) }

// sealHeaders returns nil for no headers.
func (s *Service) sealHeaders(webhookID string, headers []WebhookHeaderInput) ([]byte, error) {
	if len(headers) == 0 {
		return nil, nil
	}
	plain := make([][2]string, len(headers))
	for i, h := range headers {
		plain[i] = [2]string{h.Name, h.Value}
	}
	b, err := json.Marshal(plain)
	if err != nil {
		return nil, fmt.Errorf("headers of webhook %s: %w", webhookID, err)
	}
	return s.Box.Seal(b, boundTo(webhookID, "headers")), nil
}

func (s *Service) openHeaders(webhookID string, sealed []byte) ([]WebhookHeaderInput, error) {
	if sealed == nil {
		return nil, nil
	}
	b, err := s.Box.Open(sealed, boundTo(webhookID, "headers"))
	if err != nil {
		return nil, fmt.Errorf("headers of webhook %s: %w", webhookID, err)
	}
	var plain [][2]string
	if err := json.Unmarshal(b, &plain); err != nil {
		return nil, fmt.Errorf("headers of webhook %s: not as sealed", webhookID) // the cause would quote a value
	}
	headers := make([]WebhookHeaderInput, len(plain))
	for i, h := range plain {
		headers[i] = WebhookHeaderInput{Name: h[0], Value: h[1]}
	}
	return headers, nil
}

func namesOf(headers []WebhookHeaderInput) []string {
	names := make([]string, len(headers))
	for i, h := range headers {
		names[i] = h.Name
	}
	return names
}

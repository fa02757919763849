package dispatch

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"
)

// The headers of Standard Webhooks 1.0.0, and what we add to them.
const (
	headerID        = "webhook-id"
	headerTimestamp = "webhook-timestamp"
	headerSignature = "webhook-signature"
	headerAttempt   = "webhook-attempt"
)

const (
	secretPrefix = "whsec_"
	secretSize   = 32
	hintLength   = len(secretPrefix) + 4
	// tolerance is how far a signed timestamp may lie from the verifier's clock.
	tolerance = 5 * time.Minute
)

// signingKey is the raw secret. It never shows itself.
type signingKey []byte

// LogValue hides the key.
func (signingKey) LogValue() slog.Value { return slog.StringValue("[redacted]") }

// Format hides the key under every verb.
func (signingKey) Format(f fmt.State, _ rune) { fmt.Fprint(f, "[redacted]") }

func newSigningKey() signingKey {
	key := make(signingKey, secretSize)
	rand.Read(key) // never fails, says crypto/rand
	return key
}

// secret is the key as it is shown once: "whsec_" and base64.
func (k signingKey) secret() string { return secretPrefix + base64.StdEncoding.EncodeToString(k) }

// OlderSecret turns a "whsec_…" secret into the form of the older contract, 64
// lower-case hexadecimal characters of the same bytes; "" if it is none.
func OlderSecret(secret string) string {
	key, err := parseSecret(secret)
	if err != nil {
		return ""
	}
	return hex.EncodeToString(key)
}

func parseSecret(secret string) (signingKey, error) {
	encoded, ok := strings.CutPrefix(secret, secretPrefix)
	if !ok {
		return nil, errors.New("a webhook secret begins with " + secretPrefix)
	}
	key, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || len(key) == 0 {
		return nil, errors.New("a webhook secret is base64 after " + secretPrefix)
	}
	return key, nil
}

// signature returns the v1 signature of Standard Webhooks: HMAC-SHA256 over
// "id.timestamp.body", the timestamp in Unix seconds.
func signature(key signingKey, id string, unix int64, body []byte) string {
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%d.", id, unix)
	mac.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// signatures signs with every key in force, in the order given (newest first), separated by spaces.
func signatures(keys []signingKey, id string, unix int64, body []byte) string {
	all := make([]string, len(keys))
	for i, key := range keys {
		all[i] = signature(key, id, unix, body)
	}
	return strings.Join(all, " ")
}

// OlderHeader says how the single signature header of the older contract is
// made. The zero value is X-Webhook-Signature with the lower-case hex HMAC of
// the body under the 64-character form of the secret.
type OlderHeader struct {
	Name string // default X-Webhook-Signature
	// Value is the header's value, with {hex} for the signature, such as "sha256={hex}".
	Value string // default {hex}
	// Signed is the signed string, with {body}, {timestamp} (Unix seconds) and {id}.
	Signed string // default {body}
	// DecodedKey signs with the 32 bytes themselves instead of their hex characters.
	DecodedKey bool
}

func (o OlderHeader) withDefaults() OlderHeader {
	if o.Name == "" {
		o.Name = "X-Webhook-Signature"
	}
	if o.Value == "" {
		o.Value = "{hex}"
	}
	if o.Signed == "" {
		o.Signed = "{body}"
	}
	return o
}

// Check says what is wrong with the configuration.
func (o OlderHeader) Check() error {
	o = o.withDefaults()
	lower := strings.ToLower(o.Name)
	switch {
	case strings.ContainsFunc(o.Name, notToken), reservedHeaders[lower],
		strings.HasPrefix(lower, "content-"), strings.HasPrefix(lower, "webhook-"):
		return fmt.Errorf("older signature header: %q cannot be its name", o.Name)
	case !strings.Contains(o.Value, "{hex}") || strings.ContainsFunc(o.Value, notFieldValue):
		return errors.New("older signature header: its value must contain {hex} and no control characters")
	case !strings.Contains(o.Signed, "{body}"):
		return errors.New("older signature header: the signed string must contain {body}")
	}
	return nil
}

// value signs body. The header can carry one signature only.
func (o OlderHeader) value(key signingKey, id string, unix int64, body []byte) string {
	secret := []byte(key)
	if !o.DecodedKey {
		secret = []byte(hex.EncodeToString(key))
	}
	mac := hmac.New(sha256.New, secret)
	if o.Signed == "{body}" {
		mac.Write(body)
	} else {
		// One pass over the template, so that braces inside the body stay as they are.
		fill := strings.NewReplacer("{body}", string(body), "{timestamp}", strconv.FormatInt(unix, 10), "{id}", id)
		fill.WriteString(mac, o.Signed)
	}
	return strings.ReplaceAll(o.Value, "{hex}", hex.EncodeToString(mac.Sum(nil)))
}

// Why Verify refuses.
var (
	ErrUnsigned     = errors.New("webhook headers missing or malformed")
	ErrTimestamp    = errors.New("webhook timestamp is too far from now")
	ErrBadSignature = errors.New("no webhook signature matches")
)

// Verify checks a delivery as its receiver should (Standard Webhooks 1.0.0):
// header returns a request header by name, body is what arrived, byte for byte,
// and the timestamp may lie five minutes from now. Errors are the three above,
// or say that secret is none.
func Verify(secret string, header func(name string) string, body []byte, now time.Time) error {
	key, err := parseSecret(secret)
	if err != nil {
		return err
	}
	id, given := header(headerID), header(headerSignature)
	unix, err := strconv.ParseInt(header(headerTimestamp), 10, 64)
	if err != nil || id == "" || given == "" {
		return ErrUnsigned
	}
	if age := now.Sub(time.Unix(unix, 0)); age > tolerance || age < -tolerance {
		return ErrTimestamp
	}
	want := []byte(signature(key, id, unix, body))
	for one := range strings.FieldsSeq(given) {
		if hmac.Equal([]byte(one), want) {
			return nil
		}
	}
	return ErrBadSignature
}

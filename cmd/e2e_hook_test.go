package cmd_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// receiver is a customer's server that webhooks are posted to.
type receiver struct {
	url, port string
	got       chan delivery
}

type delivery struct {
	header http.Header
	body   []byte
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{got: make(chan delivery, 64)}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			http.Error(w, "body", http.StatusBadRequest)
			return
		}
		r.got <- delivery{req.Header, body}
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(s.Close)
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	r.url, r.port = s.URL+"/hooks", u.Port()
	return r
}

// one waits for the next delivery.
func (r *receiver) one(t *testing.T) delivery {
	t.Helper()
	var d delivery
	eventually(t, patience, "a webhook", func() bool {
		select {
		case d = <-r.got:
			return true
		default:
			return false
		}
	})
	return d
}

// expect verifies both signatures, the older one by hand, and that the data is what polling answers, byte for byte.
func (d delivery) expect(t *testing.T, secret, event string, polled []byte) {
	t.Helper()
	verifier, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	if err := verifier.Verify(d.body, d.header); err != nil {
		t.Errorf("Standard Webhooks signature: %v", err)
	}
	tampered := []byte(strings.Replace(string(d.body), "completed", "Completed", 1))
	if verifier.Verify(tampered, d.header) == nil {
		t.Error("the signature holds for another body as well")
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, []byte(hex.EncodeToString(key)))
	mac.Write(d.body)
	if got, want := d.header.Get("X-Webhook-Signature"), hex.EncodeToString(mac.Sum(nil)); got != want {
		t.Errorf("the older signature is %q instead of %q", got, want)
	}
	var envelope struct {
		Event, Timestamp, DeliveryID string
		Data                         json.RawMessage
	}
	if err := json.Unmarshal(d.body, &envelope); err != nil {
		t.Fatalf("%v in %s", err, d.body)
	}
	if envelope.Event != event || envelope.Timestamp == "" || envelope.DeliveryID == "" || !strings.HasPrefix(string(d.body), `{"event":"`) {
		t.Errorf("the envelope is %.200s", d.body)
	}
	if string(envelope.Data) != string(polled) {
		t.Errorf("the webhook says\n%s\nand polling\n%s", envelope.Data, polled)
	}
}

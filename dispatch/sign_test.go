package dispatch

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// signed makes the headers of a delivery signed now with keys.
func signed(at time.Time, body []byte, keys ...signingKey) http.Header {
	h := http.Header{}
	h.Set(headerID, "evt_1")
	h.Set(headerTimestamp, strconv.FormatInt(at.Unix(), 10))
	h.Set(headerSignature, signatures(keys, "evt_1", at.Unix(), body))
	return h
}

func TestSignature(t *testing.T) {
	t.Parallel()
	now, body := time.Now(), []byte(`{"event":"ping","data":{"x":"é%d"}}`)
	fresh, old, stranger := newSigningKey(), newSigningKey(), newSigningKey()
	h := signed(now, body, fresh, old)

	t.Run("is what the reference library verifies, under every key in force", func(t *testing.T) {
		for _, key := range []signingKey{fresh, old} {
			wh, err := standardwebhooks.NewWebhook(key.secret())
			if err != nil {
				t.Fatal(err)
			}
			if err := wh.Verify(body, h); err != nil {
				t.Error(err)
			}
			if err := Verify(key.secret(), h.Get, body, now); err != nil {
				t.Error(err)
			}
		}
		wh, _ := standardwebhooks.NewWebhook(stranger.secret())
		if wh.Verify(body, h) == nil {
			t.Error("the library accepted a stranger's secret")
		}
	})
	t.Run("Verify accepts what the reference library signs", func(t *testing.T) {
		wh, _ := standardwebhooks.NewWebhook(fresh.secret())
		s, err := wh.Sign("evt_1", now, body)
		if err != nil || s != signature(fresh, "evt_1", now.Unix(), body) {
			t.Fatalf("%q, %v", s, err)
		}
	})
	t.Run("refuses a changed body, id, timestamp or secret", func(t *testing.T) {
		change := func(name, value string) func(string) string {
			c := h.Clone()
			c.Set(name, value)
			return c.Get
		}
		for what, err := range map[string]error{
			"body":      Verify(fresh.secret(), h.Get, append([]byte(" "), body...), now),
			"id":        Verify(fresh.secret(), change(headerID, "evt_2"), body, now),
			"timestamp": Verify(fresh.secret(), change(headerTimestamp, strconv.FormatInt(now.Unix()+1, 10)), body, now),
			"secret":    Verify(stranger.secret(), h.Get, body, now),
			"version":   Verify(fresh.secret(), change(headerSignature, strings.Replace(h.Get(headerSignature), "v1,", "v2,", 2)), body, now),
		} {
			if !errors.Is(err, ErrBadSignature) {
				t.Errorf("%s: %v", what, err)
			}
		}
		for _, name := range []string{headerID, headerTimestamp, headerSignature} {
			if err := Verify(fresh.secret(), change(name, ""), body, now); !errors.Is(err, ErrUnsigned) {
				t.Errorf("no %s: %v", name, err)
			}
		}
	})
	t.Run("refuses a timestamp more than five minutes away", func(t *testing.T) {
		for _, d := range []time.Duration{10 * time.Minute, -10 * time.Minute} {
			if err := Verify(fresh.secret(), h.Get, body, now.Add(d)); !errors.Is(err, ErrTimestamp) {
				t.Errorf("%s: %v", d, err)
			}
		}
		if err := Verify(fresh.secret(), h.Get, body, now.Add(4*time.Minute)); err != nil {
			t.Error(err)
		}
	})
	t.Run("refuses a secret that is none", func(t *testing.T) {
		for _, s := range []string{"", "whsec_", "whsec_*", OlderSecret(fresh.secret())} {
			if Verify(s, h.Get, body, now) == nil {
				t.Errorf("accepted %q", s)
			}
		}
	})
}

func TestOlderHeader(t *testing.T) {
	t.Parallel()
	key, body := newSigningKey(), []byte(`{"data":"{id} {timestamp}"}`)

	t.Run("is by default the lower-case hex HMAC of the body under the secret's hex characters", func(t *testing.T) {
		mac := hmac.New(sha256.New, []byte(OlderSecret(key.secret())))
		mac.Write(body)
		want := hex.EncodeToString(mac.Sum(nil))
		if got := (OlderHeader{}).withDefaults().value(key, "evt_1", 7, body); got != want {
			t.Fatalf("%s, not %s", got, want)
		}
	})
	t.Run("follows its templates, and leaves braces of the body alone", func(t *testing.T) {
		o := OlderHeader{Value: "t=1,sha256={hex}", Signed: "{timestamp}.{id}.{body}", DecodedKey: true}.withDefaults()
		mac := hmac.New(sha256.New, key)
		fmt.Fprintf(mac, "7.evt_1.%s", body)
		if got, want := o.value(key, "evt_1", 7, body), "t=1,sha256="+hex.EncodeToString(mac.Sum(nil)); got != want {
			t.Fatalf("%s, not %s", got, want)
		}
	})
	t.Run("refuses names and templates that cannot work", func(t *testing.T) {
		if err := (OlderHeader{}).Check(); err != nil {
			t.Fatal(err)
		}
		for _, o := range []OlderHeader{{Name: "Webhook-Id"}, {Name: "Content-Digest"}, {Name: "Host"}, {Name: "a b"}, {Value: "sha256"}, {Value: "{hex}\n"}, {Signed: "{id}"}} {
			if o.Check() == nil {
				t.Errorf("accepted %+v", o)
			}
		}
	})
}

func TestSecretsHideThemselves(t *testing.T) {
	t.Parallel()
	key := signingKey(bytes.Repeat([]byte("k"), secretSize))
	in := CreateWebhookInput{URL: "https://a.example", Headers: []WebhookHeaderInput{{Name: "Authorization", Value: "planted-value"}}}
	var out strings.Builder
	log := slog.New(slog.NewTextHandler(&out, nil))
	log.Info("x", "key", key, "header", in.Headers[0])
	fmt.Fprintf(&out, "%v %+v %#v %s %x %v %+v %#v %v", key, key, key, key, key, in, in, in.Headers, fmt.Errorf("%v", in.Headers[0]))
	for _, planted := range []string{"planted-value", "kkkk", "6b6b6b6b", "107 107"} {
		if strings.Contains(out.String(), planted) {
			t.Errorf("%q shows in %s", planted, out.String())
		}
	}
}

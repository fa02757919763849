package seal_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"testing"

	"github.com/enrichd/enrichd/internal/seal"
)

func TestBox(t *testing.T) {
	t.Parallel()
	box, err := seal.New(bytes.Repeat([]byte{7}, seal.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	sealed := box.Seal([]byte("hush"), []byte("webhook-1"))

	t.Run("opens what it sealed", func(t *testing.T) {
		plain, err := box.Open(sealed, []byte("webhook-1"))
		if err != nil || string(plain) != "hush" {
			t.Fatalf("got %q, %v", plain, err)
		}
	})
	t.Run("refuses another owner, another key, and any changed byte", func(t *testing.T) {
		if _, err := box.Open(sealed, []byte("webhook-2")); err == nil {
			t.Error("opened under another owner")
		}
		other, _ := seal.New(seal.NewKey())
		if _, err := other.Open(sealed, []byte("webhook-1")); err == nil {
			t.Error("opened with another key")
		}
		for i := range sealed {
			bad := bytes.Clone(sealed)
			bad[i] ^= 1
			if _, err := box.Open(bad, []byte("webhook-1")); err == nil {
				t.Errorf("opened with byte %d changed", i)
			}
		}
		for n := range sealed {
			if _, err := box.Open(sealed[:n], []byte("webhook-1")); err == nil {
				t.Errorf("opened the first %d bytes", n)
			}
		}
	})
	t.Run("never seals the same bytes twice alike", func(t *testing.T) {
		if bytes.Equal(sealed, box.Seal([]byte("hush"), []byte("webhook-1"))) {
			t.Error("two seals are equal")
		}
	})
	t.Run("digests by purpose", func(t *testing.T) {
		a, b := box.Digest("key", []byte("x")), box.Digest("person", []byte("x"))
		if bytes.Equal(a, b) || !bytes.Equal(a, box.Digest("key", []byte("x"))) {
			t.Error("digests mix purposes or change")
		}
	})
}

func TestParseKey(t *testing.T) {
	t.Parallel()
	key := seal.NewKey()
	for _, s := range []string{hex.EncodeToString(key), base64.StdEncoding.EncodeToString(key), base64.RawURLEncoding.EncodeToString(key)} {
		if got, err := seal.ParseKey(s); err != nil || !bytes.Equal(got, key) {
			t.Errorf("%q: %v", s, err)
		}
	}
	for _, s := range []string{"", "short", hex.EncodeToString(key[:31])} {
		if _, err := seal.ParseKey(s); err == nil {
			t.Errorf("accepted %q", s)
		}
	}
}

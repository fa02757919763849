package access

import (
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/enrichd/enrichd/internal/seal"
)

// Pepper is the server's part of every key's digest: whoever reads the
// database without it can neither check nor make a key. Version 0 is derived from the master key.
type Pepper struct {
	Version int
	secret  []byte
}

// ParsePeppers reads "VERSION:SECRET" or "VERSION:SECRET,VERSION:SECRET", newest
// first; a secret is written as a master key is. Two may be in force at once, so
// that digests can move to the newest as keys are used. With one given, the one derived from the master key is the older.
func ParsePeppers(s string) ([]Pepper, error) {
	var out []Pepper
	for item := range strings.SplitSeq(s, ",") {
		if item = strings.TrimSpace(item); item == "" {
			continue
		}
		version, secret, _ := strings.Cut(item, ":")
		n, err := strconv.ParseInt(version, 10, 16)
		if err != nil || n < 1 {
			return nil, errors.New("a pepper is VERSION:SECRET, with a version from 1 up")
		}
		key, err := seal.ParseKey(secret)
		if err != nil {
			return nil, fmt.Errorf("pepper %d: its secret is 32 bytes, written as 64 hex digits or as base64", n)
		}
		out = append(out, Pepper{int(n), key})
	}
	switch {
	case len(out) > 2:
		return nil, errors.New("at most two peppers may be in force")
	case len(out) == 2 && out[0].Version <= out[1].Version:
		return nil, errors.New("the newest pepper comes first")
	}
	return out, nil
}

// peppered is a token's digest under one version.
type peppered struct {
	version int
	digest  []byte
}

// digests are those a token may be stored under, newest first.
func (s *Service) digests(token string) []peppered {
	var out []peppered
	for _, p := range s.Peppers {
		mac := hmac.New(sha256.New, p.secret)
		mac.Write([]byte(token))
		out = append(out, peppered{p.Version, mac.Sum(nil)})
	}
	if len(out) < 2 {
		out = append(out, peppered{0, s.Box.Digest("api key", []byte(token))})
	}
	return out
}

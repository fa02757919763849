// Package ident makes the ids that callers see.
package ident

import (
	"encoding/base32"
	"strings"

	"github.com/google/uuid"
)

// crockford is lower-case base 32 without letters that are easily confused, so
// that an id can be read aloud; it keeps the byte order, so ids sort by time.
var crockford = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// New returns prefix + "_" + a version 7 UUID (RFC 9562) in base 32, such as
// "prof_06dnz1…": 26 characters after the prefix, sorting by the time of making.
func New(prefix string) string {
	id := uuid.Must(uuid.NewV7())
	return prefix + "_" + crockford.EncodeToString(id[:])
}

// NewRun returns a run id in the older contract's own form, "enr_<uuid>", with a
// version 7 UUID so that run ids sort by time.
func NewRun() string { return "enr_" + uuid.Must(uuid.NewV7()).String() }

// NewUUID returns a version 7 UUID in its plain form, for companies and keys,
// whose ids the older contract shows as UUIDs.
func NewUUID() string { return uuid.Must(uuid.NewV7()).String() }

// NewRandomUUID returns a version 4 UUID in its plain form, for webhooks and
// deliveries, whose ids must tell nothing about when they were made.
func NewRandomUUID() string { return uuid.NewString() }

// NewProfile returns an id for a profile.
func NewProfile() string { return New(profilePrefix) }

const profilePrefix = "prof"

// IsProfile reports whether s has the form that NewProfile gives.
func IsProfile(s string) bool {
	rest, ok := strings.CutPrefix(s, profilePrefix+"_")
	if !ok || len(rest) != crockford.EncodedLen(16) {
		return false
	}
	_, err := crockford.DecodeString(rest)
	return err == nil
}

// IsUUID reports whether s is a UUID in its plain 36-character form.
func IsUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	_, err := uuid.Parse(s)
	return err == nil
}

// IsRun reports whether s has the form that NewRun gives.
func IsRun(s string) bool {
	rest, ok := strings.CutPrefix(s, "enr_")
	return ok && IsUUID(rest)
}

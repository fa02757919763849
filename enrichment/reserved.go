package enrichment

import "strings"

// The reserved ids answer test keys only; the sandbox sources play their
// outcomes, but for the suppressed one, which no source is ever asked about.
const (
	reservedPrefix     = "profile_test_"
	reservedSuppressed = reservedPrefix + "suppressed"
)

func reserved(id string) bool { return strings.HasPrefix(id, reservedPrefix) }

// Package fault holds the refusals a caller can act on. Each is a Go error and,
// under the same name, a GraphQL type that implements UserError; anything that
// is not a User is a fault of ours and stays on the server.
package fault

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Code says which kind of refusal an error is; clients switch on it.
type Code string

// The codes of the GraphQL enum UserErrorCode, spelled alike.
const (
	CodeInvalidInput         Code = "INVALID_INPUT"
	CodeNotFound             Code = "NOT_FOUND"
	CodeConflict             Code = "CONFLICT"
	CodeLimitExceeded        Code = "LIMIT_EXCEEDED"
	CodeInsufficientCredits  Code = "INSUFFICIENT_CREDITS"
	CodeIdempotencyKeyReused Code = "IDEMPOTENCY_KEY_REUSED"
	CodePersonSuppressed     Code = "PERSON_SUPPRESSED"
	CodeEndpointRejected     Code = "ENDPOINT_REJECTED"
)

// User is a refusal: it has a stable code, a message fit to show a person, and
// the path of the input that is to blame (nil when no single field is).
type User interface {
	error
	Code() Code
	Where() []string
}

// Head is what every refusal carries.
type Head struct {
	Message string
	// Field is the path into the input, outermost first; nil when no single field is to blame.
	Field []string
}

// Error returns the message.
func (h Head) Error() string { return h.Message }

// Where returns the path into the input.
func (h Head) Where() []string { return h.Field }

// InvalidInput says that a value is malformed or out of bounds.
type InvalidInput struct{ Head }

// Code is INVALID_INPUT.
func (InvalidInput) Code() Code { return CodeInvalidInput }

// NotFound says that the named object does not exist for this caller; another
// company's object is not found as well.
type NotFound struct {
	Head
	// Type and ID name what was looked for, as the older contract shows them ("WebhookConfig").
	Type, ID string
}

// Code is NOT_FOUND.
func (NotFound) Code() Code { return CodeNotFound }

// Conflict says that the object is not in a state that allows the request.
type Conflict struct {
	Head
	// State is the state that stood in the way.
	State string
}

// Code is CONFLICT.
func (Conflict) Code() Code { return CodeConflict }

// LimitExceeded says that a count or size is above its limit.
type LimitExceeded struct {
	Head
	Limit, Actual int
}

// Code is LIMIT_EXCEEDED.
func (LimitExceeded) Code() Code { return CodeLimitExceeded }

// IdempotencyKeyReused says that the key was first used with other input.
type IdempotencyKeyReused struct {
	Head
	// OriginalRequestID is what the key was first used for.
	OriginalRequestID string
}

// Code is IDEMPOTENCY_KEY_REUSED.
func (IdempotencyKeyReused) Code() Code { return CodeIdempotencyKeyReused }

// Forbidden says that the key may not do this: a scope that it lacks, an
// object of another company, an address that it may not be used from. It is
// no UserError: both surfaces answer it at their own door (GraphQL FORBIDDEN, REST 403).
type Forbidden struct {
	Message string
	// RequiredScope is set when a scope is missing.
	RequiredScope string
}

// Error returns the message.
func (f Forbidden) Error() string { return f.Message }

// Invalid makes an InvalidInput about the field at path ("profileIds.3" splits at the dots), which begins inside the input.
func Invalid(path, format string, args ...any) InvalidInput {
	h := Head{Message: fmt.Sprintf(format, args...)}
	if path != "" {
		h.Field = strings.Split(path, ".")
	}
	return InvalidInput{h}
}

// Users digs every refusal out of err, joined and wrapped ones included, and
// returns them with what is left over; rest is nil when all of err was refusals.
func Users(err error) (refusals []User, rest error) {
	if err == nil {
		return nil, nil
	}
	if u, ok := err.(User); ok {
		return []User{u}, nil
	}
	switch e := err.(type) {
	case interface{ Unwrap() []error }:
		var others []error
		for _, one := range e.Unwrap() {
			u, r := Users(one)
			refusals = append(refusals, u...)
			if r != nil {
				others = append(others, r)
			}
		}
		return refusals, errors.Join(others...)
	case interface{ Unwrap() error }:
		if refusals, rest = Users(e.Unwrap()); len(refusals) > 0 {
			return refusals, rest
		}
	}
	return nil, err
}

// Text checks a string from outside before it meets the database: valid UTF-8,
// no NUL byte (pgdriver would send broken SQL), and at most max bytes (0: no limit).
// It returns nil or an InvalidInput about path.
func Text(path, s string, max int) error {
	switch {
	case !utf8.ValidString(s) || strings.ContainsRune(s, utf8.RuneError):
		return Invalid(path, "must be valid UTF-8")
	case strings.IndexByte(s, 0) >= 0:
		return Invalid(path, "must not contain NUL bytes")
	case max > 0 && len(s) > max:
		return Invalid(path, "must be at most %d bytes long, not %d", max, len(s))
	}
	return nil
}

// Characters checks a string as Text does, and counts what people count: at most
// max characters (Unicode code points, as JSON Schema's maxLength), however many bytes they take; 0 is no limit.
func Characters(path, s string, max int) error {
	if err := Text(path, s, 0); err != nil {
		return err
	}
	if n := utf8.RuneCountInString(s); max > 0 && n > max {
		return Invalid(path, "must be at most %d characters long, not %d", max, n)
	}
	return nil
}

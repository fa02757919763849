package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
)

// Kind says how an attempt failed. It is an error itself, so that callers ask
// errors.Is(err, egress.Timeout).
type Kind string

// The kinds. A wrong content type or an unwelcome status is the caller's business, not a failure here.
const (
	// Refused by the guard: scheme, port, address, form of the URL, or the caller's own redirect check.
	Refused Kind = "refused"
	// Timeout: the attempt's deadline, or that of connecting or of the TLS handshake, passed.
	Timeout Kind = "timeout"
	// TooLarge: the body is larger than Request.MaxBytes.
	TooLarge Kind = "too_large"
	// TooManyRedirects: more hops than allowed, or a loop.
	TooManyRedirects Kind = "too_many_redirects"
	// Bomb: the body unpacks to more than a hundred times its size.
	Bomb Kind = "decompression_bomb"
	// Broken: anything else between name lookup and the last byte of the body.
	Broken Kind = "broken"
	// Cancelled: the caller's context was cancelled.
	Cancelled Kind = "cancelled"
)

// Error returns the kind's name.
func (k Kind) Error() string { return string(k) }

// The phases of an attempt, in order; Error.Phase is the one it died in.
const (
	PhaseURL      = "url"
	PhaseDNS      = "dns"
	PhaseConnect  = "connect"
	PhaseTLS      = "tls"
	PhaseSend     = "send"
	PhaseHeaders  = "headers"
	PhaseBody     = "body"
	PhaseRedirect = "redirect"
)

// Error is every error that Client and Dialer return.
type Error struct {
	Kind  Kind
	Phase string
	// Reason is a stable word for what was refused: scheme, port, address, host, credentials, too_long, url, network, redirect; "" otherwise.
	Reason string
	// Detail is for people; it never holds a URL's path or query, nor a header.
	Detail string
	Err    error // the cause; may be nil
}

// Error describes the failure for people.
func (e *Error) Error() string {
	s := string(e.Kind) + " (" + e.Phase + ")"
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is makes errors.Is(err, kind) work.
func (e *Error) Is(target error) bool {
	k, ok := target.(Kind)
	return ok && k == e.Kind
}

// KindOf returns the kind of an error of this package, Broken for any other error, "" for nil.
func KindOf(err error) Kind {
	var e *Error
	switch {
	case err == nil:
		return ""
	case errors.As(err, &e):
		return e.Kind
	default:
		return Broken
	}
}

func refuse(phase, reason, format string, args ...any) *Error {
	return &Error{Kind: Refused, Phase: phase, Reason: reason, Detail: fmt.Sprintf(format, args...)}
}

// classify turns whatever the transport returned into an *Error. caller is the
// context that came in, attempt the one with the attempt's own deadline.
func classify(caller, attempt context.Context, phase string, err error) *Error {
	var own *Error
	if errors.As(err, &own) {
		return own
	}
	var netErr net.Error
	switch {
	case errors.Is(caller.Err(), context.Canceled):
		return &Error{Kind: Cancelled, Phase: phase, Err: caller.Err()}
	case attempt.Err() != nil,
		errors.Is(err, context.DeadlineExceeded),
		errors.Is(err, os.ErrDeadlineExceeded),
		errors.As(err, &netErr) && netErr.Timeout():
		return &Error{Kind: Timeout, Phase: phase, Err: err}
	default:
		return &Error{Kind: Broken, Phase: phase, Err: err}
	}
}

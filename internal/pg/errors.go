package pg

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/uptrace/bun/driver/pgdriver"
)

// Code returns the SQLSTATE of the server's error in err's chain, from either
// driver, or "" when there is none.
func Code(err error) string {
	if ours, ok := errors.AsType[pgdriver.Error](err); ok {
		return ours.Field('C')
	}
	if theirs, ok := errors.AsType[*pgconn.PgError](err); ok {
		return theirs.Code
	}
	return ""
}

// Constraint returns the name of the constraint that err violates, or "".
func Constraint(err error) string {
	if ours, ok := errors.AsType[pgdriver.Error](err); ok {
		return ours.Field('n')
	}
	if theirs, ok := errors.AsType[*pgconn.PgError](err); ok {
		return theirs.ConstraintName
	}
	return ""
}

// IsUnavailable reports whether err says that the database could not be reached
// or was too busy to answer, so that the same call may succeed later. After one
// on COMMIT it is unknown whether the transaction was kept.
func IsUnavailable(err error) bool {
	if err == nil || errors.Is(err, context.Canceled) {
		return false
	}
	if code := Code(err); code != "" {
		switch {
		case strings.HasPrefix(code, "08"), // connection exception
			strings.HasPrefix(code, "53"),  // insufficient resources
			strings.HasPrefix(code, "57P"): // shutdown, crash, starting up
			return true
		}
		switch code {
		case "55P03", // lock_timeout
			"57014", // statement_timeout
			"25P03", // idle_in_transaction_session_timeout
			"40001", // serialization failure
			"40P01": // deadlock
			return true
		}
		return false
	}
	if errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) ||
		errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) ||
		errors.Is(err, syscall.ENOENT) || errors.Is(err, context.DeadlineExceeded) {
		return true
	}
	_, isNet := errors.AsType[net.Error](err)
	return isNet
}

// deadline names a timed-out socket what it is: pgdriver sets the context's
// deadline on the socket and then reports "i/o timeout".
func deadline(ctx context.Context, err error) error {
	timeout, ok := errors.AsType[net.Error](err)
	if !ok || !timeout.Timeout() || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	// The socket's clock may be a moment ahead of the context's timer.
	if at, bounded := ctx.Deadline(); bounded && !time.Now().Before(at) {
		return fmt.Errorf("%w: %w", context.DeadlineExceeded, err)
	}
	return err
}

package source

import (
	"errors"
	"time"
)

// The HTTP status codes that mean something here (RFC 9110 section 15, RFC 6585, RFC 7725).
const (
	statusOK              = 200
	statusNotModified     = 304
	statusUnauthorized    = 401
	statusForbidden       = 403
	statusNotFound        = 404
	statusProxyAuth       = 407
	statusRequestTimeout  = 408
	statusGone            = 410
	statusTooManyRequests = 429
	statusLegalReasons    = 451
	statusUnavailable     = 503
)

// httpDate reads the three date formats of HTTP (RFC 9110 section 5.6.7).
func httpDate(s string) (time.Time, error) {
	for _, format := range []string{"Mon, 02 Jan 2006 15:04:05 GMT", "Monday, 02-Jan-06 15:04:05 GMT", time.ANSIC} {
		if at, err := time.Parse(format, s); err == nil {
			return at, nil
		}
	}
	return time.Time{}, errors.New("not an HTTP date")
}

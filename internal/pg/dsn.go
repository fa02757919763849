package pg

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/uptrace/bun/driver/pgdriver"
)

const applicationName = "enrichd"

// sessionDefaults are the parameters every session starts with. lock_timeout is
// shorter than a transaction, so that a waiter fails before its own bound does.
func sessionDefaults(statementTimeout time.Duration) map[string]string {
	params := map[string]string{
		"statement_timeout":                   strconv.FormatInt(statementTimeout.Milliseconds(), 10),
		"client_connection_check_interval":    "500",
		"idle_in_transaction_session_timeout": "15000",
		"lock_timeout":                        "4000",
	}
	if statementTimeout == 0 {
		// Whoever lifts the one bound means to wait: migrations behind a long lock, maintenance.
		params["lock_timeout"] = "0"
		params["idle_in_transaction_session_timeout"] = "0"
	}
	return params
}

// newConnector reads dsn with pgx's parser, so that both drivers understand the
// same DSN, and prepares one pgdriver connector per host and TLS attempt.
func newConnector(dsn string, o options) (*connector, error) {
	parsed, err := pgconn.ParseConfig(dsn)
	if err != nil {
		return nil, fmt.Errorf("database URL: %w", hideDSN(err))
	}
	if err := checkTLS(parsed, o); err != nil {
		return nil, err
	}
	params := sessionDefaults(o.statementTimeout)
	name := applicationName
	for key, value := range parsed.RuntimeParams {
		switch key {
		case "application_name":
			name = value
		case "options":
			return nil, errors.New(`database URL: "options" is not supported; name the parameter itself, as in ?search_path=app`)
		default:
			params[key] = value
		}
	}
	readTimeout, err := readTimeoutFor(params["statement_timeout"])
	if err != nil {
		return nil, err
	}

	c := &connector{params: params}
	for _, host := range attempts(parsed) {
		network, addr := pgconn.NetworkAddress(host.Host, host.Port)
		c.hosts = append(c.hosts, pgdriver.NewConnector(func(conf *pgdriver.Config) {
			conf.Network, conf.Addr = network, addr
			conf.User, conf.Password = parsed.User, parsed.Password
			if conf.Database = parsed.Database; conf.Database == "" {
				conf.Database = parsed.User // as libpq does
			}
			conf.AppName = name
			conf.TLSConfig = nil // the dialer's
			conf.ReadTimeout = readTimeout
			conf.EnableTracing = false
			conf.BufferSize = 16 << 10
			conf.Dialer = (&dialer{dialTimeout(parsed.ConnectTimeout), host.TLSConfig}).dial
		}))
	}
	return c, nil
}

func dialTimeout(configured time.Duration) time.Duration {
	if configured > 0 {
		return configured
	}
	return 5 * time.Second
}

// readTimeoutFor gives the driver two seconds more than the server, so that the
// server's own timeout, which keeps the connection's state known, comes first.
func readTimeoutFor(statementTimeout string) (time.Duration, error) {
	if ms, err := strconv.ParseInt(statementTimeout, 10, 64); err == nil && ms >= 0 {
		if ms == 0 {
			return 0, nil
		}
		return time.Duration(ms)*time.Millisecond + 2*time.Second, nil
	}
	d, err := time.ParseDuration(strings.ReplaceAll(statementTimeout, " ", ""))
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("database URL: statement_timeout %q: give milliseconds", statementTimeout)
	}
	return d + 2*time.Second, nil
}

// attempts lists where to connect, in order. On this machine itself, the default
// "TLS if there is any" becomes plain at once: pgdriver cannot ask and go on.
func attempts(parsed *pgconn.Config) []pgconn.FallbackConfig {
	all := []pgconn.FallbackConfig{{Host: parsed.Host, Port: parsed.Port, TLSConfig: parsed.TLSConfig}}
	for _, f := range parsed.Fallbacks {
		all = append(all, *f)
	}
	plain := func(host string, port uint16) bool {
		return slices.ContainsFunc(all, func(f pgconn.FallbackConfig) bool {
			return f.Host == host && f.Port == port && f.TLSConfig == nil
		})
	}
	return slices.DeleteFunc(all, func(f pgconn.FallbackConfig) bool {
		return f.TLSConfig != nil && local(f.Host) && plain(f.Host, f.Port)
	})
}

// checkTLS refuses a remote host whose certificate would not be verified, on any
// of the ways that the DSN allows: an attacker picks the weakest.
func checkTLS(parsed *pgconn.Config, o options) error {
	if o.allowInsecure {
		return nil
	}
	for _, host := range attempts(parsed) {
		if !local(host.Host) && !verifies(host.TLSConfig) {
			return fmt.Errorf("database URL: the connection to %s would not be verified; use sslmode=verify-full (with sslrootcert for a private authority), or allow an insecure connection explicitly on a trusted network", host.Host)
		}
	}
	return nil
}

func verifies(c *tls.Config) bool {
	return c != nil && (!c.InsecureSkipVerify || c.VerifyPeerCertificate != nil || c.VerifyConnection != nil)
}

// local reports whether host is a unix socket or this machine's loopback.
func local(host string) bool {
	if filepath.IsAbs(host) || strings.HasPrefix(host, "@") || host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// hideDSN keeps a password out of logs: the URL parser quotes what it could not read.
func hideDSN(err error) error {
	var parse *url.Error
	if errors.As(err, &parse) {
		return parse.Err
	}
	return err
}

type dialedKey struct{}

// dialer opens the socket, with TLS where it is configured, and leaves it in ctx:
// the guard sends through it, and closes it where pgdriver leaves it open, out
// of reach, because a handshake on it failed.
type dialer struct {
	timeout time.Duration
	tls     *tls.Config
}

func (d *dialer) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := (&net.Dialer{Timeout: d.timeout, KeepAlive: time.Minute}).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	if d.tls != nil {
		secure, err := d.secure(ctx, conn)
		if err != nil {
			_ = conn.Close()
			return nil, err
		}
		conn = secure
	}
	w := &wire{Conn: conn}
	if dialed, ok := ctx.Value(dialedKey{}).(**wire); ok {
		*dialed = w
	}
	return w, nil
}

// secure asks for TLS and shakes hands. It reads the one byte of the answer and
// no more, so that nothing sent in the clear can pass for what came over TLS.
func (d *dialer) secure(ctx context.Context, conn net.Conn) (net.Conn, error) {
	if err := conn.SetDeadline(time.Now().Add(d.timeout)); err != nil {
		return nil, err
	}
	if _, err := conn.Write(sslRequest); err != nil {
		return nil, fmt.Errorf("ask for TLS: %w", err)
	}
	var answer [1]byte
	if _, err := conn.Read(answer[:]); err != nil {
		return nil, fmt.Errorf("ask for TLS: %w", err)
	}
	if answer[0] != 'S' {
		return nil, errors.New("the server does not offer TLS")
	}
	secure := tls.Client(conn, d.tls)
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("TLS handshake: %w", err)
	}
	return secure, conn.SetDeadline(time.Time{})
}

// sslRequest is the message SSLRequest: its length, 8, and the code 80877103.
var sslRequest = []byte{0, 0, 0, 8, 4, 210, 22, 47}

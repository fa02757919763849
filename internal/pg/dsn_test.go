package pg_test

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/uptrace/bun/driver/pgdriver"

	"github.com/enrichd/enrichd/internal/pg"
	"github.com/enrichd/enrichd/internal/pgtest"
)

func TestTLS(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		dsn     string
		refused bool
	}{
		{"postgres://u@db.example.com/app", true}, // no sslmode: whatever the server offers
		{"postgres://u@db.example.com/app?sslmode=disable", true},
		{"postgres://u@db.example.com/app?sslmode=require", true},
		{"postgres://u@203.0.113.7/app?sslmode=prefer", true},
		{"host=db.example.com user=u dbname=app", true},
		{"postgres://u@localhost,db.example.com/app", true},
		{"postgres://u@db.example.com/app?sslmode=verify-full", false},
		{"postgres://u@db.example.com/app?sslmode=verify-ca", false},
		{"postgres://u@localhost/app", false},
		{"postgres://u@127.0.0.1:6543/app?sslmode=disable", false},
		{"postgres://u@[::1]/app", false},
		{"postgres:///app?host=/var/run/postgresql", false},
	} {
		_, err := pg.Open(c.dsn, 1)
		if (err != nil) != c.refused {
			t.Errorf("%s: got %v, want refused %t", c.dsn, err, c.refused)
		}
		if _, err := pg.Open(c.dsn, 1, pg.AllowInsecure(true)); err != nil {
			t.Errorf("%s: refused though allowed: %v", c.dsn, err)
		}
		pool, err := pg.OpenPool(t.Context(), c.dsn, 1)
		if (err != nil) != c.refused {
			t.Errorf("pool on %s: got %v, want refused %t", c.dsn, err, c.refused)
		}
		if err == nil {
			pool.Close()
		}
	}
}

func TestOpen(t *testing.T) {
	t.Parallel()
	t.Run("keeps the password out of its errors", func(t *testing.T) {
		t.Parallel()
		for _, dsn := range []string{"postgres://u:hunter2@host:port/x", "postgres://u:hunter2@[::1/x", "postgres://u:hunter2%zz@host/x"} {
			if _, err := pg.Open(dsn, 1); err == nil || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%q: got %v", dsn, err)
			}
		}
	})
	t.Run("bounds every session, and lets the DSN choose otherwise", func(t *testing.T) {
		t.Parallel()
		dsn := pgtest.Empty(t).DSN
		for _, c := range []struct{ dsn, name, want string }{
			{dsn, "statement_timeout", "8s"},
			{dsn, "lock_timeout", "4s"},
			{dsn, "idle_in_transaction_session_timeout", "15s"},
			{dsn, "client_connection_check_interval", "500ms"},
			{dsn, "application_name", "enrichd"},
			{dsn + "&lock_timeout=1234&application_name=other", "lock_timeout", "1234ms"},
			{dsn + "&application_name=other", "application_name", "other"},
		} {
			db, err := pg.Open(c.dsn, 1)
			if err != nil {
				t.Fatal(err)
			}
			var got string
			if err := db.NewRaw("SHOW "+c.name).Scan(t.Context(), &got); err != nil || got != c.want {
				t.Errorf("%s: got %q, %v, want %q", c.name, got, err, c.want)
			}
			_ = db.Close()
		}
	})
	t.Run("closes the socket of a failed handshake, which the bare driver leaves open", func(t *testing.T) {
		t.Parallel()
		refuser := refuseEverybody(t)
		var dialed net.Conn // held here, or the garbage collector may close it in the driver's stead
		connector := pgdriver.NewConnector(pgdriver.WithAddr(refuser.addr), pgdriver.WithInsecure(true), func(c *pgdriver.Config) {
			c.Dialer = func(ctx context.Context, network, addr string) (conn net.Conn, err error) {
				dialed, err = (&net.Dialer{}).DialContext(ctx, network, addr)
				return dialed, err
			}
		})
		if _, err := connector.Connect(t.Context()); err == nil {
			t.Fatal("connected")
		}
		if refuser.closedByClient(t) {
			t.Fatal("pgdriver has learned to close it")
		}
		_ = dialed.Close()
		refuser.closedByClient(t)
		db, err := pg.Open("postgres://u@"+refuser.addr+"/x?sslmode=disable", 1)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = db.Close() }()
		if err := db.PingContext(t.Context()); pg.Code(err) != "53300" || !pg.IsUnavailable(err) {
			t.Fatalf("got %v, want 53300", err)
		}
		if !refuser.closedByClient(t) {
			t.Fatal("the socket is still open")
		}
	})
	t.Run("says that nobody listens in a way that can be told apart", func(t *testing.T) {
		t.Parallel()
		for _, dsn := range []string{"postgres://u@127.0.0.1:1/x", "postgres://u@/x?host=" + t.TempDir()} {
			db, err := pg.Open(dsn, 1)
			if err != nil {
				t.Fatal(err)
			}
			if err := db.PingContext(t.Context()); !pg.IsUnavailable(err) {
				t.Errorf("%s: %v is not unavailable", dsn, err)
			}
			_ = db.Close()
		}
	})
}

// refuser is a server that turns every client away and then waits for it to hang up.
type refuser struct {
	addr   string
	closed chan struct{}
}

func refuseEverybody(t *testing.T) refuser {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	r := refuser{addr: listener.Addr().String(), closed: make(chan struct{}, 16)}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				if _, err := conn.Read(make([]byte, 512)); err != nil {
					return
				}
				fields := "SFATAL\x00VFATAL\x00C53300\x00Mtoo many clients\x00\x00"
				_, _ = conn.Write(append([]byte{'E', 0, 0, 0, byte(4 + len(fields))}, fields...))
				if _, err := io.Copy(io.Discard, conn); err == nil {
					r.closed <- struct{}{}
				}
			}()
		}
	}()
	return r
}

func (r refuser) closedByClient(t *testing.T) bool {
	t.Helper()
	select {
	case <-r.closed:
		return true
	case <-time.After(300 * time.Millisecond):
		return false
	}
}

func TestAdvisoryLock(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Empty(t).DSN
	unlock, err := pg.AdvisoryLock(t.Context(), dsn, "one")
	if err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := pg.AdvisoryLock(short, dsn, "one"); err == nil {
		t.Fatal("two hold it")
	}
	other, err := pg.AdvisoryLock(t.Context(), dsn, "another")
	if err != nil {
		t.Fatalf("another name waits: %v", err)
	}
	other()
	unlock()
	again, err := pg.AdvisoryLock(t.Context(), dsn, "one")
	if err != nil {
		t.Fatal(err)
	}
	again()
}

func TestConnect(t *testing.T) {
	t.Parallel()
	const remote = "postgres://u:p@db.example/x?sslmode=require"
	if _, err := pg.Connect(t.Context(), remote); err == nil || !strings.Contains(err.Error(), "would not be verified") {
		t.Errorf("a connection of its own skips the rule: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // the rule comes first, and is lifted: what is left to fail is the connection itself
	if _, err := pg.Connect(ctx, remote, pg.AllowInsecure(true)); err == nil || strings.Contains(err.Error(), "would not be verified") {
		t.Errorf("%v", err)
	}
}

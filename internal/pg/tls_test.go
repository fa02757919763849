package pg_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/uptrace/bun"

	"github.com/enrichd/enrichd/internal/pg"
	"github.com/enrichd/enrichd/internal/pgserver"
)

// TestOverTLS runs against a server that takes nothing but verified TLS.
func TestOverTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	// A loopback address of its own, because the port is part of the socket's name.
	var last [2]byte
	_, _ = rand.Read(last[:])
	host := fmt.Sprintf("127.77.%d.%d", last[0], 1+last[1]%250)
	server, err := pgserver.Start(t.Context(), pgserver.Config{Dir: filepath.Join(dir, "server"), Fast: true})
	if err != nil {
		t.Fatal(err)
	}
	owner, err := os.Stat(filepath.Join(dir, "server", "data"))
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	files := filepath.Join(dir, "server", "data", "tls")
	if err := os.Mkdir(files, 0o700); err != nil {
		t.Fatal(err)
	}
	root := certify(t, files, host)
	write(t, filepath.Join(files, "hba.conf"), "local all all peer map=enrichd\nhostssl all all 127.0.0.0/8 trust\n")
	write(t, filepath.Join(dir, "root.crt"), root)
	for _, name := range []string{"", "hba.conf", "server.crt", "server.key"} {
		stat := owner.Sys().(*syscall.Stat_t)
		if err := os.Chown(filepath.Join(files, name), int(stat.Uid), int(stat.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	server, err = pgserver.Start(t.Context(), pgserver.Config{Dir: filepath.Join(dir, "server"), Fast: true, Settings: map[string]string{
		"listen_addresses": host, "hba_file": filepath.Join(files, "hba.conf"), "ssl": "on",
		"ssl_cert_file": filepath.Join(files, "server.crt"), "ssl_key_file": filepath.Join(files, "server.key"),
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Stop() }()

	dsn := fmt.Sprintf("postgres://%s@%s:5432/postgres", pgserver.User, host)
	open := func(query string) *bun.DB {
		db, err := pg.Open(dsn+query, 2)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		return db
	}
	verified := open("?sslmode=verify-full&sslrootcert=" + filepath.Join(dir, "root.crt"))

	for range 3 { // on one connection, the second and third from the pool
		var secure bool
		err := pg.InTx(t.Context(), verified, func(ctx context.Context, tx bun.Tx) error {
			if err := exec(ctx, tx, "CREATE TEMP TABLE things (id int) ON COMMIT DROP"); err != nil {
				return err
			}
			if err := tx.Tx.QueryRowContext(ctx, "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").Scan(&secure); err != nil {
				return err
			}
			return exec(pg.Last(ctx), tx, "INSERT INTO things VALUES ($1)", 1)
		})
		if err != nil || !secure {
			t.Fatalf("TLS %t: %v", secure, err)
		}
	}
	if n := verified.Stats().OpenConnections; n != 1 {
		t.Errorf("%d connections: those that live are not taken again", n)
	}
	for query, want := range map[string]string{
		"?sslmode=verify-full": "certificate",
		"?sslmode=disable":     "no encryption",
		"?sslmode=verify-full&sslrootcert=" + filepath.Join(dir, "other.crt"): "certificate",
	} {
		if strings.Contains(query, "other") {
			other := filepath.Join(dir, "other")
			if err := os.Mkdir(other, 0o700); err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(dir, "other.crt"), certify(t, other, host))
		}
		if err := open(query).PingContext(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", query, err, want)
		}
	}
}

// certify writes a certificate that signs itself for host, with its key, and returns it.
func certify(t *testing.T, dir, host string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: host}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.ParseIP(host)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	write(t, filepath.Join(dir, "server.crt"), cert)
	write(t, filepath.Join(dir, "server.key"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})))
	return cert
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

package transport_test

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

const handshake = "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
	"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n"

// FuzzSocket feeds arbitrary bytes to a socket behind its handshake: the
// connection must end, and leave nothing open. The server's own cleanup counts what is left.
func FuzzSocket(f *testing.F) {
	f.Add([]byte{0x81, 0x82, 0, 0, 0, 0, '{', '}'})
	f.Add([]byte{0x88, 0x80, 0, 0, 0, 0})
	f.Add([]byte{0x01, 0x81, 0, 0, 0, 0, '{', 0x80, 0x81, 0, 0, 0, 0, '}'})
	f.Add([]byte{0x89, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Add(append([]byte{0x81, 0x80 + 26, 0, 0, 0, 0}, `{"type":"connection_init"}`...))
	_, url := serve(f)
	address := strings.TrimPrefix(url, "http://")
	f.Fuzz(func(t *testing.T, b []byte) {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(patience))
		if _, err := conn.Write([]byte(handshake)); err != nil {
			t.Fatal(err)
		}
		head := make([]byte, len("HTTP/1.1 101"))
		if _, err := io.ReadFull(conn, head); err != nil || string(head) != "HTTP/1.1 101" {
			t.Fatalf("%q: %v", head, err)
		}
		_, _ = conn.Write(b)
		_ = conn.(*net.TCPConn).CloseWrite()
		if _, err := io.Copy(io.Discard, conn); err != nil && strings.Contains(err.Error(), "timeout") {
			t.Fatalf("still open: %v", err)
		}
	})
}

//go:build linux || darwin || freebsd

package pg

import (
	"crypto/tls"
	"net"
	"syscall"
)

// alive looks, without waiting, whether the server has hung up or said something
// unasked, which is its farewell. What is read here is peeked at only. Over TLS
// bytes may wait that are the protocol's own, so that only the end counts there.
func (w *wire) alive() bool {
	socket, secure := w.Conn, false
	if t, ok := socket.(*tls.Conn); ok {
		socket, secure = t.NetConn(), true
	}
	s, ok := socket.(interface {
		net.Conn
		syscall.Conn
	})
	if !ok {
		return true
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return false
	}
	alive := false
	err = raw.Read(func(fd uintptr) bool {
		var b [1]byte
		n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		alive = err == syscall.EAGAIN || err == syscall.EWOULDBLOCK || err == syscall.EINTR || secure && n > 0
		return true
	})
	return alive && err == nil
}

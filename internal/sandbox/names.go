package sandbox

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/miekg/dns"
)

// names is the DNS server: UDP and TCP on one port.
type names struct {
	address string
	servers []*dns.Server
	ended   chan error // one for each server
}

// portTries is how often a port is sought that is free for UDP and TCP alike.
const portTries = 20

func startNames(ctx context.Context, listen *net.ListenConfig, z *zone) (*names, error) {
	var packets net.PacketConn
	var stream net.Listener
	var err error
	for range portTries {
		if packets, err = listen.ListenPacket(ctx, "udp4", "127.0.0.1:0"); err != nil {
			break
		}
		if stream, err = listen.Listen(ctx, "tcp4", packets.LocalAddr().String()); err == nil {
			break
		}
		err = errors.Join(err, packets.Close())
	}
	if err != nil {
		return nil, fmt.Errorf("DNS server: %w", err)
	}
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, query *dns.Msg) {
		reply := z.answer(query)
		if _, overUDP := w.RemoteAddr().(*net.UDPAddr); overUDP {
			reply.Truncate(payload(query))
		}
		_ = w.WriteMsg(reply) // whoever asked is gone
	})
	n := &names{address: packets.LocalAddr().String(), ended: make(chan error, 2)}
	started := make(chan struct{}, 2)
	n.servers = []*dns.Server{
		{PacketConn: packets, Handler: handler, NotifyStartedFunc: func() { started <- struct{}{} }},
		{Listener: stream, Handler: handler, NotifyStartedFunc: func() { started <- struct{}{} }},
	}
	for _, server := range n.servers {
		go func() { n.ended <- server.ActivateAndServe() }()
	}
	for range n.servers {
		<-started // before that, Shutdown would not find anything to end
	}
	return n, nil
}

// payload is the longest answer that the asker takes in one datagram (RFC 6891, section 6.2.3).
func payload(query *dns.Msg) int {
	if edns := query.IsEdns0(); edns != nil {
		return max(int(edns.UDPSize()), dns.MinMsgSize)
	}
	return dns.MinMsgSize
}

func (n *names) close() error {
	var errs []error
	for _, server := range n.servers {
		errs = append(errs, server.Shutdown())
	}
	for range n.servers {
		errs = append(errs, <-n.ended)
	}
	return errors.Join(errs...)
}

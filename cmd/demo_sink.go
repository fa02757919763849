package cmd

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/enrichd/enrichd/dispatch"
)

// webhookSink receives the demo's webhooks as a customer's server would: it
// verifies both signatures itself.
type webhookSink struct {
	secret string
	port   uint16

	server   *http.Server
	listener net.Listener
	mu       sync.Mutex
	got      []demoDelivery
	came     chan struct{}
}

// demoDelivery is one received webhook.
type demoDelivery struct {
	ID            string `json:"id"`
	Event         string `json:"event"`
	RequestID     string `json:"requestId"`
	Verified      bool   `json:"verified"`      // the Standard Webhooks signature
	OlderVerified bool   `json:"olderVerified"` // the older contract's hex HMAC
	SameAsPolled  bool   `json:"sameAsPolled"`  // data has the shape of the REST results body
}

func newWebhookSink() (*webhookSink, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &webhookSink{listener: l, port: l.Addr().(*net.TCPAddr).AddrPort().Port(), came: make(chan struct{}, 16)}
	s.server = &http.Server{Handler: http.HandlerFunc(s.receive), ReadHeaderTimeout: readHeaderTimeout}
	go s.server.Serve(l)
	return s, nil
}

// URL is where the sink listens.
func (s *webhookSink) URL() string { return "http://" + s.listener.Addr().String() + "/hooks" }

// Close ends the sink.
func (s *webhookSink) Close() error { return s.server.Close() }

func (s *webhookSink) receive(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 4<<20))
	if err != nil {
		http.Error(w, "body", http.StatusBadRequest)
		return
	}
	var envelope struct {
		Event string
		Data  struct {
			Success   bool
			RequestID string
			Status    string
			Data      []json.RawMessage
		}
	}
	d := demoDelivery{ID: r.Header.Get("webhook-id")}
	if json.Unmarshal(body, &envelope) == nil {
		d.Event, d.RequestID = envelope.Event, envelope.Data.RequestID
		d.SameAsPolled = envelope.Data.Success && envelope.Data.Status == "completed" && len(envelope.Data.Data) > 0
	}
	d.Verified = dispatch.Verify(s.secret, r.Header.Get, body, time.Now()) == nil
	mac := hmac.New(sha256.New, []byte(dispatch.OlderSecret(s.secret)))
	mac.Write(body)
	d.OlderVerified = hmac.Equal([]byte(hex.EncodeToString(mac.Sum(nil))), []byte(r.Header.Get("X-Webhook-Signature")))
	s.mu.Lock()
	s.got = append(s.got, d)
	s.mu.Unlock()
	w.WriteHeader(http.StatusNoContent)
	s.came <- struct{}{}
}

// wait waits until n deliveries came or ctx ends, and returns what came.
func (s *webhookSink) wait(ctx context.Context, n int) []demoDelivery {
	for {
		s.mu.Lock()
		got := append([]demoDelivery{}, s.got...)
		s.mu.Unlock()
		if len(got) >= n {
			return got
		}
		select {
		case <-s.came:
		case <-ctx.Done():
			return got
		}
	}
}

package dispatch

import (
	"bytes"
	"context"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/riverqueue/river"

	"github.com/enrichd/enrichd/internal/egress"
	"github.com/enrichd/enrichd/internal/ident"
	"github.com/enrichd/enrichd/internal/jobs"
	"github.com/enrichd/enrichd/internal/pg"
	"github.com/enrichd/enrichd/internal/seal"
)

// The environment under which this test binary is a node that only delivers.
const (
	nodeDSN  = "DISPATCH_TEST_NODE_DSN"
	nodePort = "DISPATCH_TEST_NODE_PORT"
)

func TestMain(m *testing.M) {
	if dsn := os.Getenv(nodeDSN); dsn != "" {
		if err := beNode(dsn, os.Getenv(nodePort)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		select {} // until killed
	}
	os.Exit(m.Run())
}

// beNode starts what a real node starts for deliveries.
func beNode(dsn, port string) error {
	db, err := pg.Open(dsn, 10, pg.AllowInsecure(true))
	if err != nil {
		return err
	}
	box, err := seal.New(bytes.Repeat([]byte{1}, seal.KeySize))
	if err != nil {
		return err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	client := egress.NewClient(egress.Policy{
		Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Ports: []uint16{uint16(n)}, AllowHTTP: true, RootCAs: x509.NewCertPool(),
	}, egress.ForWebhook)
	inserter, err := jobs.NewInserter(db, nil, log)
	if err != nil {
		return err
	}
	ctx, id := context.Background(), ident.NewUUID()
	pool, err := pg.OpenPool(ctx, dsn, 10, pg.AllowInsecure(true))
	if err != nil {
		return err
	}
	workers := river.NewWorkers()
	river.AddWorker(workers, &DeliveryWorker{Service: &Service{DB: db, Box: box, Jobs: inserter, Egress: client, Log: log, Config: Config{Curve: quick}}})
	worker, err := jobs.NewWorker(pool, workers, jobs.WorkerConfig{NodeID: id, WebhookWorkers: 16, Log: log})
	if err != nil {
		return err
	}
	if err := worker.Start(ctx); err != nil {
		return err
	}
	return (&jobs.Node{ID: id, DSN: dsn, Worker: worker, Log: log}).Start(ctx)
}

// startNode starts a node in a process of its own.
func (b *bundle) startNode(port string) *exec.Cmd {
	b.t.Helper()
	node := exec.Command(os.Args[0])
	node.Env = append(os.Environ(), nodeDSN+"="+b.db.DSN, nodePort+"="+port)
	node.Stderr = b.logs
	if err := node.Start(); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		_ = node.Process.Kill()
		_ = node.Wait()
	})
	return node
}

func TestCrash(t *testing.T) {
	t.Parallel()
	t.Run("kill -9 of a node while deliveries are on the wire loses none; repeats have the same id and bytes", func(t *testing.T) {
		t.Parallel()
		if testing.Short() {
			t.Skip("takes some ten seconds")
		}
		b := setup(t)
		arrived := make(chan struct{}, 1000)
		dead := make(chan struct{})
		rc := b.receive(false, func(w http.ResponseWriter, r *http.Request, _ int) {
			arrived <- struct{}{}
			select {
			case <-dead:
			case <-r.Context().Done(): // its sender died
			}
		})
		b.webhook(rc.URL, func(in *CreateWebhookInput) { in.TimeoutMillis = 1000 })
		var events []Event
		for range 12 {
			events = append(events, b.event(nil))
		}
		b.publish(events...)
		port := rc.URL[len("http://127.0.0.1:"):]
		first := b.startNode(port)
		for range 6 { // some are on the wire: sent, and not recorded
			select {
			case <-arrived:
			case <-time.After(2 * time.Minute):
				t.Fatalf("nothing arrives: %s", b.logs)
			}
		}
		if err := first.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		close(dead)
		b.startNode(port)
		bodies := map[string][]byte{}
		for _, d := range b.ended(len(events)) {
			if d.Status != DeliveryDelivered {
				t.Errorf("%s is %s", d.ID, d.Status)
			}
			bodies[d.EventID] = d.Body
		}
		repeats := 0
		got := map[string]int{}
		for _, a := range rc.seen() {
			id := a.Header.Get("webhook-id")
			if got[id]++; got[id] > 1 {
				repeats++
			}
			if !bytes.Equal(a.Body, bodies[id]) {
				t.Errorf("%s arrived with other bytes: %s", id, a.Body)
			}
		}
		if len(got) != len(events) || repeats < 6 {
			t.Errorf("%d of %d events arrived, %d repeats\n%s", len(got), len(events), repeats, b.logs)
		}
	})
}

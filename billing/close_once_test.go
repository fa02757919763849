package billing_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/enrichd/enrichd/billing"
	"github.com/enrichd/enrichd/internal/page"
)

// TestCloseAtOnce closes the same periods a hundred times at the same moment,
// from two nodes, by the periodic job's way and by name.
func TestCloseAtOnce(t *testing.T) {
	t.Parallel()
	const times = 100
	ctx := context.Background()
	on := nodes(t, 2)
	b := on[0]
	b.setClock(utc("2031-10-05"))
	c := b.open("post", billing.Postpaid, nil)
	b.price(c, "EUR", "0.05", utc("2031-10-05"))
	b.use(c, utc("2031-10-10"), 3)
	open, err := b.Invoices(ctx, b.account(c).ID, page.Args{First: 1})
	if err != nil {
		t.Fatal(err)
	}
	october := open.Nodes[0].ID
	b.use(c, utc("2031-11-10"), 2)
	b.setClock(utc("2032-01-01"))

	var drawn, numbered atomic.Int64
	gate := make(chan struct{})
	var group sync.WaitGroup
	for i := range times {
		group.Go(func() {
			<-gate
			if l := on[i%2]; i%4 < 2 {
				done, err := l.CloseDue(ctx)
				if err != nil {
					t.Error(err)
				}
				drawn.Add(int64(len(done.Invoices)))
				numbered.Add(int64(len(done.Numbered)))
			} else if i, err := l.Close(ctx, october); err != nil || i.ID != october || i.Number == nil || *i.Number != "INV-00000001" || i.Amount != "0.15" {
				t.Errorf("%+v %v", i, err)
			}
		})
	}
	close(gate)
	group.Wait()
	if drawn.Load() > 2 || numbered.Load() > 2 {
		t.Errorf("%d invoices drawn up, %d numbered", drawn.Load(), numbered.Load())
	}
	b.expect("all", b.documents(c), "311001T00/311101T00 3 0.15 EUR CLOSED INV-00000001", "311101T00/311201T00 2 0.10 EUR CLOSED INV-00000002")
	if n := b.count("SELECT count(*) FROM billing_entries WHERE kind = 'INVOICE'"); n != 2 {
		t.Errorf("%d entries of invoices", n)
	}
	if a := b.account(c); a.Owed != 0 || a.InvoicedTotal != 5 || !a.NextPeriodStart.Equal(utc("2032-01-01")) {
		t.Errorf("%d owed, %d invoiced, next from %s", a.Owed, a.InvoicedTotal, a.NextPeriodStart)
	}
	b.audited()
}

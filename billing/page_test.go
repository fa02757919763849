package billing_test

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/enrichd/enrichd/billing"
)

func TestInvoicePage(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.setClock(utc("2031-10-05"))
	c := b.open("post", billing.Postpaid, nil)
	b.price(c, "JPY", "7.5", utc("2031-10-01"))
	b.use(c, utc("2031-10-06"), 3)
	if _, _, err := b.Adjust(context.Background(), billing.Adjust{CompanyID: c, Credits: 1, Memo: `<script>alert("x")</script>`, Key: "k"}); err != nil {
		t.Fatal(err)
	}
	b.setClock(utc("2031-11-01"))
	i := b.closeDue().Invoices[0]
	var out bytes.Buffer
	if err := i.WriteHTML(&out, billing.Letterhead{Issuer: "Us & Co\nStreet 1", Company: "<b>Acme</b>", TimeZone: "Asia/Tokyo"}); err != nil {
		t.Fatal(err)
	}
	html := out.String()
	for _, want := range []string{"Invoice INV-00000001", "Us &amp; Co\nStreet 1", "&lt;b&gt;Acme&lt;/b&gt;", "&lt;script&gt;", "15 JPY", ">23<", ">-8<", "2031-10-01 to 2031-11-01"} {
		if !strings.Contains(html, want) {
			t.Errorf("the page lacks %q:\n%s", want, html)
		}
	}
	for _, never := range []string{"<script", "<b>Acme", "http:", "https:", "src=", "url("} {
		if strings.Contains(html, never) {
			t.Errorf("the page has %q", never)
		}
	}
}

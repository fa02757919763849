package billing

import (
	"cmp"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"strings"
	"time"
)

//go:embed invoice.html
var invoiceHTML string

// invoicePage escapes everything that is put in.
var invoicePage = template.Must(template.New("invoice").Parse(invoiceHTML))

// Letterhead is what a printed invoice says besides the invoice itself.
type Letterhead struct {
	// Issuer is who bills: name and address, line by line.
	Issuer string
	// Company is who is billed.
	Company string
	// TimeZone is the IANA name of the zone in which dates are written; UTC when it is unknown here.
	TimeZone string
}

// WriteHTML writes the invoice as one printable page that loads nothing.
func (i *Invoice) WriteHTML(w io.Writer, head Letterhead) error {
	zone, err := time.LoadLocation(cmp.Or(head.TimeZone, "UTC"))
	if err != nil {
		zone = time.UTC
	}
	day := func(at *time.Time) string {
		if at == nil {
			return ""
		}
		return at.In(zone).Format("2006-01-02")
	}
	title := map[InvoiceKind]string{KindOwed: "Invoice", KindStatement: "Statement"}[i.Kind]
	switch {
	case i.Number != nil:
		title += " " + *i.Number
	case i.Status == InvoiceOpen:
		title += " (open period, not final)"
	default:
		title += " (not numbered yet)"
	}
	err = invoicePage.Execute(w, map[string]any{
		"Title": title, "Issuer": strings.TrimSpace(head.Issuer), "Company": head.Company, "Zone": zone.String(),
		"From": day(&i.PeriodStart), "To": day(&i.PeriodEnd), "Status": strings.ToLower(string(i.Status)), "Finalised": day(i.FinalisedAt), "Paid": day(i.PaidAt),
		"Void": i.Status == InvoiceVoid, "Reason": text(i.VoidReason), "ID": i.ID, "Account": i.AccountID, "First": i.FromSeq, "Last": i.ToSeq,
		"Lines": i.Lines, "Total": i.Amount, "Currency": i.Currency,
	})
	if err != nil {
		return fmt.Errorf("write invoice %s: %w", i.ID, err)
	}
	return nil
}

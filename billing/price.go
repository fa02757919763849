package billing

import (
	"context"
	"fmt"
	"regexp"
	"time"

	"github.com/uptrace/bun"
	"golang.org/x/text/currency"

	"github.com/enrichd/enrichd/internal/fault"
	"github.com/enrichd/enrichd/internal/pg"
)

// Price is what one credit costs a company from a moment on. A company's prices
// are its list; it is in one currency for good, since an invoice is.
type Price struct {
	bun.BaseModel `bun:"table:billing_prices,alias:p"`

	Number    int64  `bun:"number,pk"`
	AccountID string `bun:"account_id"`
	// Currency is its ISO 4217 code, Digits the decimals of an amount of money in it.
	Currency string `bun:"currency"`
	Digits   int    `bun:"digits"`
	// Price is an exact decimal number, with more decimals than money has where one credit costs less than its smallest coin.
	Price     string     `bun:"price"`
	StartsAt  *time.Time `bun:"starts_at"`
	Actor     string     `bun:"actor"`
	CreatedAt time.Time  `bun:"created_at"`
}

// SetPrice is a command that adds a price to a company's list.
type SetPrice struct {
	CompanyID string
	// Currency is an ISO 4217 code in capitals.
	Currency string
	// Price is what one credit costs: a decimal number without sign or exponent, up to 8 decimals.
	Price string
	// StartsAt is from when on; nil for now. Before the end of a closed period it changes only corrections.
	StartsAt *time.Time
	Actor    string
}

var (
	priceForm = regexp.MustCompile(`^[0-9]{1,9}(\.[0-9]{1,8})?$`)
	moneyForm = regexp.MustCompile(`^-?[0-9]{1,12}(\.[0-9]{1,4})?$`)
)

// digitsOf is how many decimals an amount of money has in a currency, by CLDR's table of ISO 4217.
func digitsOf(code string) (int, bool) {
	unit, err := currency.ParseISO(code)
	if err != nil || unit.String() != code {
		return 0, false
	}
	digits, _ := currency.Standard.Rounding(unit)
	return digits, true
}

// SetPrice adds a price to the company's list. Of prices that begin at the same
// moment the last one set holds. Another currency than the list's is a Conflict.
func (l *Ledger) SetPrice(ctx context.Context, in SetPrice) (*Price, error) {
	digits, ok := digitsOf(in.Currency)
	switch {
	case !ok:
		return nil, fault.Invalid("currency", "must be an ISO 4217 code such as EUR")
	case !priceForm.MatchString(in.Price):
		return nil, fault.Invalid("price", "must be a decimal number such as 0.05, with up to 8 decimals")
	}
	p := &Price{Currency: in.Currency, Digits: digits, Price: in.Price, StartsAt: in.StartsAt, Actor: in.Actor}
	err := pg.InTx(ctx, l.DB, func(ctx context.Context, tx bun.Tx) error {
		a, err := lockAccount(ctx, tx, in.CompanyID)
		switch {
		case err != nil:
			return err
		case a == nil:
			return noAccount(in.CompanyID)
		}
		p.AccountID = a.ID
		list, err := pricesOf(ctx, tx, a.ID)
		if err != nil {
			return err
		}
		if len(list) > 0 && list[0].Currency != p.Currency {
			return fault.Conflict{Head: fault.Head{Message: "the company's list is in " + list[0].Currency, Field: []string{"currency"}}, State: list[0].Currency}
		}
		return insertPrice(ctx, tx, p)
	})
	if err != nil {
		return nil, fmt.Errorf("price for %s: %w", in.CompanyID, err)
	}
	return p, nil
}

// Prices lists the company's prices, by when they begin.
func (l *Ledger) Prices(ctx context.Context, companyID string) ([]*Price, error) {
	a, err := l.Account(ctx, companyID)
	if err != nil {
		return nil, err
	}
	prices, err := pricesOf(ctx, l.DB, a.ID)
	if err != nil {
		return nil, fmt.Errorf("prices of %s: %w", companyID, err)
	}
	return prices, nil
}

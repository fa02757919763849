//go:build !unix

package pgtest

import (
	"context"
	"errors"

	"github.com/enrichd/enrichd/internal/pgserver"
)

func attach(context.Context) (*pgserver.Server, error) {
	return nil, errors.New("set ENRICHD_TEST_DATABASE_URL: this system has no private PostgreSQL")
}

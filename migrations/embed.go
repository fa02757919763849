// Package migrations holds the database's schema, one numbered file per step, and runs it.
package migrations

import "embed"

// Files are the migrations, named NNNN_what.tx.up.sql; each runs in one transaction.
//
//go:embed *.sql
var Files embed.FS

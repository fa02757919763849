// Package page holds what every connection shares: cursors, edges, bounds.
package page

import (
	"encoding/base64"

	"github.com/enrichd/enrichd/internal/fault"
)

// MaxFirst is the largest page a caller may ask for.
const MaxFirst = 100

// Info is GraphQL's PageInfo. Cursors are nil on an empty page.
type Info struct {
	HasNextPage     bool
	HasPreviousPage bool
	StartCursor     *string
	EndCursor       *string
}

// Edge is one item and its place.
type Edge[T any] struct {
	Cursor string
	Node   T
}

// Connection is one page. Nodes are the edges' nodes again.
type Connection[E, T any] struct {
	Edges    []E
	Nodes    []T
	PageInfo Info
}

// Args is what a caller asks of a connection; After is "" for the first page.
type Args struct {
	First int
	After string
}

// Check refuses a page size outside 1..MaxFirst.
func (a Args) Check() error {
	if a.First < 1 || a.First > MaxFirst {
		return fault.Invalid("first", "must be between 1 and %d, not %d", MaxFirst, a.First)
	}
	return nil
}

// Position decodes After into the sort key that Encode put in; "" is the start.
func (a Args) Position() (string, error) {
	if a.After == "" {
		return "", nil
	}
	b, err := base64.RawURLEncoding.DecodeString(a.After)
	if err != nil || fault.Text("after", string(b), 0) != nil {
		return "", fault.Invalid("after", "is not a cursor of this list")
	}
	return string(b), nil
}

// Encode makes an opaque cursor of a sort key.
func Encode(key string) string { return base64.RawURLEncoding.EncodeToString([]byte(key)) }

// Make builds a page from up to first+1 rows: the one too many only says that
// there is a next page. key gives a row's sort key; edge makes E from an Edge.
func Make[E, T any](rows []T, a Args, key func(T) string, edge func(Edge[T]) E) Connection[E, T] {
	c := Connection[E, T]{Edges: []E{}, Nodes: []T{}}
	c.PageInfo.HasPreviousPage = a.After != ""
	if len(rows) > a.First {
		rows, c.PageInfo.HasNextPage = rows[:a.First], true
	}
	for _, row := range rows {
		c.Edges = append(c.Edges, edge(Edge[T]{Cursor: Encode(key(row)), Node: row}))
		c.Nodes = append(c.Nodes, row)
	}
	if len(rows) > 0 {
		first, last := Encode(key(rows[0])), Encode(key(rows[len(rows)-1]))
		c.PageInfo.StartCursor, c.PageInfo.EndCursor = &first, &last
	}
	return c
}

// Package testschema is a small executable schema for the tests of graph and
// its transports: well-behaved fields, and some that are not.
package testschema

//go:generate go tool gqlgen generate --config gqlgen.yml

// Item nests without end.
type Item struct{ ID, Name string }

// Tick is one event of a subscription.
type Tick struct {
	Sequence int
	Payload  string
}

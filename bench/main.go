// Command bench measures the product against named references in the same run
// and prints one JSON line for each measure: `go run ./bench [name…]`.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/enrichd/enrichd/internal/pgserver"
	"github.com/enrichd/enrichd/migrations"
)

// result is one line of output. Ours and Reference are in Unit; Ratio is the median over the rounds of ours divided by the reference.
type result struct {
	Name      string    `json:"name"`
	Unit      string    `json:"unit"`
	Ours      float64   `json:"ours"`
	Reference float64   `json:"reference"`
	Ratio     float64   `json:"ratio"`
	What      string    `json:"what"`     // what was measured
	Against   string    `json:"against"`  // what the reference is
	OursEach  []float64 `json:"oursEach"` // each round, interleaved with the reference's
	RefEach   []float64 `json:"refEach"`
	Trips     int64     `json:"roundTrips,omitempty"`
	// Parts are further figures by name; several rounds of one are a list.
	Parts map[string]part `json:"parts,omitempty"`
}

// part is one further figure, of each round.
type part struct {
	Ours      []float64 `json:"ours,omitempty"`
	Reference []float64 `json:"reference,omitempty"`
}

// part adds a figure of one round.
func (r *result) part(kind, name string, v float64) {
	if r.Parts == nil {
		r.Parts = map[string]part{}
	}
	p := r.Parts[name]
	if kind == "ours" {
		p.Ours = append(p.Ours, round(v))
	} else {
		p.Reference = append(p.Reference, round(v))
	}
	r.Parts[name] = p
}

// benches are the measures by name, in the order in which they run.
var benches = []struct {
	name string
	run  func(ctx context.Context, dsn string) (result, error)
}{
	{"accept", accept},
	{"settle", settle},
	{"captures", captures},
	{"subscriptions", subscriptions},
	{"fanout", fanout},
	{"hostile", hostile},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	args := os.Args[1:]
	if len(args) == 4 && args[0] == serveArg {
		if err := serveEdge(ctx, args[1], args[2], args[3]); err != nil {
			fmt.Fprintln(os.Stderr, "bench serve:", err)
			os.Exit(1)
		}
		return
	}
	if err := run(ctx, args); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, names []string) error {
	known := make([]string, len(benches))
	for i, b := range benches {
		known[i] = b.name
	}
	for _, n := range names {
		if !slices.Contains(known, n) {
			return fmt.Errorf("no bench %q: there are %s", n, strings.Join(known, ", "))
		}
	}
	for _, b := range benches {
		if len(names) > 0 && !slices.Contains(names, b.name) {
			continue
		}
		if err := one(ctx, b.run); err != nil {
			return fmt.Errorf("%s: %w", b.name, err)
		}
	}
	return nil
}

// one runs a bench on a fresh, durable, private PostgreSQL.
func one(ctx context.Context, f func(context.Context, string) (result, error)) error {
	dir, err := os.MkdirTemp("", "enrichd-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	server, err := pgserver.Start(ctx, pgserver.Config{Dir: dir, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	defer server.Stop()
	dsn := server.DSN("enrichd")
	if err := migrations.Up(ctx, dsn, slog.New(slog.DiscardHandler)); err != nil {
		return err
	}
	r, err := f(ctx, dsn)
	if err != nil {
		return err
	}
	r.Ours, r.Reference = median(r.OursEach), median(r.RefEach)
	// Neighbouring rounds share what else the machine was doing, so the ratio is theirs.
	var ratios []float64
	for i := range min(len(r.OursEach), len(r.RefEach)) {
		ratios = append(ratios, r.OursEach[i]/r.RefEach[i])
	}
	r.Ratio = median(ratios)
	return json.NewEncoder(os.Stdout).Encode(r)
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(v))
	return round(s[len(s)/2])
}

func round(f float64) float64 { return float64(int64(f*1000+0.5)) / 1000 }

// rate is how many a second.
func rate(n int64, d time.Duration) float64 { return round(float64(n) / d.Seconds()) }

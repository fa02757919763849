package billing_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/enrichd/enrichd/billing"
)

// BenchmarkMove captures on one hot account in batches; the settler sends up to 64.
func BenchmarkMove(b *testing.B) {
	for _, size := range []int{1, 8, 64} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			l := setup(b)
			c := l.prepaid("hot", 1_000_000_000)
			runs := (b.N*size)/10 + 1
			for r := range runs {
				if _, err := l.reserve(c, fmt.Sprintf("enr_06h1019v-95sv-f35g-fpgw-%012d", r), 10, 0); err != nil {
					b.Fatal(err)
				}
			}
			captured := 0
			b.ResetTimer()
			for range b.N {
				var captures []billing.Capture
				var settles []billing.Settle
				for range size {
					run := fmt.Sprintf("enr_06h1019v-95sv-f35g-fpgw-%012d", captured/10)
					captures = append(captures, billing.Capture{CompanyID: c, RunID: run, ProfileID: fmt.Sprintf("prof_06h1019v95svf35gfpgwrvr%d", captured%10)})
					if captured++; captured%10 == 0 {
						settles = append(settles, billing.Settle{CompanyID: c, RunID: run})
					}
				}
				if _, err := l.move(captures, settles); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(captured)/b.Elapsed().Seconds(), "captures/s")
		})
	}
}

// BenchmarkMoveSpread captures one profile on each of 64 accounts at once.
func BenchmarkMoveSpread(b *testing.B) {
	l := setup(b)
	companies := make([]string, 64)
	for i := range companies {
		companies[i] = l.prepaid(fmt.Sprintf("company-%d", i), 1_000_000)
		for r := 0; r <= b.N/10; r++ {
			l.hold(companies[i], fmt.Sprintf("run-%d-%d", i, r), 10)
		}
	}
	b.ResetTimer()
	for n := range b.N {
		var captures []billing.Capture
		for i, c := range companies {
			captures = append(captures, billing.Capture{CompanyID: c, RunID: fmt.Sprintf("run-%d-%d", i, n/10), ProfileID: fmt.Sprint(n % 10)})
		}
		if _, err := l.move(captures, nil); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(64*b.N)/b.Elapsed().Seconds(), "captures/s")
}

// BenchmarkReserve holds ten credits for one run after another, over a thousand accounts.
func BenchmarkReserve(b *testing.B) {
	l := setup(b)
	companies := make([]string, 1000)
	for i := range companies {
		companies[i] = l.prepaid(fmt.Sprintf("company-%d", i), 1_000_000)
	}
	b.ResetTimer()
	for i := range b.N {
		if _, err := l.reserve(companies[i%len(companies)], fmt.Sprintf("run-%d-%d", i, time.Now().UnixNano()), 10, 0); err != nil {
			b.Fatal(err)
		}
	}
}

package sandbox_test

import (
	"testing"

	"go.uber.org/goleak"
)

// Every test closes what it opens, so that nothing may be left at the end.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

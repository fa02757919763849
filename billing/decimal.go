package billing

import "strings"

// decimals counts what stands behind the point of a decimal number.
func decimals(amount string) int {
	_, after, _ := strings.Cut(amount, ".")
	return len(after)
}

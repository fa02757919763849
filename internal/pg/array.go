package pg

import (
	"database/sql/driver"
	"strings"
)

// Texts passes a list as one text[] argument of a statement with $n arguments.
type Texts []string

// Value writes PostgreSQL's own form of a text array, every element quoted.
func (t Texts) Value() (driver.Value, error) {
	size := 2
	for _, s := range t {
		size += len(s) + len(s)/4 + 3
	}
	b := make([]byte, 0, size)
	b = append(b, '{')
	for i, s := range t {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, '"')
		for {
			special := strings.IndexAny(s, `"\`)
			if special < 0 {
				break
			}
			b = append(b, s[:special]...)
			b = append(b, '\\', s[special])
			s = s[special+1:]
		}
		b = append(b, s...)
		b = append(b, '"')
	}
	return string(append(b, '}')), nil
}

package pg

import (
	"database/sql/driver"
	"strings"
)

// Texts passes a list as one text[] argument of a statement with $n arguments.
type Texts []string

// Value writes PostgreSQL's own form of a text array, every element quoted.
func (t Texts) Value() (driver.Value, error) {
	var b strings.Builder
	b.WriteByte('{')
	for i, s := range t {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteByte('"')
		for j := range len(s) {
			if s[j] == '"' || s[j] == '\\' {
				b.WriteByte('\\')
			}
			b.WriteByte(s[j])
		}
		b.WriteByte('"')
	}
	b.WriteByte('}')
	return b.String(), nil
}

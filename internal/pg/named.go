package pg

import (
	"fmt"
	"strings"
)

// Named numbers the :name arguments of a statement: the first name becomes $1,
// and so on. Domains keep the parts of a statement by name, so that one text
// serves alone and inside a larger statement. It panics when a name is unknown
// or unused, since statements are made when the program starts.
func Named(sql string, names ...string) string {
	number := make(map[string]int, len(names))
	used := make(map[string]bool, len(names))
	for i, n := range names {
		number[n] = i + 1
	}
	var b strings.Builder
	for i := 0; i < len(sql); {
		if sql[i] != ':' {
			b.WriteByte(sql[i])
			i++
			continue
		}
		if strings.HasPrefix(sql[i:], "::") { // a cast
			b.WriteString("::")
			i += 2
			continue
		}
		end := i + 1
		for end < len(sql) && (sql[end] == '_' || sql[end] >= 'a' && sql[end] <= 'z') {
			end++
		}
		name := sql[i+1 : end]
		if number[name] == 0 {
			panic(fmt.Sprintf("statement argument :%s is not among %v", name, names))
		}
		used[name] = true
		fmt.Fprintf(&b, "$%d", number[name])
		i = end
	}
	for _, n := range names {
		if !used[n] {
			panic(fmt.Sprintf("statement argument :%s is never used", n))
		}
	}
	return b.String()
}

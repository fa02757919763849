package enrichment

import "github.com/enrichd/enrichd/internal/page"

func pageArgs(n int) page.Args { return page.Args{First: n} }

package extract

import "testing"

func TestBrokenJSONKeepsOnlyWhatWasWhole(t *testing.T) {
	t.Parallel()
	for source, want := range map[string]int{
		`{"name": "Leila", "worksFor": {"name": "Undefined index: company in head.php`: 1, // a string that never ends
		`{"name": "Leila", "jobTitle`:               1,
		`{"name": "Leila", "knowsAbout": ["R", "St`: 2,
		`{"name": "Leila"`:                          1,
	} {
		values := readJSON(source)
		if len(values) != 1 {
			t.Fatalf("%s: %d values", source, len(values))
		}
		got := 0
		for _, field := range values[0].fields {
			for _, v := range field {
				if v.kind == textValue {
					got++
				}
			}
		}
		if got != want {
			t.Errorf("%s: %d texts, want %d", source, got, want)
		}
	}
}

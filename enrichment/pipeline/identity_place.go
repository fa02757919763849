package pipeline

import (
	_ "embed"
	"slices"
	"strings"
	"sync"
)

//go:embed data/places.txt
var placesText string

//go:embed data/regions.txt
var regionsText string

// placeTables turns written places into countries, regions and cities.
type placeTables struct {
	country map[string]string // name, alias or code → code
	city    map[string]string // city → country code
	region  map[string]string // region name or code → canonical region
	inside  map[string]string // region → country code
}

var placeTable = sync.OnceValue(func() placeTables {
	t := placeTables{country: map[string]string{}, city: map[string]string{}, region: map[string]string{}, inside: map[string]string{}}
	plain := func(s string) string { return strings.ReplaceAll(s, "_", " ") }
	for line := range strings.Lines(placesText) {
		parts := strings.Split(line, "|")
		if len(parts) != 3 {
			continue
		}
		code := strings.TrimSpace(parts[0])
		t.country[code] = code
		for _, w := range strings.Fields(parts[1]) {
			t.country[plain(w)] = code
		}
		for _, w := range strings.Fields(parts[2]) {
			t.city[plain(w)] = code
		}
	}
	for line := range strings.Lines(regionsText) {
		code, list, ok := strings.Cut(line, "|")
		if !ok {
			continue
		}
		code = strings.TrimSpace(code)
		for _, w := range strings.Fields(list) {
			short, name, _ := strings.Cut(w, "=")
			name = plain(name)
			if !strings.Contains(short, "_") {
				if _, taken := t.region[short]; !taken {
					t.region[short] = name
				}
			}
			t.region[name] = name
			t.inside[name] = code
		}
	}
	return t
})

// location is a place as far as it could be read.
type location struct {
	city, region, country string
}

// readLocation reads "City, Region, Country" in any completeness.
func readLocation(text string) location {
	t := placeTable()
	var out location
	parts := strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(",;/|()·•—–", r) })
	for i := len(parts) - 1; i >= 0; i-- {
		p := strings.TrimPrefix(strings.TrimPrefix(Fold(parts[i]), "greater "), "the ")
		p = strings.TrimSuffix(strings.TrimSuffix(p, " area"), " metropolitan")
		switch {
		case p == "" || p == "remote" || p == "earth" || p == "worldwide" || p == "world" || p == "internet" || p == "europe":
		case i > 0 && out.region == "" && t.region[p] != "":
			// A two-letter code behind a city is a state before it is a country: "San Jose, CA".
			out.region = t.region[p]
			if out.country == "" {
				out.country = t.inside[out.region]
			}
		case out.country == "" && t.country[p] != "" && (len(p) > 2 || i > 0 || p == "uk" || p == "us"):
			out.country = t.country[p]
		case out.region == "" && t.region[p] != "" && len(p) > 3 && t.city[p] == "":
			out.region = t.region[p]
		case out.city == "":
			out.city = p
		default:
			out.city = p // the first part is the nearest place
		}
	}
	if out.country == "" && out.region != "" {
		out.country = t.inside[out.region]
	}
	if out.country == "" && out.city != "" {
		out.country = t.city[out.city]
	}
	out.city = cityNames(out.city)
	return out
}

// cityNames writes cities with two common names in one way.
func cityNames(c string) string {
	for _, group := range [][]string{
		{"new york", "nyc", "new york city", "brooklyn", "manhattan"},
		{"san francisco", "sf", "bay area", "san francisco bay", "silicon valley"},
		{"washington", "washington dc"},
		{"munich", "munchen", "muenchen"},
		{"cologne", "koln"},
		{"vienna", "wien"},
		{"rome", "roma"},
		{"milan", "milano"},
		{"turin", "torino"},
		{"florence", "firenze"},
		{"naples", "napoli"},
		{"prague", "praha"},
		{"warsaw", "warszawa"},
		{"krakow", "cracow"},
		{"lisbon", "lisboa"},
		{"brussels", "bruxelles"},
		{"geneva", "geneve"},
		{"gothenburg", "goteborg"},
		{"copenhagen", "kobenhavn"},
		{"the hague", "den haag"},
		{"kyiv", "kiev"},
		{"saint petersburg", "st petersburg"},
		{"bangalore", "bengaluru"},
		{"mumbai", "bombay"},
		{"gurgaon", "gurugram"},
		{"mexico city", "ciudad de mexico", "cdmx"},
		{"ho chi minh city", "saigon"},
		{"seville", "sevilla"},
	} {
		if slices.Contains(group, c) {
			return group[0]
		}
	}
	return c
}

// compareLocations answers how far two written places agree.
func compareLocations(a, b string) string {
	la, lb := readLocation(a), readLocation(b)
	switch {
	case la == (location{}) || lb == (location{}):
		return levelMissing
	case la.country != "" && lb.country != "" && la.country != lb.country:
		return "different"
	case la.city != "" && la.city == lb.city && (la.region == "" || lb.region == "" || la.region == lb.region):
		return "city"
	case la.region != "" && la.region == lb.region:
		return "region"
	case la.country != "" && la.country == lb.country && la.city != "" && lb.city != "":
		return "other city"
	case la.country != "" && la.country == lb.country:
		return "country"
	}
	return levelMissing
}

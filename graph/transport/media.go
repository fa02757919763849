package transport

import (
	"mime"
	"net/http"
	"strconv"
	"strings"
)

// The media types that an answer can have.
const (
	mediaJSON    = "application/json"
	mediaGraphQL = "application/graphql-response+json"
	mediaEvents  = "text/event-stream"
)

// negotiate picks the media type of the answer from the Accept header
// (RFC 9110 §12.5.1): the highest q wins, among equals the one named first.
// Wildcards, and no header at all, mean application/json; an event stream must
// be asked for by name. "" says that nothing we have is acceptable.
func negotiate(r *http.Request) string {
	accept := r.Header.Values("Accept")
	if len(accept) == 0 {
		return mediaJSON
	}
	type offered struct {
		q     float64
		place int
		exact bool
	}
	best := map[string]offered{}
	consider := func(offer string, q float64, place int, exact bool) {
		had, known := best[offer]
		// A range that names the type outright overrides a wildcard, whatever their order.
		if known && (had.exact || !exact) {
			return
		}
		best[offer] = offered{q, place, exact}
	}
	for i, part := range strings.Split(strings.Join(accept, ","), ",") {
		media, params, err := mime.ParseMediaType(strings.TrimSpace(part))
		if err != nil {
			continue
		}
		if charset := params["charset"]; charset != "" && !isUTF8(charset) {
			continue
		}
		q := 1.0
		if s, given := params["q"]; given {
			if q, err = strconv.ParseFloat(s, 64); err != nil {
				continue
			}
		}
		switch media {
		case mediaJSON, mediaGraphQL, mediaEvents:
			consider(media, q, i, true)
		case "*/*", "application/*":
			consider(mediaJSON, q, i, false)
		}
	}
	chosen, won := "", offered{}
	for offer, r := range best {
		if r.q > 0 && (chosen == "" || r.q > won.q || r.q == won.q && r.place < won.place) {
			chosen, won = offer, r
		}
	}
	return chosen
}

func isUTF8(charset string) bool {
	return strings.EqualFold(charset, "utf-8") || strings.EqualFold(charset, "utf8")
}

// acceptsJSON reports whether a request's own body is JSON in UTF-8.
func acceptsJSON(r *http.Request) bool {
	media, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != mediaJSON {
		return false
	}
	charset, given := params["charset"]
	return !given || isUTF8(charset)
}

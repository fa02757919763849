package extract

import (
	"bytes"
	"mime"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/html/charset"
	"golang.org/x/text/encoding/htmlindex"
)

// decode turns a body into UTF-8. The encoding is taken from the first that
// names one: a byte order mark (HTML, section 13.2.3.2, lets it win), the
// Content-Type header, a <meta> in the first KiB; without any it is UTF-8 when
// the bytes are, and Windows-1252 otherwise. Bytes that fit no encoding become U+FFFD.
func decode(contentType string, body []byte) string {
	name := ""
	switch {
	case bytes.HasPrefix(body, []byte("\xEF\xBB\xBF")):
		body, name = body[3:], "utf-8"
	case bytes.HasPrefix(body, []byte("\xFE\xFF")):
		body, name = body[2:], "utf-16be"
	case bytes.HasPrefix(body, []byte("\xFF\xFE")):
		body, name = body[2:], "utf-16le"
	}
	if name == "" {
		if _, params, err := mime.ParseMediaType(contentType); err == nil {
			name = params["charset"]
		}
	}
	if _, err := htmlindex.Get(name); err != nil {
		_, name, _ = charset.DetermineEncoding(body[:min(len(body), 1024)], "")
		if name == "windows-1252" && validUTF8(body) {
			name = "utf-8" // nothing said so, but the bytes do
		}
	}
	enc, err := htmlindex.Get(name)
	if err != nil || strings.EqualFold(name, "utf-8") {
		return strings.ToValidUTF8(string(body), "\uFFFD")
	}
	decoded, err := enc.NewDecoder().Bytes(body)
	if err != nil {
		return strings.ToValidUTF8(string(body), "\uFFFD")
	}
	return strings.ToValidUTF8(string(decoded), "\uFFFD")
}

// validUTF8 allows the last character to be cut off by the size limit.
func validUTF8(body []byte) bool {
	if utf8.Valid(body) {
		return true
	}
	for i := 1; i < utf8.UTFMax && i <= len(body); i++ {
		if utf8.RuneStart(body[len(body)-i]) {
			return !utf8.FullRune(body[len(body)-i:]) && utf8.Valid(body[:len(body)-i])
		}
	}
	return false
}

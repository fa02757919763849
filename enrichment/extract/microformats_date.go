package extract

import (
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

var (
	dateForm = regexp.MustCompile(`^(\d{4}-\d{2}-\d{2}|\d{4}-\d{3}|\d{4}-\d{2}|\d{4})$`)
	// hours, minutes, seconds, half of the day, offset
	clockForm = regexp.MustCompile(`^(\d{1,2})(?::(\d{2}))?(?::(\d{2})(?:\.\d+)?)?\s*([AaPp]\.?[Mm]\.?)?\s*([Zz]|[+-]\d{1,2}(?::?\d{2})?)?$`)
	zoneForm  = regexp.MustCompile(`^(?:[Zz]|[+-]\d{1,2}(?::?\d{2})?)$`)
	bothForm  = regexp.MustCompile(`^(\d{4}-\d{2}-\d{2}|\d{4}-\d{3})(?:[Tt]|\s+)(\d{1,2}:\d{2}.*)$`)
)

// dateValue parses a dt- property.
func (p *mfParser) dateValue(e *html.Node) string {
	if parts := p.valueClass(e, true); parts != nil {
		if joined := joinDate(parts); joined != "" {
			return joined
		}
	}
	if v, ok := attrOf(e, "datetime", atom.Time, atom.Ins, atom.Del); ok {
		return v
	}
	if v, ok := attrOf(e, "title", atom.Abbr); ok {
		return v
	}
	if v, ok := attrOf(e, "value", atom.Data, atom.Input); ok {
		return v
	}
	return strings.TrimFunc(p.plainText(e, imgDropped), unicode.IsSpace)
}

// joinDate makes one value of date, time and offset that stand in separate
// elements (microformats.org/wiki/value-class-pattern): the first of each
// counts, a blank stands between date and time, the precision stays as written.
func joinDate(parts []string) string {
	var date, clock, zone string
	for _, part := range parts {
		part = strings.TrimFunc(part, unicode.IsSpace)
		if m := bothForm.FindStringSubmatch(part); m != nil {
			if t, z, ok := readClock(m[2]); ok {
				setOnce(&date, m[1])
				if clock == "" {
					clock, zone = t, z
				}
				continue
			}
		}
		switch {
		case zoneForm.MatchString(part):
			setOnce(&zone, readZone(part))
		case dateForm.MatchString(part):
			setOnce(&date, part)
		default:
			if t, z, ok := readClock(part); ok {
				setOnce(&clock, t)
				setOnce(&zone, z)
			}
		}
	}
	switch {
	case clock == "":
		return date
	case date == "":
		return clock + zone
	}
	return date + " " + clock + zone
}

// readClock reads a time of day, of 24 hours or twice 12, with an offset.
func readClock(s string) (clock, zone string, ok bool) {
	m := clockForm.FindStringSubmatch(s)
	if m == nil || m[2] == "" && m[4] == "" {
		return "", "", false // a bare number is no time
	}
	hour, _ := strconv.Atoi(m[1])
	if m[4] != "" {
		pm := m[4][0] == 'p' || m[4][0] == 'P'
		switch {
		case pm && hour < 12:
			hour += 12
		case !pm && hour == 12:
			hour = 0
		}
	}
	clock = pad(hour)
	minutes := m[2]
	if minutes == "" {
		minutes = "00"
	}
	clock += ":" + minutes
	if m[3] != "" {
		clock += ":" + m[3]
	}
	return clock, readZone(m[5]), true
}

// readZone writes an offset as ±hh:mm, or Z.
func readZone(s string) string {
	if s == "" || strings.EqualFold(s, "z") {
		return strings.ToUpper(s)
	}
	digits := strings.ReplaceAll(s[1:], ":", "")
	minutes := "00"
	if len(digits) > 2 {
		minutes, digits = digits[len(digits)-2:], digits[:len(digits)-2]
	}
	hour, _ := strconv.Atoi(digits)
	return s[:1] + pad(hour) + ":" + minutes
}

func pad(n int) string {
	if n < 10 {
		return "0" + strconv.Itoa(n)
	}
	return strconv.Itoa(n)
}

// splitDate tells the date that a dt- value begins with, and whether the value is a time of day without one.
func splitDate(v string) (date string, clock bool) {
	if len(v) >= 10 && dateForm.MatchString(v[:10]) {
		return v[:10], false
	}
	if len(v) >= 8 && dateForm.MatchString(v[:8]) {
		return v[:8], false
	}
	_, _, clock = readClock(v)
	return "", clock
}

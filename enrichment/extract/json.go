package extract

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxJSONDepth is how deep values may nest; what lies deeper is dropped.
const maxJSONDepth = 64

// value is a JSON value, or something read as if it were one: microdata and
// RDFa give the same shape, so that one reader understands all three.
type value struct {
	kind   valueKind
	text   string              // of a string, number or literal
	items  []*value            // of a list
	fields map[string][]*value // of an object; lists are unfolded, so that one and many look alike
	raw    string              // the source it was read from, with its name: what evidence quotes
}

type valueKind uint8

const (
	nullValue valueKind = iota
	textValue
	numberValue // and true, false
	listValue
	objectValue
)

// readJSON reads every JSON value of a text, as people really write them: it
// takes comments (also HTML's) around and between tokens, control characters
// inside strings, single quotes, trailing and missing commas, unknown escapes,
// and a text that stops in the middle, of which it keeps what was whole.
func readJSON(source string) []*value {
	if !strings.Contains(source, `"`) && strings.Contains(source, "&quot;") {
		source = strings.NewReplacer("&quot;", `"`, "&amp;", "&", "&#39;", "'", "&lt;", "<", "&gt;", ">").Replace(source)
	}
	r := &jsonReader{s: strings.TrimPrefix(source, "\ufeff")}
	var values []*value
	for {
		r.blank()
		if r.i >= len(r.s) {
			return values
		}
		if c := r.s[r.i]; c != '{' && c != '[' {
			r.i++ // stray text between values
			continue
		}
		if v := r.value(0); v != nil {
			values = append(values, v)
		}
	}
}

type jsonReader struct {
	s string
	i int
}

// blank skips white space, control characters and comments.
func (r *jsonReader) blank() {
	for r.i < len(r.s) {
		c := r.s[r.i]
		rest := r.s[r.i:]
		switch {
		case c <= ' ' || c == 0x7F:
			r.i++
		case strings.HasPrefix(rest, "\u00a0"):
			r.i += 2
		case strings.HasPrefix(rest, "//"):
			r.skipTo("\n", 2)
		case strings.HasPrefix(rest, "/*"):
			r.skipTo("*/", 2)
		case strings.HasPrefix(rest, "<!--"):
			// What HTML comments out around a script is still the script; a short one without data in it is a comment.
			if end := strings.Index(rest[:min(len(rest), 400)], "-->"); end >= 0 && !strings.ContainsAny(rest[:end], "{[") {
				r.i += end + 3
			} else {
				r.i += 4
			}
		case strings.HasPrefix(rest, "-->"):
			r.i += 3
		case strings.HasPrefix(rest, "<![CDATA["):
			r.i += 9
		case strings.HasPrefix(rest, "]]>"):
			r.i += 3
		default:
			return
		}
	}
}

func (r *jsonReader) skipTo(mark string, from int) {
	if end := strings.Index(r.s[r.i+from:], mark); end >= 0 {
		r.i += from + end + len(mark)
	} else {
		r.i = len(r.s)
	}
}

// value reads one value; nil when there is none that can be read.
func (r *jsonReader) value(depth int) *value {
	r.blank()
	if r.i >= len(r.s) {
		return nil
	}
	start := r.i
	var v *value
	switch c := r.s[r.i]; {
	case depth > maxJSONDepth:
		r.i = len(r.s)
		return nil
	case c == '{':
		v = r.object(depth)
	case c == '[':
		v = r.list(depth)
	case c == '"' || c == '\'':
		text, whole := r.text(c)
		if !whole {
			return nil // it runs into whatever came after the break
		}
		v = &value{kind: textValue, text: text}
	default:
		v = r.word()
	}
	if v != nil {
		v.raw = r.s[start:r.i]
	}
	return v
}

func (r *jsonReader) object(depth int) *value {
	v := &value{kind: objectValue, fields: map[string][]*value{}}
	r.i++
	for {
		r.blank()
		if r.i >= len(r.s) {
			return v
		}
		start := r.i
		key := ""
		switch c := r.s[r.i]; c {
		case '}':
			r.i++
			return v
		case ']':
			return v // a brace was forgotten; the list outside goes on
		case ',', ';', ':':
			r.i++
			continue
		case '"', '\'':
			var whole bool
			if key, whole = r.text(c); !whole {
				return v
			}
		default:
			w := r.word()
			if w == nil {
				r.i++
				continue
			}
			key = w.text
		}
		r.blank()
		if r.i >= len(r.s) || r.s[r.i] != ':' {
			continue // a value without a name
		}
		r.i++
		r.blank()
		if r.i < len(r.s) && (r.s[r.i] == ',' || r.s[r.i] == '}') {
			continue // a name without a value
		}
		field := r.value(depth + 1)
		if field == nil {
			continue
		}
		field.raw = r.s[start:r.i]
		if field.kind == listValue {
			for _, item := range field.items {
				if item.kind != objectValue && len(field.raw) <= maxSnippet {
					item.raw = field.raw // a short list is quoted whole, with its name
				}
			}
			v.fields[key] = append(v.fields[key], field.items...)
		} else if field.kind != nullValue {
			v.fields[key] = append(v.fields[key], field)
		}
	}
}

func (r *jsonReader) list(depth int) *value {
	v := &value{kind: listValue}
	r.i++
	for {
		r.blank()
		if r.i >= len(r.s) {
			return v
		}
		switch r.s[r.i] {
		case ']':
			r.i++
			return v
		case '}':
			return v // a bracket was forgotten; the object outside ends here
		case ',', ';', ':':
			r.i++
			continue
		}
		before := r.i
		switch item := r.value(depth + 1); {
		case item == nil:
			if r.i == before {
				r.i++
			}
		case item.kind == listValue:
			v.items = append(v.items, item.items...)
		case item.kind != nullValue:
			v.items = append(v.items, item)
		}
	}
}

// text reads a string. Raw line ends and control characters belong to it.
func (r *jsonReader) text(quote byte) (text string, whole bool) {
	r.i++
	start := r.i
	end := strings.IndexAny(r.s[start:], string(quote)+`\`)
	if end >= 0 && r.s[start+end] == quote {
		r.i = start + end + 1
		return r.s[start : start+end], true
	}
	var b strings.Builder
	for r.i < len(r.s) {
		c := r.s[r.i]
		r.i++
		switch {
		case c == quote:
			return b.String(), true
		case c != '\\' || r.i >= len(r.s):
			b.WriteByte(c)
		default:
			r.escape(&b)
		}
	}
	return b.String(), false
}

func (r *jsonReader) escape(b *strings.Builder) {
	c := r.s[r.i]
	r.i++
	switch c {
	case 'n', 'r', 't', 'f', 'b':
		b.WriteByte(' ')
	case 'u':
		first, ok := r.hex4()
		if !ok {
			b.WriteByte(c)
			return
		}
		if first >= 0xD800 && first < 0xDC00 && strings.HasPrefix(r.s[r.i:], `\u`) {
			mark := r.i
			r.i += 2
			if second, ok := r.hex4(); ok && second >= 0xDC00 && second < 0xE000 {
				b.WriteRune(0x10000 + (first-0xD800)<<10 + (second - 0xDC00))
				return
			}
			r.i = mark
		}
		if !utf8.ValidRune(first) {
			first = utf8.RuneError
		}
		b.WriteRune(first)
	default:
		b.WriteByte(c)
	}
}

func (r *jsonReader) hex4() (rune, bool) {
	if r.i+4 > len(r.s) {
		return 0, false
	}
	n, err := strconv.ParseUint(r.s[r.i:r.i+4], 16, 32)
	if err != nil {
		return 0, false
	}
	r.i += 4
	return rune(n), true
}

// word reads a number, a literal, or a name without quotes.
func (r *jsonReader) word() *value {
	start := r.i
	for r.i < len(r.s) {
		c := r.s[r.i]
		if !isAlnum(c) && c != '_' && c != '-' && c != '+' && c != '.' && c != '@' && c != '$' {
			break
		}
		r.i++
	}
	w := r.s[start:r.i]
	switch w {
	case "":
		return nil
	case "null", "undefined", "None", "NaN", "nil":
		return &value{kind: nullValue, text: w}
	}
	return &value{kind: numberValue, text: w}
}

// strings answers the texts of a field; numbers count as texts.
func (v *value) strings(name string) []string {
	var out []string
	for _, f := range v.fields[name] {
		if f.kind == textValue || f.kind == numberValue {
			out = append(out, f.text)
		}
	}
	return out
}

// string is the first text of a field; "" without one.
func (v *value) string(name string) string {
	if all := v.strings(name); len(all) > 0 {
		return all[0]
	}
	return ""
}

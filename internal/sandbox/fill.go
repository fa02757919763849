package sandbox

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"time"
)

//go:embed testdata
var files embed.FS

// placeholder is {web}, the port of the web server, or {year} and {year-3}, a year counted from today.
var placeholder = regexp.MustCompile(`\{(web|year(?:-(\d{1,2}))?)\}`)

// filler reads embedded files with their placeholders filled in.
type filler struct {
	web   string
	today time.Time
}

func (f filler) read(name string) ([]byte, error) {
	raw, err := files.ReadFile(name)
	if err != nil {
		return nil, err
	}
	return placeholder.ReplaceAllFunc(raw, func(found []byte) []byte {
		part := placeholder.FindSubmatch(found)
		if string(part[1]) == "web" {
			return []byte(f.web)
		}
		back, _ := strconv.Atoi(string(part[2])) // digits, or nothing for this year
		return []byte(strconv.Itoa(f.today.Year() - back))
	}), nil
}

// mustRead is for files that the package itself carries under a fixed name.
func (f filler) mustRead(name string) []byte {
	b, err := f.read(name)
	if err != nil {
		panic(err)
	}
	return b
}

// decode reads an embedded JSON file; fields that v does not have are an error.
func (f filler) decode(name string, v any) error {
	b, err := f.read(name)
	if err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

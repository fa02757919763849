package enrichment

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/enrichd/enrichd/enrichment/pipeline"
	"github.com/enrichd/enrichd/internal/fault"
)

// Format is how a file of profiles is written.
type Format string

// The formats that can be imported.
const (
	FormatCSV        Format = "csv"        // a header line with the fields of ProfileInput; lists separated by ;
	FormatJSONLines  Format = "jsonl"      // one ProfileInput a line
	FormatJSONResume Format = "jsonresume" // one JSON Resume document, or a list of them (jsonresume.org/schema)
)

// FormatOf guesses a file's format by the ending of its name.
func FormatOf(name string) (Format, error) {
	switch lower := strings.ToLower(name); {
	case strings.HasSuffix(lower, ".csv"):
		return FormatCSV, nil
	case strings.HasSuffix(lower, ".jsonl"), strings.HasSuffix(lower, ".ndjson"):
		return FormatJSONLines, nil
	case strings.HasSuffix(lower, ".json"):
		return FormatJSONResume, nil
	}
	return "", errors.New("the file's ending tells no format: name it .csv, .jsonl or .json (JSON Resume), or say --format")
}

// aliases are the spellings of a stored search preview, which can be imported as it is.
var aliases = map[string]string{
	"profileId": "externalId", "fullName": "name", "title": "currentRole", "companyName": "currentCompany",
	"profileUrl": "links", "linkedinUrl": "links",
}

// ReadRows reads profiles of one format. A row that cannot be read carries its
// error; ignored names the columns that mean nothing here. err is for files that are unreadable as a whole.
func ReadRows(f Format, r io.Reader) (rows []ImportRow, ignored []string, err error) {
	switch f {
	case FormatCSV:
		return readCSV(r)
	case FormatJSONLines:
		rows, err = readJSONLines(r)
	case FormatJSONResume:
		rows, err = readJSONResume(r)
	default:
		err = fault.Invalid("format", "is one of csv, jsonl, jsonresume, not %q", f)
	}
	return rows, nil, err
}

func readCSV(r io.Reader) (rows []ImportRow, ignored []string, err error) {
	c := csv.NewReader(skipBOM(r))
	c.FieldsPerRecord = -1
	head, err := c.Read()
	if err != nil {
		return nil, nil, fault.Invalid("source", "has no header line with column names: %v", err)
	}
	columns := make([]string, len(head))
	for i, h := range head {
		columns[i] = strings.TrimSpace(h)
		if to, ok := aliases[columns[i]]; ok {
			columns[i] = to
		}
		if !slices.Contains(csvColumns, columns[i]) {
			ignored = append(ignored, head[i])
		}
	}
	if !slices.Contains(columns, "externalId") || !slices.Contains(columns, "name") {
		return nil, ignored, fault.Invalid("source", "needs the columns externalId and name; it has %s", strings.Join(head, ", "))
	}
	for i := 0; ; i++ {
		record, err := c.Read()
		switch {
		case err == io.EOF:
			return rows, ignored, nil
		case len(rows) >= MaxRows:
			return append(rows, ImportRow{}), ignored, nil // one too many: the import itself says so
		case err != nil:
			rows = append(rows, ImportRow{Err: fault.Invalid(strconv.Itoa(i), "is not CSV: %v", err)})
			continue
		case len(record) > len(columns):
			rows = append(rows, ImportRow{Err: fault.Invalid(strconv.Itoa(i), "has %d values for %d columns", len(record), len(columns))})
			continue
		}
		rows = append(rows, csvRow(i, columns, record))
	}
}

// csvColumns are the columns that mean something.
var csvColumns = []string{
	"externalId", "name", "headline", "location", "currentCompany", "currentRole", "skills", "emails", "links",
	"roleBrief", "roleBrief.title", "roleBrief.description", "roleBrief.mustHaveSkills", "roleBrief.niceToHaveSkills", "roleBrief.location",
	"metadata",
}

func csvRow(i int, columns, record []string) ImportRow {
	var in ProfileInput
	brief := &pipeline.RoleBrief{}
	hasBrief := false
	for n, v := range record {
		if strings.TrimSpace(v) == "" {
			continue
		}
		hasBrief = hasBrief || strings.HasPrefix(columns[n], "roleBrief")
		switch columns[n] {
		case "externalId":
			in.ExternalID = v
		case "name":
			in.Name = v
		case "headline":
			in.Headline = &v
		case "location":
			in.Location = &v
		case "currentCompany":
			in.CurrentCompany = &v
		case "currentRole":
			in.CurrentRole = &v
		case "skills":
			in.Skills = append(in.Skills, strings.Split(v, ";")...)
		case "emails":
			in.Emails = append(in.Emails, strings.Split(v, ";")...)
		case "links":
			in.Links = append(in.Links, strings.Split(v, ";")...)
		case "metadata":
			in.Metadata = json.RawMessage(v)
		case "roleBrief":
			if err := json.Unmarshal([]byte(v), brief); err != nil {
				return ImportRow{Err: fault.Invalid(strconv.Itoa(i)+".roleBrief", "is not a JSON role brief: %v", err)}
			}
		case "roleBrief.title":
			brief.Title = v
		case "roleBrief.description":
			brief.Description = &v
		case "roleBrief.mustHaveSkills":
			brief.MustHaveSkills = strings.Split(v, ";")
		case "roleBrief.niceToHaveSkills":
			brief.NiceToHaveSkills = strings.Split(v, ";")
		case "roleBrief.location":
			brief.Location = &v
		}
	}
	if hasBrief {
		in.RoleBrief = brief
	}
	return ImportRow{Input: in}
}

// maxLineBytes bounds one line of JSON Lines.
const maxLineBytes = 1 << 20

func readJSONLines(r io.Reader) ([]ImportRow, error) {
	var rows []ImportRow
	lines := bufio.NewScanner(skipBOM(r))
	lines.Buffer(make([]byte, 64<<10), maxLineBytes)
	for lines.Scan() {
		line := bytes.TrimSpace(lines.Bytes())
		if len(line) == 0 {
			continue
		}
		if len(rows) > MaxRows {
			return rows, nil // one too many: the import itself says so
		}
		in, err := jsonRow(strconv.Itoa(len(rows)), line)
		rows = append(rows, ImportRow{Input: in, Err: err})
	}
	if err := lines.Err(); err != nil {
		return rows, fault.Invalid("source", "cannot be read after row %d: %v", len(rows), err)
	}
	return rows, nil
}

// jsonRow reads one ProfileInput, in either spelling; unknown fields are ignored.
func jsonRow(at string, line []byte) (ProfileInput, error) {
	var in ProfileInput
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(line, &fields); err != nil {
		return in, fault.Invalid(at, "is not a JSON object: %v", err)
	}
	var links []string
	for from, to := range aliases {
		v, ok := fields[from]
		if !ok {
			continue
		}
		if to == "links" {
			var link string
			if err := json.Unmarshal(v, &link); err != nil {
				return in, fault.Invalid(at+"."+from, "must be a string")
			}
			links = append(links, link)
		} else if fields[to] == nil {
			fields[to] = v
		}
		delete(fields, from)
	}
	known, err := json.Marshal(fields)
	if err == nil {
		err = json.Unmarshal(known, &in)
	}
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		return in, fault.Invalid(at+"."+wrong.Field, "must be %s, not %s", wrong.Type, wrong.Value)
	}
	if err != nil {
		return in, fault.Invalid(at, "cannot be read: %v", err)
	}
	slices.Sort(links)
	in.Links = append(in.Links, links...)
	return in, nil
}

// resume is the part of a JSON Resume that a profile is made of.
type resume struct {
	Basics struct {
		Name     string
		Label    string
		Email    string
		URL      string
		Location struct{ City, Region, CountryCode string }
		Profiles []struct{ URL string }
	}
	Work []struct {
		Name, Position, StartDate, EndDate string
	}
	Skills []struct {
		Name     string
		Keywords []string
	}
	Meta struct{ ExternalID string }
}

func readJSONResume(r io.Reader) ([]ImportRow, error) {
	body, err := io.ReadAll(io.LimitReader(skipBOM(r), 64<<20))
	if err != nil {
		return nil, fmt.Errorf("read JSON Resume: %w", err)
	}
	var docs []json.RawMessage
	if err := json.Unmarshal(body, &docs); err != nil {
		if !json.Valid(body) {
			return nil, fault.Invalid("source", "is not JSON")
		}
		docs = []json.RawMessage{body}
	}
	rows := make([]ImportRow, len(docs))
	for i, doc := range docs {
		var cv resume
		if err := json.Unmarshal(doc, &cv); err != nil {
			rows[i].Err = fault.Invalid(strconv.Itoa(i), "is not a JSON Resume: %v", err)
			continue
		}
		rows[i].Input = cv.input()
	}
	return rows, nil
}

// input makes a profile of a résumé. Its key is meta.externalId, else the address, else the page.
func (cv resume) input() ProfileInput {
	b := cv.Basics
	in := ProfileInput{ExternalID: cv.Meta.ExternalID, Name: b.Name, Headline: optional(b.Label)}
	for _, key := range []string{b.Email, b.URL} {
		if in.ExternalID == "" {
			in.ExternalID = key
		}
	}
	place := []string{}
	for _, p := range []string{b.Location.City, b.Location.Region, b.Location.CountryCode} {
		if p != "" {
			place = append(place, p)
		}
	}
	in.Location = optional(strings.Join(place, ", "))
	if b.Email != "" {
		in.Emails = []string{b.Email}
	}
	if b.URL != "" {
		in.Links = append(in.Links, b.URL)
	}
	for _, p := range b.Profiles {
		if p.URL != "" {
			in.Links = append(in.Links, p.URL)
		}
	}
	for _, w := range cv.Work {
		if w.EndDate == "" && w.Name != "" {
			in.CurrentCompany, in.CurrentRole = &w.Name, optional(w.Position)
			break
		}
	}
	for _, s := range cv.Skills {
		in.Skills = append(in.Skills, s.Name)
		in.Skills = append(in.Skills, s.Keywords...)
	}
	return in
}

func skipBOM(r io.Reader) io.Reader {
	b := bufio.NewReader(r)
	if head, err := b.Peek(3); err == nil && bytes.Equal(head, []byte("\xef\xbb\xbf")) {
		b.Discard(3)
	}
	return b
}

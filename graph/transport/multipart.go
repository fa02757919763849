package transport

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/99designs/gqlgen/graphql"
)

const mediaMultipart = "multipart/form-data"

// The bounds of a multipart request besides its size.
const (
	maxFiles   = 10
	maxMapSize = 16 << 10
)

// preflightHeader, like Authorization, makes browsers ask before they send a
// form to another site, which they otherwise do without asking.
const preflightHeader = "GraphQL-Require-Preflight"

// Multipart answers one operation whose variables hold files, sent as
// multipart/form-data as the GraphQL multipart request specification says
// (github.com/jaydenseric/graphql-multipart-request-spec, version 2, without
// batches): first operations, then map, then the files that map names.
type Multipart struct {
	// BodyLimit is the largest body read, in bytes; OperationsLimit the largest part "operations".
	BodyLimit, OperationsLimit int64
	// Timeout ends an operation that takes longer; ReadTimeout an upload that takes longer.
	Timeout, ReadTimeout time.Duration
}

// Supports reports whether r is a POST of a form.
func (Multipart) Supports(r *http.Request) bool {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return err == nil && r.Method == http.MethodPost && media == mediaMultipart && negotiate(r) != mediaEvents
}

// Do answers r.
func (t Multipart) Do(w http.ResponseWriter, r *http.Request, exec graphql.GraphExecutor) {
	if r.Header.Get(preflightHeader) == "" && r.Header.Get("Authorization") == "" {
		Refuse(w, r, badRequest("a multipart request needs the header "+preflightHeader))
		return
	}
	// Not every writer has deadlines; the size is bounded in any case.
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(t.ReadTimeout))
	params, err := t.read(w, r)
	_ = control.SetReadDeadline(time.Time{})
	if err != nil {
		Refuse(w, r, err)
		return
	}
	respond(w, r, exec, params, t.Timeout, true)
}

func (t Multipart) read(w http.ResponseWriter, r *http.Request) (*graphql.RawParams, error) {
	r.Body = http.MaxBytesReader(w, r.Body, t.BodyLimit)
	parts, err := r.MultipartReader()
	if err != nil {
		return nil, malformed("the request body is no multipart form")
	}
	operations, err := t.part(parts, "operations", t.OperationsLimit)
	if err != nil {
		return nil, err
	}
	params, err := decodeParams(operations)
	if err != nil {
		return nil, err
	}
	places, err := t.part(parts, "map", maxMapSize)
	if err != nil {
		return nil, err
	}
	var named map[string][]string
	if json.Unmarshal(places, &named) != nil || named == nil {
		return nil, badRequest("the part map must be a JSON object of lists of paths")
	}
	if len(named) > maxFiles {
		return nil, badRequest(fmt.Sprintf("a request carries %d files at most", maxFiles))
	}
	return params, t.files(parts, params.Variables, named)
}

// part reads the next part, which must have the name.
func (t Multipart) part(parts *multipart.Reader, name string, limit int64) ([]byte, error) {
	p, err := parts.NextPart()
	if err != nil || p.FormName() != name {
		return nil, t.unreadable(err, "the multipart form must hold operations, then map, then the files")
	}
	b, err := io.ReadAll(io.LimitReader(p, limit+1))
	switch {
	case err != nil:
		return nil, t.unreadable(err, "the part "+name+" could not be read")
	case int64(len(b)) > limit:
		return nil, TooLarge(limit)
	}
	return b, nil
}

func (t Multipart) unreadable(err error, otherwise string) error {
	if errors.As(err, new(*http.MaxBytesError)) {
		return TooLarge(t.BodyLimit)
	}
	return malformed(otherwise)
}

// files puts every file where map says, and wants every file that map names.
func (t Multipart) files(parts *multipart.Reader, variables map[string]any, named map[string][]string) error {
	for {
		p, err := parts.NextPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			return t.unreadable(err, "the multipart form is cut short or malformed")
		}
		places, wanted := named[p.FormName()]
		if !wanted {
			return badRequest("the multipart form holds a part that map does not name")
		}
		delete(named, p.FormName())
		content, err := io.ReadAll(p)
		if err != nil {
			return t.unreadable(err, "a file could not be read")
		}
		for _, place := range places {
			file := graphql.Upload{File: bytes.NewReader(content), Filename: p.FileName(), Size: int64(len(content)), ContentType: p.Header.Get("Content-Type")}
			if !putFile(variables, place, file) {
				return badRequest("map names a path where the variables hold no null")
			}
		}
	}
	if len(named) > 0 {
		return badRequest("map names files that the form does not hold")
	}
	return nil
}

// putFile replaces the null at a path such as variables.input.source.csv or variables.files.0.
func putFile(variables map[string]any, path string, file graphql.Upload) bool {
	steps := strings.Split(path, ".")
	if len(steps) < 2 || steps[0] != "variables" {
		return false
	}
	var at any = variables
	for i, step := range steps[1:] {
		last := i == len(steps)-2
		switch in := at.(type) {
		case map[string]any:
			v, held := in[step]
			if last {
				if !held || v != nil {
					return false
				}
				in[step] = file
				return true
			}
			at = v
		case []any:
			n, err := strconv.Atoi(step)
			if err != nil || n < 0 || n >= len(in) {
				return false
			}
			if last {
				if in[n] != nil {
					return false
				}
				in[n] = file
				return true
			}
			at = in[n]
		default:
			return false
		}
	}
	return false
}

package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"unicode/utf8"
)

// maxBody is the largest body of the contract's routes.
const maxBody = 256 << 10

// badBody says why a request's body was not read.
type badBody struct {
	field    string
	message  string
	tooLarge bool
}

func (b badBody) Error() string { return b.message }

// readBody reads one JSON object into v: nothing before or behind it, at most
// maxBody bytes. Unknown fields are ignored, as the contract has it. The body is never echoed.
func readBody(w http.ResponseWriter, req *http.Request, v any) error {
	if ct := req.Header.Get("Content-Type"); ct != "" {
		if media, _, err := mime.ParseMediaType(ct); err != nil || (media != "application/json" && !strings.HasSuffix(media, "+json")) {
			return badBody{message: "Content-Type must be application/json"}
		}
	}
	raw, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxBody))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return badBody{message: fmt.Sprintf("The body is larger than %d bytes", maxBody), tooLarge: true}
	case err != nil:
		return badBody{message: "The body could not be read"}
	case !utf8.Valid(raw):
		return badBody{message: "The body is not valid UTF-8"}
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	err = dec.Decode(v)
	if err == nil && bytes.TrimSpace(raw)[0] != '{' {
		return badBody{message: "The body must be a JSON object"}
	}
	if err == nil {
		if _, more := dec.Token(); more != io.EOF {
			return badBody{message: "The body must be one JSON object and nothing after it"}
		}
		return nil
	}
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) && wrong.Field != "" {
		return badBody{field: wrong.Field, message: fmt.Sprintf("%s has the wrong type: %s", wrong.Field, wrong.Value)}
	}
	return badBody{message: "The body must be a JSON object"}
}

package egress

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

const (
	// maxRatio is how much a body may grow by unpacking; honest text stays below 20.
	maxRatio = 100
	// ratioFrom is where the ratio begins to count: a small page of blanks is no bomb.
	ratioFrom = 64 << 10
	// packedSlack is how much a packed body may exceed the limit of the unpacked one: headers and empty blocks.
	packedSlack = 4 << 10
)

// readBody reads at most limit bytes of the body, unpacked. A longer one is
// TooLarge, or cut when truncate is set; what was read is returned in either
// case, and beside any other error. With unpack unset the body is returned as it came.
func readBody(response *http.Response, limit int, unpack, truncate bool) (body []byte, truncated bool, err error) {
	if response.Request.Method == http.MethodHead {
		return nil, false, nil
	}
	if !truncate && response.ContentLength > int64(limit)+packedSlack {
		return nil, true, tooLarge(limit)
	}
	from := &counter{r: response.Body}
	var reader io.Reader = from
	packed := false
	if unpack {
		switch encoding := strings.ToLower(strings.TrimSpace(response.Header.Get("Content-Encoding"))); encoding {
		case "", "identity":
		case "gzip", "x-gzip":
			from.max = int64(limit) + packedSlack
			zr, err := gzip.NewReader(from)
			if errors.Is(err, io.EOF) {
				return nil, false, nil // a header without a body, as some servers send with errors
			}
			if err != nil {
				return nil, false, err
			}
			reader, packed = zr, true
		default:
			return nil, false, &Error{Kind: Broken, Phase: PhaseBody, Detail: fmt.Sprintf("content encoding %.40q was not asked for", encoding)}
		}
	}
	chunk := make([]byte, 16<<10)
	for {
		n, err := reader.Read(chunk)
		if packed && int64(len(body)+n) > growth(from.n) {
			return body, true, &Error{Kind: Bomb, Phase: PhaseBody, Detail: fmt.Sprintf("grows more than %d times", maxRatio)}
		}
		if len(body)+n > limit {
			body = append(body, chunk[:limit-len(body)]...)
			if truncate {
				return body, true, nil
			}
			return body, true, tooLarge(limit)
		}
		body = append(body, chunk[:n]...)
		switch {
		case errors.Is(err, io.EOF):
			return body, false, nil
		case errors.Is(err, errPackedTooLarge):
			return body, true, tooLarge(limit)
		case err != nil:
			return body, true, err
		}
	}
}

func tooLarge(limit int) error {
	return &Error{Kind: TooLarge, Phase: PhaseBody, Detail: fmt.Sprintf("more than %d bytes", limit)}
}

var errPackedTooLarge = errors.New("packed body too large")

// counter counts what it reads and stops after max bytes (0: never).
type counter struct {
	r      io.Reader
	n, max int64
}

func (c *counter) Read(p []byte) (int, error) {
	if c.max > 0 && c.n >= c.max {
		return 0, errPackedTooLarge
	}
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// growth is how large a body may be after unpacking n bytes of it.
func growth(n int64) int64 { return max(ratioFrom, maxRatio*n) }

package graph

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"github.com/enrichd/enrichd/graph/transport"
	"github.com/enrichd/enrichd/internal/access"
)

// Operations are texts by the SHA-256 of each, in lower-case hexadecimal: what a client
// was built with, such as the dashboard.
type Operations map[string]string

// ParseOperations reads a JSON object of hash to text. An entry whose hash is not its text's is an error.
func ParseOperations(b []byte) (Operations, error) {
	var list map[string]string
	if err := json.Unmarshal(b, &list); err != nil {
		return nil, fmt.Errorf("operations must be a JSON object of hash to text: %w", err)
	}
	out := make(Operations, len(list))
	for hash, text := range list {
		if hash = strings.ToLower(hash); hash != hashOf(text) {
			return nil, fmt.Errorf("operation %.12s… has another hash than its text", hash)
		}
		out[hash] = text
	}
	return out, nil
}

func hashOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// CheckOperations says which of Options.Operations the schema, or a limit, does not let run.
func (s *Server) CheckOperations() error {
	var bad []error
	for hash, text := range s.o.Operations {
		if _, errs := s.engine.load(text); len(errs) > 0 {
			bad = append(bad, fmt.Errorf("operation %.12s…: %s", hash, errs[0].Message))
		}
	}
	return errors.Join(bad...)
}

// resolve finds the document of a request. A client may send extensions.persistedQuery
// {version: 1, sha256Hash} in place of the text. A hash of Options.Operations is always known;
// of another the text is asked for once, and only a text that has passed every check is
// remembered, so that nobody can fill the memory with what nobody may run. With
// Options.PersistedOnly, or for a key that is held to them, nothing but those operations runs,
// and no text is even looked at: what others had remembered counts for nothing, since it is of one process and forgotten.
func (e *engine) resolve(ctx context.Context, p *graphql.RawParams) (*document, gqlerror.List) {
	hash, given, err := persistedHash(p.Extensions)
	text, listed := "", false
	if err == nil && given && p.Query == "" {
		text, listed = e.operations[hash]
	}
	switch {
	case listed:
		return e.load(text)
	case e.persistedOnly:
		return nil, gqlerror.List{transport.Error(transport.CodePersistedQueryOnly, "this server runs known operations only, by their hash")}
	case keyPersistedOnly(ctx):
		return nil, gqlerror.List{transport.Error(transport.CodePersistedQueryOnly, "this key runs known operations only, by their hash")}
	case err != nil:
		return nil, gqlerror.List{err}
	case !given:
		return e.load(p.Query)
	case p.Query == "":
		if d, known := e.persisted.get(hash); known {
			return d, nil
		}
		// Apollo's clients know this message, others the code.
		return nil, gqlerror.List{transport.Error(transport.CodePersistedQueryNotFound, "PersistedQueryNotFound")}
	}
	if hashOf(p.Query) != hash {
		return nil, gqlerror.List{transport.Error(transport.CodeValidationFailed, "sha256Hash is not the hash of the query")}
	}
	d, errs := e.load(p.Query)
	if len(errs) == 0 && len(p.Query) <= cachedText {
		e.persisted.put(hash, d)
	}
	return d, errs
}

func keyPersistedOnly(ctx context.Context) bool {
	p := access.From(ctx)
	return p != nil && p.Key.PersistedOnly
}

// persistedHash reads extensions.persistedQuery.
func persistedHash(extensions map[string]any) (hash string, given bool, err *gqlerror.Error) {
	v, given := extensions["persistedQuery"]
	if !given || v == nil {
		return "", false, nil
	}
	m, _ := v.(map[string]any)
	hash, _ = m["sha256Hash"].(string)
	if hash = strings.ToLower(hash); len(hash) != hex.EncodedLen(sha256.Size) {
		return "", true, transport.Error(transport.CodeValidationFailed, "persistedQuery needs a sha256Hash in hexadecimal")
	}
	return hash, true, nil
}

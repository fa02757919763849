package graph

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"github.com/enrichd/enrichd/graph/transport"
)

// resolve finds the document of a request. A client may send extensions.persistedQuery
// {version: 1, sha256Hash} in place of the text; when the hash is not known it
// is told so, and sends both once. Only a text that has passed every check is
// remembered, so that nobody can fill the memory with what nobody may run.
func (e *engine) resolve(p *graphql.RawParams) (*document, gqlerror.List) {
	hash, given, err := persistedHash(p.Extensions)
	switch {
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
	sum := sha256.Sum256([]byte(p.Query))
	if hex.EncodeToString(sum[:]) != hash {
		return nil, gqlerror.List{transport.Error(transport.CodeValidationFailed, "sha256Hash is not the hash of the query")}
	}
	d, errs := e.load(p.Query)
	if len(errs) == 0 && len(p.Query) <= cachedText {
		e.persisted.put(hash, d)
	}
	return d, errs
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

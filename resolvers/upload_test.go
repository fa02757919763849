package resolvers_test

import (
	"bytes"
	"encoding/json"
	"mime/multipart"
	"strings"
	"testing"
)

// upload sends a mutation with one file.
func (c *caller) upload(v any, query string, variables map[string]any, at, content string) []gqlError {
	c.t.Helper()
	operations, err := json.Marshal(map[string]any{"query": query, "variables": variables})
	must(c.t, err)
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	must(c.t, w.WriteField("operations", string(operations)))
	must(c.t, w.WriteField("map", `{"0":["`+at+`"]}`))
	file, err := w.CreateFormFile("0", "people")
	must(c.t, err)
	_, err = file.Write([]byte(content))
	must(c.t, err)
	must(c.t, w.Close())
	data, errs := c.send(w.FormDataContentType(), &body)
	if len(errs) == 0 {
		must(c.t, json.Unmarshal(data, v))
	}
	return errs
}

func TestUpload(t *testing.T) {
	t.Parallel()
	c := newHouse(t).caller(1)
	type answer struct {
		ImportProfiles struct {
			Created    int
			Profiles   []struct{ ExternalID, Name string }
			UserErrors []struct{ Field []string }
		}
	}
	const query = `mutation($in: ImportProfilesInput!) { importProfiles(input: $in) { created profiles { externalId name } userErrors { field } } }`
	send := func(format, key, content string) (got answer, errs []gqlError) {
		errs = c.upload(&got, query, map[string]any{"in": map[string]any{"idempotencyKey": key, "source": map[string]any{format: nil}}},
			"variables.in.source."+format, content)
		return got, errs
	}

	t.Run("imports CSV, JSON Lines and JSON Resume", func(t *testing.T) {
		for format, content := range map[string]string{
			"csv":        "externalId,name,emails\ncsv1,Ada Lindqvist,ada@acme.test\n,No Key,\n",
			"jsonLines":  `{"externalId":"jl1","name":"Bo Berg"}` + "\n" + `{"name":"No Key"}` + "\n",
			"jsonResume": `[{"basics":{"name":"Cy Carlsson","email":"cy@acme.test"}},{"basics":{"name":"No Key"}}]`,
		} {
			got, errs := send(format, format, content)
			if p := got.ImportProfiles; len(errs) > 0 || p.Created != 1 || len(p.Profiles) != 1 || len(p.UserErrors) != 1 || p.UserErrors[0].Field[0] != "1" {
				t.Errorf("%s: %+v %v", format, got, errs)
			}
		}
	})
	t.Run("has a limit of its own", func(t *testing.T) {
		row := "x,Somebody," + strings.Repeat("y", 300) + "\n"
		if _, errs := send("csv", "big", "externalId,name,headline\n"+strings.Repeat(row, 2000)); len(errs) > 0 {
			t.Errorf("600 KB: %v", errs)
		}
		if _, errs := send("csv", "huge", strings.Repeat(row, 40_000)); len(errs) != 1 || !strings.Contains(errs[0].Message, "larger than") {
			t.Errorf("12 MB: %v", errs)
		}
	})
	t.Run("takes exactly one source", func(t *testing.T) {
		errs := c.upload(new(answer), query, map[string]any{"in": map[string]any{"idempotencyKey": "two", "source": map[string]any{"csv": nil, "rows": []any{}}}},
			"variables.in.source.csv", "externalId,name\n")
		if len(errs) != 1 || errs[0].Extensions["code"] != "GRAPHQL_VALIDATION_FAILED" {
			t.Errorf("%v", errs)
		}
	})
}

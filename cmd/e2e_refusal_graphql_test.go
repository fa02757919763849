package cmd_test

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/gorilla/websocket"
)

// input makes the variables of startMutation.
func input(fields map[string]any) map[string]any {
	in := map[string]any{"idempotencyKey": "k", "profileIds": []string{"a"}}
	for name, value := range fields {
		in[name] = value
	}
	return map[string]any{"in": in}
}

func ids(n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = "prof_" + string(rune('a'+i))
	}
	return all
}

// posted is one bad request to /graphql and what is documented for it.
type posted struct {
	body      string
	headers   []string
	status    int
	newStatus int // under application/graphql-response+json; 0: the same
	code      string
	late      bool // found when the field is run and no sooner: a result with an error in it
}

const newMedia = "application/graphql-response+json"

// operations are what is wrong with an operation, whatever carries it.
func operations(t *testing.T) map[string]posted {
	body := func(query string, variables any) string {
		return string(marshal(t, map[string]any{"query": query, "variables": variables}))
	}
	start := func(fields map[string]any) string { return body(startMutation, input(fields)) }
	const parse, validate = "GRAPHQL_PARSE_FAILED", "GRAPHQL_VALIDATION_FAILED"
	return map[string]posted{
		"a broken document":             {body: body(`mutation {`, nil), status: 200, newStatus: 400, code: parse},
		"an empty document":             {body: body(`# nothing`, nil), status: 200, newStatus: 400, code: validate},
		"an unknown field":              {body: body(`{ nobody }`, nil), status: 200, newStatus: 400, code: validate},
		"an unknown argument":           {body: body(`{ profile(name: "x") { id } }`, nil), status: 200, newStatus: 400, code: validate},
		"a missing variable":            {body: body(startMutation, nil), status: 200, newStatus: 400, code: validate},
		"a string for the ids":          {body: start(map[string]any{"profileIds": map[string]any{"a": 1}}), status: 200, newStatus: 400, code: validate},
		"objects for ids":               {body: start(map[string]any{"profileIds": []any{map[string]any{}}}), status: 200, newStatus: 400, code: validate},
		"null among the ids":            {body: start(map[string]any{"profileIds": []any{"a", nil}}), status: 200, newStatus: 400, code: validate},
		"null for the ids":              {body: start(map[string]any{"profileIds": nil}), status: 200, newStatus: 400, code: validate},
		"a number for the key":          {body: start(map[string]any{"idempotencyKey": 7}), status: 200, newStatus: 400, code: validate},
		"a fraction of credits":         {body: start(map[string]any{"maxCredits": 1.5}), status: 200, newStatus: 400, code: validate},
		"a string of credits":           {body: start(map[string]any{"maxCredits": "1"}), status: 200, newStatus: 400, code: validate},
		"a string for a page":           {body: body(`query($n: Int!) { profiles(first: $n) { nodes { id } } }`, map[string]any{"n": "5"}), status: 200, newStatus: 400, code: validate},
		"a page of 33 bits":             {body: body(`{ profiles(first: 4294967296) { nodes { id } } }`, nil), status: 200, newStatus: 400, code: validate},
		"a status in other letters":     {body: body(`query($f: EnrichmentRunFilter) { enrichmentRuns(filter: $f) { nodes { id } } }`, map[string]any{"f": map[string]any{"status": []string{"completed"}}}), status: 200, newStatus: 400, code: validate},
		"an unreadable time":            {body: body(`query($f: ProfileFilter) { profiles(filter: $f) { nodes { id } } }`, map[string]any{"f": map[string]any{"notEnrichedSince": "yesterday"}}), status: 200, newStatus: 400, code: validate},
		"an unreadable time, written":   {body: body(`{ profiles(filter: {notEnrichedSince: "yesterday"}) { nodes { id } } }`, nil), status: 200, newStatus: 400, code: validate},
		"an object for a string":        {body: body(`{ profiles(filter: {search: {}}) { nodes { id } } }`, nil), status: 200, newStatus: 400, code: validate},
		"an unknown input field":        {body: start(map[string]any{"profileId": "a"}), status: 200, newStatus: 400, code: validate},
		"a NUL byte in an id":           {body: start(map[string]any{"profileIds": []string{"a\x00"}}), status: 200, newStatus: 400, code: validate},
		"a NUL byte in the document":    {body: body(`{ profile(id: "a\u0000") { id } }`, nil), status: 200, newStatus: 400, code: validate},
		"a raw NUL byte in it":          {body: body("{ profile(id: \"a\x00\") { id } }", nil), status: 200, newStatus: 400, code: parse},
		"too large a page":              {body: body(`{ profiles(first: 101) { nodes { id } } }`, nil), status: 200, newStatus: 400, code: validate},
		"a page before the first":       {body: body(`{ profiles(first: -1) { nodes { id } } }`, nil), status: 200, code: validate, late: true},
		"introspection":                 {body: body(`{ __schema { types { name } } }`, nil), status: 200, code: "FORBIDDEN"},
		"a thousand repeats of a field": {body: body(`{ viewer {`+strings.Repeat(" apiKey { id }", 1000)+` } }`, nil), status: 200, newStatus: 400, code: ""},
	}
}

func (f *refused) graphQL(t *testing.T) {
	t.Parallel()
	cases := operations(t)
	const parse, validate = "GRAPHQL_PARSE_FAILED", "GRAPHQL_VALIDATION_FAILED"
	good := string(marshal(t, map[string]any{"query": startMutation, "variables": input(nil)}))
	for name, c := range map[string]posted{
		"no body":                   {body: "", status: 400, code: parse},
		"broken JSON":               {body: good[:len(good)-1], status: 400, code: parse},
		"trailing bytes":            {body: good + "x", status: 400, code: parse},
		"a batch":                   {body: "[" + good + "]", status: 400, code: validate},
		"a string":                  {body: `"query"`, status: 400, code: validate},
		"null":                      {body: `null`, status: 400, code: validate},
		"no query":                  {body: `{"variables":{}}`, status: 400, code: validate},
		"a number for the query":    {body: `{"query":7}`, status: 400, code: validate},
		"a list for the variables":  {body: `{"query":"{ viewer { company { id } } }","variables":[]}`, status: 400, code: validate},
		"a list for the extensions": {body: `{"query":"{ viewer { company { id } } }","extensions":[]}`, status: 400, code: validate},
		"deep nesting":              {body: `{"query":"{ viewer { company { id } } }","variables":{"a":` + strings.Repeat("[", 50_000), status: 400, code: validate},
		"invalid UTF-8":             {body: strings.Replace(good, `"a"`, "\"\xff\"", 1), status: 400, code: parse},
		"no content type":           {body: good, headers: []string{"Content-Type", ""}, status: 415, code: validate},
		"the wrong content type":    {body: good, headers: []string{"Content-Type", "text/plain"}, status: 415, code: validate},
		"another character set":     {body: good, headers: []string{"Content-Type", "application/json; charset=utf-16"}, status: 415, code: validate},
		"a form":                    {body: "query=1", headers: []string{"Content-Type", "application/x-www-form-urlencoded"}, status: 415, code: validate},
		"a body of ten megabytes":   {body: `{"query":"` + strings.Repeat("x", huge) + `"}`, status: 413, code: validate},
		"a subscription":            {body: string(marshal(t, map[string]any{"query": followQuery, "variables": map[string]any{"run": f.theirRun}})), status: 400, code: validate},
	} {
		cases[name] = c
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for media, want := range map[string]int{"application/json": c.status, newMedia: max(c.status, c.newStatus)} {
				r := f.me.send(t, "POST", "/graphql", []byte(c.body), append([]string{"Accept", media}, c.headers...)...)
				expectGraphError(t, r, want, c.code)
			}
		})
	}

	for name, c := range map[string]struct {
		fields     map[string]any
		kind, code string
		field      []string
	}{
		"eleven ids":           {map[string]any{"profileIds": ids(11)}, "LimitExceeded", "LIMIT_EXCEEDED", []string{"profileIds"}},
		"zero ids":             {map[string]any{"profileIds": []string{}}, "InvalidInput", "INVALID_INPUT", []string{"profileIds"}},
		"an empty id":          {map[string]any{"profileIds": []string{"a", ""}}, "InvalidInput", "INVALID_INPUT", []string{"profileIds", "1"}},
		"a repeated id":        {map[string]any{"profileIds": []string{"a", "a"}}, "InvalidInput", "INVALID_INPUT", []string{"profileIds", "1"}},
		"a very long id":       {map[string]any{"profileIds": []string{strings.Repeat("a", 1000)}}, "InvalidInput", "INVALID_INPUT", []string{"profileIds", "0"}},
		"no idempotency key":   {map[string]any{"idempotencyKey": ""}, "InvalidInput", "INVALID_INPUT", []string{"idempotencyKey"}},
		"a bad key":            {map[string]any{"idempotencyKey": "a b"}, "InvalidInput", "INVALID_INPUT", []string{"idempotencyKey"}},
		"too few credits":      {map[string]any{"profileIds": f.people.pick(t, "ada-lindqvist", "noor-haddad", "freja-dahl"), "maxCredits": 2}, "LimitExceeded", "LIMIT_EXCEEDED", []string{"maxCredits"}},
		"negative credits":     {map[string]any{"maxCredits": -1}, "InvalidInput", "INVALID_INPUT", []string{"maxCredits"}},
		"a very long label":    {map[string]any{"label": strings.Repeat("l", 1000)}, "InvalidInput", "INVALID_INPUT", []string{"label"}},
		"an unknown webhook":   {map[string]any{"webhookId": unknownUUID}, "NotFound", "NOT_FOUND", []string{"webhookId"}},
		"a webhook of no form": {map[string]any{"webhookId": "hook"}, "NotFound", "NOT_FOUND", []string{"webhookId"}},
		// Somebody else's object is not found, never forbidden.
		"a stranger's webhook": {map[string]any{"webhookId": f.theirWebhook}, "NotFound", "NOT_FOUND", []string{"webhookId"}},
		"a deaf webhook":       {map[string]any{"webhookId": f.deaf}, "Conflict", "CONFLICT", []string{"webhookId"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out startAnswer
			f.me.ask(t, startMutation, input(c.fields), &out)
			got := out.StartEnrichment
			if got.Run != nil || got.Replayed || len(got.UserErrors) != 1 {
				t.Fatalf("%+v", got)
			}
			e := got.UserErrors[0]
			if e.Type != c.kind || e.Code != c.code || e.Message == "" || !slices.Equal(e.Field, c.field) {
				t.Errorf("%+v", e)
			}
		})
	}
	t.Run("more than the credits", func(t *testing.T) {
		t.Parallel()
		var out startAnswer
		f.tenant(t, f.n, 0).ask(t, startMutation, input(map[string]any{"profileIds": ids(2)}), &out)
		got := out.StartEnrichment
		if got.Run != nil || len(got.UserErrors) != 1 || got.UserErrors[0].Type != "InsufficientCredits" || *got.UserErrors[0].Required != 2 || *got.UserErrors[0].Available != 0 {
			t.Errorf("%+v", got)
		}
	})
	t.Run("what strangers have is not there", func(t *testing.T) {
		t.Parallel()
		for name, query := range map[string]string{
			"a run": `query($id: ID!) { found: enrichmentRun(requestId: $id) { id } }`, "results": `query($id: ID!) { found: enrichmentResults(requestId: $id) { id } }`,
			"a profile": `query($id: ID!) { found: profile(id: $id) { id } }`, "a webhook": `query($id: ID!) { found: webhook(id: $id) { id } }`,
			"a delivery": `query($id: ID!) { found: delivery(id: $id) { id } }`,
		} {
			for _, id := range []string{f.theirRun, f.theirProfile, f.theirWebhook, unknownUUID, "enr_" + unknownUUID, "", "x' OR 1=1--", strings.Repeat("x", 5000)} {
				var out struct{ Found any }
				f.me.ask(t, query, map[string]string{"id": id}, &out)
				if out.Found != nil {
					t.Errorf("%s %.50s: %v", name, id, out.Found)
				}
			}
		}
		var deleted struct {
			DeleteWebhook struct {
				DeletedID  *string
				UserErrors []userError
			}
		}
		f.me.ask(t, `mutation($id: ID!) { deleteWebhook(input: {id: $id}) { deletedId userErrors { code } } }`, map[string]string{"id": f.theirWebhook}, &deleted)
		if d := deleted.DeleteWebhook; d.DeletedID != nil || len(d.UserErrors) != 1 || d.UserErrors[0].Code != "NOT_FOUND" {
			t.Errorf("%+v", d)
		}
		var theirs struct{ Webhook *struct{ Enabled bool } }
		f.stranger.ask(t, `query($id: ID!) { webhook(id: $id) { enabled } }`, map[string]string{"id": f.theirWebhook}, &theirs)
		if theirs.Webhook == nil || !theirs.Webhook.Enabled {
			t.Error("the stranger's webhook is gone")
		}
	})
}

// expectGraphError looks for a refusal as a whole: errors with a code, no data, nothing of what was sent.
func expectGraphError(t *testing.T, r reply, status int, code string) {
	t.Helper()
	var e envelope
	r.decode(t, &e)
	if r.status != status || len(e.Errors) == 0 || code != "" && e.Errors[0].Extensions.Code != code || e.Errors[0].Message == "" {
		t.Errorf("%d %.300s instead of %d %s", r.status, r.body, status, code)
	}
	var data map[string]any
	if len(e.Data) > 0 && json.Unmarshal(e.Data, &data) != nil {
		t.Errorf("the data is no object: %.300s", r.body)
	}
	for name, value := range data {
		if value != nil {
			t.Errorf("%s is answered: %.300s", name, r.body)
		}
	}
	if len(r.body) > 8000 || strings.Contains(string(r.body), "xxxx") {
		t.Errorf("the answer gives back what was sent: %.300s", r.body)
	}
}

func (f *refused) graphQLRights(t *testing.T) {
	t.Parallel()
	for name, c := range f.badKeys() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			expectGraphError(t, c.graphql(t, startMutation, input(nil)), 401, "UNAUTHENTICATED")
			expectGraphError(t, c.graphql(t, "{", nil), 401, "UNAUTHENTICATED")
			expectGraphError(t, c.send(t, "GET", "/graphql?query="+url.QueryEscape("{ viewer { company { id } } }"), nil), 401, "UNAUTHENTICATED")
		})
	}
	for name, c := range map[string]struct {
		caller
		query     string
		variables any
		scope     string
	}{
		"starting":          {f.reader, startMutation, input(nil), "ENRICH_WRITE"},
		"importing":         {f.reader, `mutation { importProfiles(input: {idempotencyKey: "k", source: {rows: []}}) { created } }`, nil, "ENRICH_WRITE"},
		"the ledger":        {f.reader, `{ billingAccount { balance { held } } }`, nil, "BILLING_READ"},
		"a webhook":         {f.reader, `mutation { createWebhook(input: {url: "https://example.com"}) { secret } }`, nil, "WEBHOOKS_WRITE"},
		"granting credits":  {f.me.caller, `mutation { grantCredits(input: {idempotencyKey: "k", companyId: "c", credits: 1000, memo: "m"}) { entry { id } } }`, nil, "ADMIN"},
		"making keys":       {f.me.caller, `mutation { createApiKey(input: {label: "l", scopes: [ADMIN]}) { secret } }`, nil, "ADMIN"},
		"reading a run":     {f.writer, `{ enrichmentRun(requestId: "x") { id } }`, nil, "ENRICH_READ"},
		"reading a profile": {f.writer, `{ profile(id: "x") { id } }`, nil, "ENRICH_READ"},
	} {
		t.Run("without the scope for "+name, func(t *testing.T) {
			t.Parallel()
			r := c.graphql(t, c.query, c.variables)
			expectGraphError(t, r, 200, "FORBIDDEN")
			if got := requiredScope(t, r); !sameScope(got, c.scope) {
				t.Errorf("requiredScope %q instead of %s", got, c.scope)
			}
		})
	}
}

func requiredScope(t *testing.T, r reply) string {
	t.Helper()
	var e envelope
	r.decode(t, &e)
	if len(e.Errors) == 0 {
		return ""
	}
	return e.Errors[0].Extensions.RequiredScope
}

// sameScope compares a scope in any of its spellings.
func sameScope(got, want string) bool {
	a, b, _ := strings.Cut(strings.ToLower(want), "_")
	return slices.Contains([]string{want, strings.ToLower(want), a + ":" + b, b + ":" + a}, got)
}

func (f *refused) get(t *testing.T) {
	t.Parallel()
	query := func(pairs ...string) string {
		q := url.Values{}
		for i := 0; i < len(pairs); i += 2 {
			q.Set(pairs[i], pairs[i+1])
		}
		return "/graphql?" + q.Encode()
	}
	const ok = `{ viewer { company { id } } }`
	for name, c := range map[string]struct {
		path   string
		status int
		code   string
	}{
		"no query":             {"/graphql", 400, "GRAPHQL_VALIDATION_FAILED"},
		"a mutation":           {query("query", startMutation, "variables", string(marshal(t, input(nil)))), 405, "GRAPHQL_VALIDATION_FAILED"},
		"broken variables":     {query("query", ok, "variables", "{"), 400, ""},
		"a list for variables": {query("query", ok, "variables", "[]"), 400, ""},
		"broken extensions":    {query("query", ok, "extensions", "x"), 400, ""},
		"a broken document":    {query("query", "{"), 200, "GRAPHQL_PARSE_FAILED"},
		"a NUL byte":           {query("query", `query($id: ID!) { profile(id: $id) { id } }`, "variables", `{"id":"\u0000"}`), 200, "GRAPHQL_VALIDATION_FAILED"},
		"invalid UTF-8":        {"/graphql?query=%7B%20profile(id%3A%22%ff%22)%20%7B%20id%20%7D%20%7D", 400, ""},
		"a subscription":       {query("query", followQuery, "variables", `{"run":"x"}`), 400, "GRAPHQL_VALIDATION_FAILED"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := f.me.send(t, "GET", c.path, nil)
			expectGraphError(t, r, c.status, c.code)
			if c.status == 405 && r.header.Get("Allow") != "POST" {
				t.Errorf("Allow: %q", r.header.Get("Allow"))
			}
		})
	}
	t.Run("another method", func(t *testing.T) {
		t.Parallel()
		expectGraphError(t, f.me.send(t, "PUT", "/graphql", []byte("{}")), 405, "")
	})
}

func (f *refused) sockets(t *testing.T) {
	t.Parallel()
	for name, c := range f.badKeys() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := c.dial(t)
			s.send(t, frame{Type: "connection_init", Payload: marshal(t, map[string]string{"Authorization": "Bearer " + c.key})})
			s.expectClose(t, 4403)
		})
	}
	raw := func(kind int, text string) func(*testing.T, socket) {
		return func(t *testing.T, s socket) {
			// A message that is too long may break the connection while it is still being written.
			if err := s.WriteMessage(kind, []byte(text)); err != nil && len(text) < 1<<20 {
				t.Fatal(err)
			}
		}
	}
	for name, c := range map[string]struct {
		send func(*testing.T, socket)
		code int
	}{
		"broken JSON":             {raw(websocket.TextMessage, `{"type":`), 4400},
		"an array":                {raw(websocket.TextMessage, `[]`), 4400},
		"trailing bytes":          {raw(websocket.TextMessage, `{"type":"ping"}{"type":"ping"}`), 4400},
		"an unknown type":         {raw(websocket.TextMessage, `{"type":"start"}`), 4400},
		"a number for the type":   {raw(websocket.TextMessage, `{"type":7}`), 4400},
		"a subscription, no id":   {raw(websocket.TextMessage, `{"type":"subscribe","payload":{"query":"{ viewer { company { id } } }"}}`), 4400},
		"a subscription, no more": {raw(websocket.TextMessage, `{"type":"subscribe","id":"1"}`), 4400},
		"a number for the query":  {raw(websocket.TextMessage, `{"type":"subscribe","id":"1","payload":{"query":7}}`), 4400},
		"a list for variables":    {raw(websocket.TextMessage, `{"type":"subscribe","id":"1","payload":{"query":"{","variables":[]}}`), 4400},
		"a binary message":        {raw(websocket.BinaryMessage, `{"type":"ping"}`), 4400},
		"invalid UTF-8":           {raw(websocket.TextMessage, "{\"type\":\"\xff\"}"), websocket.CloseInvalidFramePayloadData},
		"too long a message":      {raw(websocket.TextMessage, `{"type":"ping","payload":{"x":"`+strings.Repeat("x", 100<<10)+`"}}`), websocket.CloseMessageTooBig},
		"a second init":           {raw(websocket.TextMessage, `{"type":"connection_init"}`), 4429},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := f.me.socket(t)
			c.send(t, s)
			s.expectClose(t, c.code)
		})
	}
	t.Run("ten megabytes", func(t *testing.T) {
		t.Parallel()
		s := f.me.socket(t)
		raw(websocket.TextMessage, strings.Repeat(" ", huge))(t, s)
		for {
			if _, err := s.read(); err != nil {
				return // the close frame may be lost with the connection
			}
		}
	})
	t.Run("an operation before the init", func(t *testing.T) {
		t.Parallel()
		s := f.me.dial(t)
		s.subscribe(t, "1", startMutation, input(nil))
		s.expectClose(t, 4401)
	})
	t.Run("operations that are wrong end by themselves, and the socket lives on", func(t *testing.T) {
		t.Parallel()
		s := f.me.socket(t)
		for name, c := range operations(t) {
			s.send(t, frame{ID: name, Type: "subscribe", Payload: json.RawMessage(c.body)})
			got, err := s.read()
			var errs []graphError
			payload, kind := got.Payload, "error"
			if c.late {
				kind = "next"
				var e struct{ Errors json.RawMessage }
				if json.Unmarshal(payload, &e) == nil {
					payload = e.Errors
				}
			}
			if err != nil || got.Type != kind || got.ID != name || json.Unmarshal(payload, &errs) != nil || len(errs) == 0 || c.code != "" && errs[0].Extensions.Code != c.code {
				t.Fatalf("%s: %s %s, %v", name, got.Type, got.Payload, err)
			}
			if c.late {
				if got, err := s.read(); err != nil || got.Type != "complete" {
					t.Fatalf("%s: %s %s, %v", name, got.Type, got.Payload, err)
				}
			}
		}
		for _, run := range []string{f.theirRun, "enr_" + unknownUUID, "x", ""} {
			s.subscribe(t, "run", followQuery, map[string]any{"run": run})
			if got, err := s.read(); err != nil || got.Type != "error" {
				t.Fatalf("%s: %+v %s, %v", run, got, got.Payload, err)
			}
		}
		s.subscribe(t, "start", startMutation, input(map[string]any{"profileIds": ids(11)}))
		if got, err := s.read(); err != nil || got.Type != "next" || !strings.Contains(string(got.Payload), "LIMIT_EXCEEDED") {
			t.Fatalf("%+v %s, %v", got, got.Payload, err)
		}
		if got, err := s.read(); err != nil || got.Type != "complete" {
			t.Fatalf("%+v %s, %v", got, got.Payload, err)
		}
		s.subscribe(t, "last", `{ viewer { company { id } } }`, nil)
		if got, err := s.read(); err != nil || got.Type != "next" || !strings.Contains(string(got.Payload), f.me.company) {
			t.Fatalf("%+v %s, %v", got, got.Payload, err)
		}
	})
	t.Run("a key without the scope", func(t *testing.T) {
		t.Parallel()
		s := f.writer.socket(t)
		s.subscribe(t, "1", followQuery, map[string]any{"run": f.theirRun})
		if got, err := s.read(); err != nil || got.Type != "error" || !strings.Contains(string(got.Payload), "FORBIDDEN") {
			t.Errorf("%+v %s, %v", got, got.Payload, err)
		}
	})
}

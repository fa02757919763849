package transport_test

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestCoercion holds that a value which its type does not take refuses the
// request: nothing has run, so there is no data and the status is 400 (GraphQL
// over HTTP §6.4.2), or 200 for those who asked for application/json.
func TestCoercion(t *testing.T) {
	t.Parallel()
	_, url := serve(t)

	// What a field of the input Box takes, and what it does not, as JSON.
	fields := map[string]struct{ good, bad []string }{
		"label":   {[]string{`"x"`, `""`}, []string{`null`, `5`, `1.5`, `true`, `["x"]`, `{}`}},
		"color":   {[]string{`null`, `"RED"`}, []string{`"red"`, `"BLUE"`, `""`, `1`, `true`, `["RED"]`, `{}`}},
		"colors":  {[]string{`null`, `[]`, `["RED","GREEN"]`, `"RED"`}, []string{`["red"]`, `[null]`, `["RED",1]`, `"blue"`, `{}`}},
		"count":   {[]string{`1`, `-2147483648`, `2147483647`}, []string{`"1"`, `1.5`, `2147483648`, `-2147483649`, `99999999999999999999`, `true`, `[1]`, `{}`}},
		"counts":  {[]string{`[1,2]`, `3`}, []string{`["1"]`, `[1,2147483648]`, `[null]`, `[[1]]`, `{}`}},
		"ratio":   {[]string{`1`, `1.5`, `1e3`}, []string{`"1.5"`, `true`, `{}`}},
		"heavy":   {[]string{`true`, `false`, `null`}, []string{`"true"`, `1`, `{}`}},
		"id":      {[]string{`"x"`, `5`}, []string{`1.5`, `true`, `{}`, `["x"]`}},
		"at":      {[]string{`"2026-01-31T12:00:00Z"`}, []string{`"yesterday"`, `1`, `true`, `""`, `{}`, `["2026-01-31T12:00:00Z"]`}},
		"times":   {[]string{`["2026-01-31T12:00:00Z"]`, `[]`}, []string{`["2026-01-31T12:00:00Z","later"]`, `[1]`, `[null]`}},
		"url":     {[]string{`"https://example.org/"`}, []string{`"ftp://example.org"`, `"example"`, `7`, `{}`}},
		"credits": {[]string{`5`, `9007199254740993`}, []string{`"5"`, `1.5`, `99999999999999999999`, `{}`}},
		"any":     {[]string{`{"a":[1,"x",null]}`, `"x"`, `1.5`, `[]`}, nil},
		"way":     {[]string{`{"road":"A1"}`, `{"rail":1}`}, []string{`{}`, `{"road":"A1","rail":1}`, `{"road":null}`, `{"rail":"1"}`, `{"air":1}`, `"road"`, `1`}},
		"inside":  {[]string{`[{"label":"x"}]`, `{"label":"x"}`}, []string{`[{}]`, `[{"label":"x","color":"red"}]`, `[{"label":1}]`, `[null]`, `[5]`, `{"label":"x","at":"now"}`}},
		"nothing": {nil, []string{`1`, `null`}},
		// Clients that send back what they were given must leave this out.
		"__typename": {nil, []string{`"Box"`}},
	}
	box := func(field, value string) string {
		if field == "label" {
			return `{"label":` + value + `}`
		}
		return `{"label":"b","` + field + `":` + value + `}`
	}
	check := func(t *testing.T, body string, good bool) {
		t.Helper()
		for accept, status := range map[string]int{"application/json": 200, graphqlJSON: 400} {
			r := do(t, "POST", url, body, "Accept", accept)
			switch {
			case good && (r.status != 200 || string(r.Data) != `{"take":"taken"}`):
				t.Errorf("%s as %s: %d %s", body, accept, r.status, r.body)
			case !good && (r.status != status || r.code() != "GRAPHQL_VALIDATION_FAILED" || r.Data != nil || strings.Contains(r.body, `"path"`)):
				t.Errorf("%s as %s: %d %s", body, accept, r.status, r.body)
			}
		}
	}
	withVariables := func(query, vars string) string {
		b, _ := json.Marshal(query)
		return `{"query":` + string(b) + `,"variables":` + vars + `}`
	}
	for field, values := range fields {
		t.Run("of the field "+field, func(t *testing.T) {
			t.Parallel()
			each := func(value string, good bool) {
				v := box(field, value)
				check(t, withVariables(`query($b:Box!){take(box:$b)}`, `{"b":`+v+`}`), good)
				check(t, withVariables(`query($b:[Box!]){take(box:{label:"x"},boxes:$b)}`, `{"b":[{"label":"x"},`+v+`]}`), good)
				check(t, query(`{take(box:`+literal(t, v)+`)}`), good)
				check(t, query(`query($b:Box!=`+literal(t, v)+`){take(box:$b)}`), good)
			}
			for _, v := range values.good {
				each(v, true)
			}
			for _, v := range values.bad {
				each(v, false)
			}
		})
	}
	t.Run("of whole variables", func(t *testing.T) {
		t.Parallel()
		const take = `query($b:Box!,$c:Color,$t:[DateTime!],$g:[[Int!]!]){take(box:$b,color:$c,times:$t,grid:$g)}`
		for vars, good := range map[string]bool{
			`{"b":{"label":"x"}}`: true, `{"b":{"label":"x"},"c":"GREEN","t":["2026-01-31T12:00:00Z"],"g":[[1],[2,3]]}`: true,
			`{"b":{"label":"x"},"t":"2026-01-31T12:00:00Z"}`: true, `{"b":{"label":"x"},"g":1}`: true,
			`{}`: false, `{"b":null}`: false, `{"b":{}}`: false, `{"b":5}`: false, `{"b":"x"}`: false, `{"b":[{"label":"x"}]}`: false,
			`{"b":{"label":"x"},"c":"green"}`: false, `{"b":{"label":"x"},"c":1}`: false, `{"b":{"label":"x"},"t":["x"]}`: false,
			`{"b":{"label":"x"},"t":[null]}`: false, `{"b":{"label":"x"},"g":[["1"]]}`: false, `{"b":{"label":"x"},"g":[1,null]}`: false,
			`{"b":{"label":"x"},"g":[[1],[null]]}`: false,
		} {
			check(t, withVariables(take, vars), good)
		}
	})
	t.Run("of literals beside variables", func(t *testing.T) {
		t.Parallel()
		check(t, withVariables(`query($l:String!,$c:Color){take(box:{label:$l,color:$c,any:{a:$l}})}`, `{"l":"x","c":"RED"}`), true)
		check(t, withVariables(`query($l:String!){take(box:{label:$l,at:"now"})}`, `{"l":"x"}`), false)
		check(t, withVariables(`query($l:String!){take(box:{label:$l,count:1})}`, `{"l":1}`), false)
		check(t, query(`{take(box:{label:"x"},color:{})}`), false)
	})
	t.Run("of a null where a default has made another type fit", func(t *testing.T) {
		t.Parallel()
		const items = `query($n:Int){take(box:{label:"x"}) items(first:$n){id}}`
		for _, q := range []string{
			items, `query($n:Int=1){take(box:{label:"x"}) items(first:$n){id}}`,
			`query($n:Int){take(box:{label:"x"}) ...A} fragment A on Query{node{children(first:$n){id}}}`,
		} {
			check(t, withVariables(q, `{"n":null}`), false)
		}
		if r := do(t, "POST", url, withVariables(items, `{}`), "Accept", graphqlJSON); r.status != 200 || len(r.Errors) > 0 {
			t.Errorf("left out: %d %s", r.status, r.body)
		}
		check(t, withVariables(`query($c:Color){take(box:{label:"x",color:$c},color:$c)}`, `{"c":null}`), true)
	})
	t.Run("of literals of other kinds", func(t *testing.T) {
		t.Parallel()
		check(t, query(`{take(box:{label:"x"},times:["2026-01-31T12:00:00Z",{}])}`), false)
		check(t, query(`{take(box:{label:"x"},grid:[[1],[2147483648]])}`), false)
		check(t, query(`{take(box:{label:"x",any:99999999999999999999})}`), false)
	})
}

// literal writes JSON as GraphQL has it: names of fields, and enum values, stand without quotes.
func literal(t *testing.T, text string) string {
	t.Helper()
	out := text
	for _, name := range []string{
		"label", "colors", "color", "counts", "count", "ratio", "heavy", "id", "at", "times", "url", "credits", "any", "way", "inside",
		"road", "rail", "air", "nothing", "__typename", "a",
	} {
		out = strings.ReplaceAll(out, `"`+name+`":`, name+":")
	}
	for _, value := range []string{"RED", "GREEN", "BLUE", "red", "blue"} {
		out = strings.ReplaceAll(out, `"`+value+`"`, value)
	}
	return out
}

package graph

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"

	"github.com/enrichd/enrichd/enrichment/pipeline"
)

// contract is our schema as it is written.
func contract(t *testing.T) *ast.Schema {
	t.Helper()
	files, err := filepath.Glob("schema/*.graphqls")
	if err != nil || len(files) < 4 {
		t.Fatalf("%q, %v", files, err)
	}
	var sources []*ast.Source
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		sources = append(sources, &ast.Source{Name: name, Input: string(text)})
	}
	schema, err := gqlparser.LoadSchema(sources...)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// ours lists the definitions that are no part of GraphQL itself, by name.
func ours(s *ast.Schema) []*ast.Definition {
	var list []*ast.Definition
	for name, def := range s.Types {
		if !strings.HasPrefix(name, "__") && !def.BuiltIn {
			list = append(list, def)
		}
	}
	slices.SortFunc(list, func(a, b *ast.Definition) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// fields of a root type, without introspection's.
func fields(def *ast.Definition) (list ast.FieldList) {
	for _, f := range def.Fields {
		if !strings.HasPrefix(f.Name, "__") {
			list = append(list, f)
		}
	}
	return list
}

func TestSchema(t *testing.T) {
	t.Parallel()
	s := contract(t)

	// Else servers accept the schema and client generators reject the first query that mixes them.
	t.Run("gives fields of one name one type under each interface and union", func(t *testing.T) {
		for _, def := range ours(s) {
			if !def.IsAbstractType() || def.Name == "Node" { // Node's members are looked up one kind at a time
				continue
			}
			seen, by := map[string]string{}, map[string]string{}
			for _, member := range s.GetPossibleTypes(def) {
				for _, f := range member.Fields {
					if had, again := seen[f.Name]; again && had != f.Type.String() {
						t.Errorf("%s: %s.%s is %s, %s.%s is %s", def.Name, by[f.Name], f.Name, had, member.Name, f.Name, f.Type)
					}
					seen[f.Name], by[f.Name] = f.Type.String(), member.Name
				}
			}
		}
	})

	t.Run("asks for a scope on every mutation, subscription and list", func(t *testing.T) {
		for _, f := range append(fields(s.Mutation), fields(s.Subscription)...) {
			if f.Directives.ForName("auth") == nil {
				t.Errorf("%s has no @auth", f.Name)
			}
		}
		for _, f := range fields(s.Query) {
			if f.Directives.ForName("auth") == nil && f.Name != "viewer" { // who asks may know who asks
				t.Errorf("%s has no @auth", f.Name)
			}
		}
	})

	t.Run("pages every connection", func(t *testing.T) {
		for _, def := range ours(s) {
			for _, f := range def.Fields {
				if !strings.HasSuffix(f.Type.Name(), "Connection") {
					continue
				}
				first := f.Arguments.ForName("first")
				if first == nil || first.Type.String() != "Int!" || first.DefaultValue == nil || f.Arguments.ForName("after") == nil {
					t.Errorf("%s.%s needs first: Int! with a default, and after", def.Name, f.Name)
				}
			}
		}
	})

	t.Run("names what replaces whatever is deprecated", func(t *testing.T) {
		check := func(where string, directives ast.DirectiveList) {
			d := directives.ForName("deprecated")
			if d == nil {
				return
			}
			reason := d.Arguments.ForName("reason")
			if reason == nil || !regexp.MustCompile("[Uu]se `[A-Za-z.]+`").MatchString(reason.Value.Raw) {
				t.Errorf("%s is deprecated and does not say: use `this`", where)
			}
		}
		for _, def := range ours(s) {
			for _, f := range def.Fields {
				check(def.Name+"."+f.Name, f.Directives)
				for _, a := range f.Arguments {
					check(def.Name+"."+f.Name+"."+a.Name, a.Directives)
				}
			}
			for _, v := range def.EnumValues {
				check(def.Name+"."+v.Name, v.Directives)
			}
		}
	})

	t.Run("explains every type and enum value whose name does not", func(t *testing.T) {
		for _, def := range ours(s) {
			if def.Description == "" && !selfExplaining(def) {
				t.Errorf("%s has no description", def.Name)
			}
			for _, v := range def.EnumValues {
				if explain[def.Name+"."+v.Name] && v.Description == "" {
					t.Errorf("%s.%s has no description", def.Name, v.Name)
				}
			}
		}
		for name := range explain {
			enum, value, _ := strings.Cut(name, ".")
			if def := s.Types[enum]; def == nil || def.EnumValues.ForName(value) == nil {
				t.Errorf("%s is to be explained, and there is none", name)
			}
		}
	})

	t.Run("takes an idempotency key wherever work begins or money moves", func(t *testing.T) {
		for _, f := range fields(s.Mutation) {
			input := f.Arguments.ForName("input")
			if input == nil || len(f.Arguments) != 1 {
				t.Errorf("%s does not take exactly one input", f.Name)
				continue
			}
			key := s.Types[input.Type.Name()].Fields.ForName("idempotencyKey")
			why, exempt := repeatable[f.Name]
			switch {
			case key == nil && !exempt:
				t.Errorf("%s has no idempotencyKey, and nothing says why it may be repeated", f.Name)
			case key != nil && exempt:
				t.Errorf("%s has an idempotencyKey although %s", f.Name, why)
			case key != nil && key.Type.String() != "String!":
				t.Errorf("%s: idempotencyKey is %s", f.Name, key.Type)
			}
		}
		for name := range repeatable {
			if s.Mutation.Fields.ForName(name) == nil {
				t.Errorf("%s may be repeated, and there is none", name)
			}
		}
	})

	t.Run("counts every outcome, and lists the stages of the pipeline", func(t *testing.T) {
		progress := s.Types["RunProgress"]
		var counts int
		for _, o := range s.Types["ProfileOutcome"].EnumValues {
			words := strings.Split(strings.ToLower(o.Name), "_")
			name := words[0]
			for _, w := range words[1:] {
				name += strings.ToUpper(w[:1]) + w[1:]
			}
			counts++
			if f := progress.Fields.ForName(name); f == nil || f.Type.String() != "Int!" {
				t.Errorf("RunProgress has no count %s for %s", name, o.Name)
			}
		}
		if len(progress.Fields) != counts+1 {
			t.Errorf("RunProgress has %d fields for %d outcomes and the total", len(progress.Fields), counts)
		}
		var stages []pipeline.Stage
		for _, v := range s.Types["EnrichmentStage"].EnumValues {
			stages = append(stages, pipeline.Stage(v.Name))
		}
		if !slices.Equal(stages, pipeline.Stages) {
			t.Errorf("EnrichmentStage is %v, the pipeline goes through %v", stages, pipeline.Stages)
		}
	})

	t.Run("gives every mutation a payload with userErrors", func(t *testing.T) {
		for _, f := range fields(s.Mutation) {
			payload := s.Types[f.Type.Name()]
			if !f.Type.NonNull || payload.Name != strings.ToUpper(f.Name[:1])+f.Name[1:]+"Payload" || !slices.Contains(payload.Interfaces, "MutationPayload") {
				t.Errorf("%s answers with %s", f.Name, f.Type)
			}
		}
		for _, def := range ours(s) {
			if def.Kind == ast.Object && strings.HasSuffix(def.Name, "Payload") && !slices.Contains(def.Interfaces, "MutationPayload") {
				t.Errorf("%s does not implement MutationPayload", def.Name)
			}
		}
	})

	t.Run("has a type for every code of refusal", func(t *testing.T) {
		for _, v := range s.Types["UserErrorCode"].EnumValues {
			name := ""
			for w := range strings.SplitSeq(strings.ToLower(v.Name), "_") {
				name += strings.ToUpper(w[:1]) + w[1:]
			}
			if def := s.Types[name]; def == nil || !slices.Contains(def.Interfaces, "UserError") {
				t.Errorf("%s has no type %s", v.Name, name)
			}
		}
	})

	t.Run("gives Candidate a field for everything that facts can be asked about", func(t *testing.T) {
		candidate := s.Types["Candidate"]
		for _, name := range factFields {
			if candidate.Fields.ForName(name) == nil {
				t.Errorf("facts knows %s, Candidate does not", name)
			}
		}
		for _, f := range candidate.Fields {
			plain := s.Types[f.Type.Name()].Kind == ast.Scalar && !slices.Contains([]string{"profileId", "scoreBasis", "proseByModel"}, f.Name)
			if plain && !slices.Contains(factFields, f.Name) {
				t.Errorf("facts cannot be asked about Candidate.%s", f.Name)
			}
		}
	})
}

// factFields are the names that Candidate.facts takes.
var factFields = []string{
	pipeline.FieldName, pipeline.FieldHeadline, pipeline.FieldLocation, pipeline.FieldCurrentCompany, pipeline.FieldCurrentRole,
	pipeline.FieldSkills, pipeline.FieldEmails, pipeline.FieldLinks, pipeline.FieldExperience,
	"linkedinUrl", "matchScore", "rationale", "fitPoints", "redFlags",
}

// selfExplaining are the types whose place in the schema says what they are.
func selfExplaining(def *ast.Definition) bool {
	for _, suffix := range []string{"Connection", "Edge", "Payload", "Input", "Filter"} {
		if strings.HasSuffix(def.Name, suffix) && def.Name != "InvalidInput" {
			return true
		}
	}
	return slices.Contains([]string{"Query", "Mutation", "Subscription", "PageInfo"}, def.Name)
}

// explain are the enum values that a reader could take for something else.
var explain = map[string]bool{
	"RunStatus.COMPLETED": true, "RunStatus.FAILED": true,
	"ProfileOutcome.ENRICHED": true, "ProfileOutcome.PARTIAL": true, "ProfileOutcome.NO_MATCH": true, "ProfileOutcome.NOT_FOUND": true,
	"ProfileOutcome.SUPPRESSED": true, "ProfileOutcome.TIMED_OUT": true, "ProfileOutcome.FAILED": true, "ProfileOutcome.CANCELLED": true,
	"EnrichmentStage.NORMALIZE": true, "EnrichmentStage.LOOKUP": true, "EnrichmentStage.DISCOVER": true, "EnrichmentStage.CRAWL": true,
	"EnrichmentStage.RESOLVE": true, "EnrichmentStage.VERIFY": true, "EnrichmentStage.FUSE": true, "EnrichmentStage.EVALUATE": true,
	"ScoreBasis.ROLE": true, "ScoreBasis.IDENTITY": true, "IdentityBand.REVIEW": true,
	"EmailStatus.CATCH_ALL": true, "EmailStatus.CATCH_ALL_LIKELY": true, "EmailStatus.ROLE": true,
	"EmailMethod.SELF_PUBLISHED": true, "EmailMethod.DNS_ONLY": true, "EmailMethod.SMTP": true, "EmailMethod.VENDOR": true,
	"EnrichmentRunOrder.RECENTLY_FINISHED": true, "LedgerEntryKind.ADJUST": true, "LedgerEntryKind.INVOICE": true,
}

// repeatable are the mutations that a repeat does not harm, each with why.
var repeatable = map[string]string{
	"cancelEnrichment":    "a cancelled run stays cancelled",
	"suppressPerson":      "an objection is kept once",
	"closeInvoice":        "a closed invoice stays closed",
	"createApiKey":        "a key costs nothing and can be revoked",
	"revokeApiKey":        "a revoked key stays revoked",
	"createWebhook":       "a webhook costs nothing and can be deleted",
	"updateWebhook":       "the same change again changes nothing",
	"deleteWebhook":       "a deleted webhook stays deleted",
	"rotateWebhookSecret": "the overlap of the two secrets guards it",
	"testWebhook":         "a ping moves nothing",
	"resetWebhookCircuit": "a closed circuit stays closed",
}

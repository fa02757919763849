package pipeline

import (
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// skillSynonyms write one skill in one way: the first of each group is the
// key. Groups hold only spellings that mean the same thing to everybody;
// neighbours such as Java and JavaScript are different skills.
var skillSynonyms = [][]string{
	{"go", "golang", "go lang", "go language"},
	{"javascript", "js", "ecmascript", "java script"},
	{"typescript", "ts", "type script"},
	{"node.js", "node", "nodejs", "node js"},
	{"react", "react.js", "reactjs", "react js"},
	{"react native", "react-native"},
	{"vue", "vue.js", "vuejs", "vue js"},
	{"angular", "angularjs", "angular.js", "angular js"},
	{"next.js", "nextjs", "next js"},
	{"svelte", "sveltejs"},
	{"python", "python3", "python 3", "py"},
	{"c++", "cpp", "c plus plus"},
	{"c#", "csharp", "c sharp"},
	{".net", "dotnet", "dot net", ".net core", "asp.net"},
	{"f#", "fsharp", "f sharp"},
	{"objective-c", "objective c", "objc", "obj c"},
	{"visual basic", "vb", "vb.net"},
	{"ruby on rails", "rails", "ror"},
	{"rust", "rustlang", "rust lang"},
	{"kubernetes", "k8s", "kube"},
	{"docker", "docker containers"},
	{"postgresql", "postgres", "psql", "pgsql", "postgre sql"},
	{"mysql", "my sql"},
	{"sql server", "mssql", "ms sql", "microsoft sql server"},
	{"mongodb", "mongo", "mongo db"},
	{"elasticsearch", "elastic search"},
	{"kafka", "apache kafka"},
	{"spark", "apache spark", "pyspark"},
	{"airflow", "apache airflow"},
	{"rabbitmq", "rabbit mq"},
	{"aws", "amazon web services"},
	{"gcp", "google cloud", "google cloud platform"},
	{"azure", "microsoft azure"},
	{"terraform"}, {"ansible"}, {"redis"}, {"linux"}, {"git"}, {"java"}, {"kotlin"}, {"swift"}, {"scala"}, {"php"}, {"perl"}, {"haskell"},
	{"erlang"}, {"elixir"}, {"clojure"}, {"ruby"}, {"lua"}, {"julia"}, {"matlab"}, {"sql"}, {"django"}, {"flask"}, {"laravel"},
	{"jenkins"}, {"prometheus"}, {"grafana"}, {"nginx"}, {"cassandra"}, {"dynamodb"}, {"snowflake"}, {"bigquery"}, {"hadoop"}, {"opencl"}, {"cuda"},
	{"spring", "spring framework"},
	{"spring boot", "springboot"},
	{"graphql", "graph ql"},
	{"rest", "rest api", "rest apis", "restful", "restful api", "restful apis"},
	{"grpc"}, {"protobuf", "protocol buffers"},
	{"ci/cd", "ci cd", "cicd", "continuous integration"},
	{"machine learning", "ml"},
	{"deep learning"},
	{"natural language processing", "nlp"},
	{"computer vision"},
	{"artificial intelligence", "ai"},
	{"scikit-learn", "scikit learn", "sklearn"},
	{"pytorch", "py torch"},
	{"tensorflow", "tensor flow"},
	{"pandas"}, {"numpy"},
	{"tailwind", "tailwind css", "tailwindcss"},
	{"webassembly", "wasm"},
	{"distributed systems", "distributed system"},
	{"microservices", "microservice", "micro services"},
	{"data engineering"}, {"data science"},
	{"devops", "dev ops"},
	{"site reliability engineering", "sre"},
	{"user experience", "ux"},
	{"quality assurance", "qa"},
	{"bash", "shell", "shell scripting", "bash scripting"},
	{"html", "html5"},
	{"css", "css3"},
	{"latex", "tex"},
}

// skillKeys maps each spelling's words to its group's key; ambiguous in prose
// are single letters and everyday words, which skillsIn therefore leaves out.
var skillKeys = func() map[string]string {
	keys := map[string]string{}
	for _, group := range skillSynonyms {
		key := strings.Join(skillTokens(group[0]), " ")
		for _, spelling := range group {
			keys[strings.Join(skillTokens(spelling), " ")] = key
		}
	}
	return keys
}()

// everyday words are skills only where skills are listed, not in running text.
var everyday = map[string]bool{"go": true, "rest": true, "spring": true, "swift": true, "shell": true, "node": true, "spark": true, "py": true, "kube": true, "rust": true, "julia": true, "flask": true, "angular": true, "tex": true, "mongo": true, "vb": true, "ts": true, "git": true}

// skillKey is what skills are compared by: whole words, without case, synonyms in one spelling. "" when nothing is left.
func skillKey(s string) string {
	key := strings.Join(skillTokens(s), " ")
	if canonical, ok := skillKeys[key]; ok {
		return canonical
	}
	return key
}

// skillTokens splits a text into words as skills are written: "+" and "#" belong to
// the word before ("c++", "c#"), a dot to the letters after it (".net", "node.js"). Everything else separates.
func skillTokens(s string) []string {
	var words []string
	var b strings.Builder
	flush := func() {
		if w := strings.TrimRight(b.String(), "."); w != "" {
			words = append(words, w)
		}
		b.Reset()
	}
	runes := []rune(strings.ToLower(norm.NFKC.String(s)))
	for i, r := range runes {
		letterNext := i+1 < len(runes) && (unicode.IsLetter(runes[i+1]) || unicode.IsDigit(runes[i+1]))
		switch {
		case unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.Is(unicode.Mn, r):
			b.WriteRune(r)
		case (r == '+' || r == '#') && b.Len() > 0:
			b.WriteRune(r)
		case r == '.' && letterNext:
			b.WriteRune(r)
		default:
			flush()
		}
	}
	flush()
	return words
}

// longestSkill is the most words that a spelling in the table has.
const longestSkill = 4

// skillsIn finds the table's skills in running text, whole words only, longest
// spelling first, at most n, in order of appearance.
func skillsIn(text string, n int) []string {
	words := skillTokens(text)
	var found []string
	for i := 0; i < len(words) && len(found) < n; {
		step := 1
		for l := min(longestSkill, len(words)-i); l > 0; l-- {
			spelling := strings.Join(words[i:i+l], " ")
			if key, ok := skillKeys[spelling]; ok && !everyday[spelling] {
				if !slices.Contains(found, key) {
					found = append(found, key)
				}
				step = l
				break
			}
		}
		i += step
	}
	return found
}

// mentions says whether a text names a skill, in any of its spellings, as whole words.
func mentions(text, skill string) bool {
	key := skillKey(skill)
	if key == "" {
		return false
	}
	words := skillTokens(text)
	most := max(longestSkill, len(strings.Fields(key)))
	for i := range words {
		for l := 1; l <= min(most, len(words)-i); l++ {
			if skillKey(strings.Join(words[i:i+l], " ")) == key {
				return true
			}
		}
	}
	return false
}

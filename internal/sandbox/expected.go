package sandbox

// Expected is what a correct run must bring back for one profile of Profiles.
// It follows from the rules of the service's design, not from what any version of it printed.
type Expected struct {
	ExternalID string `json:"externalId"`
	// Run is which of the demo's two runs the profile belongs to, as one run holds at most ten.
	Run int `json:"run"`
	// Shows says in a few words what this candidate is there for.
	Shows   string   `json:"shows"`
	Outcome string   `json:"outcome"`
	Missing []string `json:"missing"`
	// ScoreBasis and the bounds of the score hold for profiles with a candidate; MaxScore 0 is 100.
	ScoreBasis string `json:"scoreBasis"`
	MinScore   int    `json:"minScore"`
	MaxScore   int    `json:"maxScore"`
	// Emails are all addresses that may be returned, in any order.
	Emails []ExpectedEmail `json:"emails"`
	// Fields are values that must be among the facts of a field; others may stand beside them.
	Fields map[string][]string `json:"fields"`
	// VerifiedLinks are links that must be marked as proven from both ends.
	VerifiedLinks []string `json:"verifiedLinks"`
	// Sources must be among the evidence; ForeignSources must not, since what they hold is somebody else's, or out of reach.
	Sources        []string `json:"sources"`
	ForeignSources []string `json:"foreignSources"`
	// Absent are texts that no value may contain, whatever the case of their letters.
	Absent   []string `json:"absent"`
	MinFacts int      `json:"minFacts"`
	// NeverAsked are "host/path" beginnings that nobody may have requested; OnlyAsked are, by host, all paths that may have been.
	NeverAsked []string            `json:"neverAsked"`
	OnlyAsked  map[string][]string `json:"onlyAsked"`
}

// ExpectedEmail is one address with its check. Method "" is any; Reasons must be among those given.
type ExpectedEmail struct {
	Address string   `json:"address"`
	Status  string   `json:"status"`
	Method  string   `json:"method"`
	Reasons []string `json:"reasons"`
}

// Expected lists what a correct run must bring back, in the order of Profiles.
func (s *Sandbox) Expected() []Expected {
	var all []Expected
	if err := s.fill.decode("testdata/expected.json", &all); err != nil {
		panic(err) // embedded, and read by a test
	}
	return all
}

// Result is what a run brought back for one profile, as far as it is judged.
// Names and spellings are those of the GraphQL schema.
type Result struct {
	Outcome    string
	Missing    []string
	ScoreBasis string
	MatchScore int
	Emails     []ResultEmail
	Facts      []ResultFact
	// VerifiedLinks are the addresses of links that are marked as proven.
	VerifiedLinks []string
}

// ResultEmail is one address of a result.
type ResultEmail struct {
	Address string
	Status  string
	Method  string
	Reasons []string
}

// ResultFact is one accepted value: its field, the value as text (JSON for what
// is no string), and the sources of its evidence.
type ResultFact struct {
	Name    string
	Value   string
	Sources []string
}

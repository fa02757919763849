package pipeline

import (
	"math"
	"strings"
)

// ranks are the words that tell seniority, on one ladder; a title without one stands at midRank.
var ranks = map[string]int{
	"intern": 0, "trainee": 0, "apprentice": 0, "junior": 1, "jr": 1, "graduate": 1, "associate": 1,
	"senior": 3, "sr": 3, "lead": 4, "staff": 4, "manager": 4, "principal": 5, "distinguished": 6, "head": 6, "director": 6, "vp": 7, "chief": 8, "cto": 8, "ceo": 8,
}

const midRank = 2

// tradeWords write the words of one trade in one way.
var tradeWords = map[string]string{
	"developer": "engineer", "programmer": "engineer", "dev": "engineer", "swe": "software engineer", "sde": "software engineer",
	"back": "backend", "front": "frontend", "fullstack": "full", "stack": "", "end": "", "of": "", "the": "", "and": "", "in": "", "at": "", "for": "", "a": "",
	"ml": "machine learning", "qa": "quality assurance", "pm": "product manager", "ux": "user experience",
}

// titleFit says how well a role fits the title sought, 0 to 1: four fifths by
// the trade's words, one fifth by seniority where the title states one. Without a common word it is 0.
func titleFit(sought, role string) float64 {
	want, wantRank, ranked := titleParts(sought)
	have, haveRank, _ := titleParts(role)
	if len(want) == 0 {
		return 0
	}
	common := 0
	for w := range want {
		if have[w] {
			common++
		}
	}
	trade := float64(common) / float64(len(want))
	if trade == 0 || !ranked {
		return trade
	}
	apart := math.Abs(float64(wantRank - haveRank))
	return 0.8*trade + 0.2*max(0, 1-apart/3)
}

func titleParts(title string) (trade map[string]bool, rank int, ranked bool) {
	trade, rank = map[string]bool{}, midRank
	for _, w := range strings.Fields(Fold(title)) {
		if r, ok := ranks[w]; ok {
			if !ranked || r > rank {
				rank = r
			}
			ranked = true
			if w != "manager" && w != "director" && w != "chief" && w != "head" {
				continue
			}
		}
		if written, ok := tradeWords[w]; ok {
			w = written
		}
		for _, part := range strings.Fields(w) {
			trade[part] = true
		}
	}
	return trade, rank, ranked
}

package pipeline

import "strings"

// koreanFamilies are the commonest Korean family names in their usual romanisations.
var koreanFamilies = words(`kim gim lee yi rhee ri park pak bak choi choe jung jeong chung chong kang gang cho jo yoon yun jang chang lim im han oh o seo suh
	shin sin kwon gwon hwang ahn an song yoo yu ryu hong jeon jun chon ko go moon mun yang son bae pae baek paek heo hur nam shim noh roh no ha kwak gwak sung
	cha joo ju woo u min`)

// sameKorean compares Korean names by a key under which the official and the
// older romanisations fall together (Geun-hye and Kun-hye, Jong-un and Jeongeun).
// The family name must stand on the same end.
func sameKorean(a, b []nameToken) bool {
	fa, ga, okA := koreanParts(a)
	fb, gb, okB := koreanParts(b)
	return okA && okB && ga == gb && (fa == fb || nameTables().variant[fa][fb])
}

func koreanParts(in []nameToken) (family, given string, ok bool) {
	if len(in) < 2 || len(in) > 3 {
		return "", "", false
	}
	rest := in[1:]
	family = in[0].text
	if !koreanFamilies[family] {
		rest, family = in[:len(in)-1], in[len(in)-1].text
	}
	if !koreanFamilies[family] {
		return "", "", false
	}
	for _, t := range rest {
		if t.initial || len(t.text) > 10 || (len(rest) == 2 && len(t.text) > 6) {
			return "", "", false
		}
		given += t.text
	}
	if len(rest) == 1 && len(given) < 5 {
		return "", "", false
	}
	return family, koreanKey(given), true
}

// koreanKey writes the two romanisations in one way: voiced for plain consonants, plain for double vowels.
func koreanKey(s string) string {
	s = strings.NewReplacer("yeo", "yo", "eo", "o", "eu", "u", "oo", "u", "ou", "o", "ae", "e", "ch", "j", "sh", "s").Replace(s)
	s = strings.NewReplacer("k", "g", "p", "b", "t", "d", "r", "l").Replace(s)
	return collapse(s)
}

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

// chineseFamilies maps common Chinese family names of the older romanisation to pinyin; pinyin names map to themselves.
var chineseFamilies = func() map[string]string {
	out := map[string]string{}
	for w := range words(`wang li zhang liu chen yang huang zhao wu zhou xu sun ma zhu hu guo he lin gao luo zheng liang xie song tang han feng deng cao peng
		zeng xiao tian dong pan yuan cai jiang yu du ye cheng wei su lu ding ren yao shen jia xia fu fang zou xiong bai meng qin qiu hou yin jin mao jiang`) {
		out[w] = w
	}
	for old, pinyin := range map[string]string{
		"chang": "zhang", "chao": "zhao", "chou": "zhou", "hsu": "xu", "chu": "zhu", "kuo": "guo", "ho": "he", "kao": "gao", "lo": "luo", "cheng": "zheng",
		"hsieh": "xie", "sung": "song", "teng": "deng", "tsao": "cao", "tseng": "zeng", "hsiao": "xiao", "tung": "dong", "tsai": "cai", "chiang": "jiang",
		"tu": "du", "yeh": "ye", "ting": "ding", "jen": "ren", "chia": "jia", "hsia": "xia", "hsiung": "xiong", "pai": "bai", "chin": "jin", "chiu": "qiu", "tsou": "zou",
	} {
		out[old] = pinyin
	}
	return out
}()

// sameChinese compares Chinese names of which one is written in the older
// romanisation (Teng Hsiao-ping, Deng Xiaoping). Given names of one syllable are too alike in it to tell.
func sameChinese(a, b []nameToken) bool {
	fa, ga, oldA, okA := chineseParts(a)
	fb, gb, oldB, okB := chineseParts(b)
	if !okA || !okB || oldA == oldB {
		return false
	}
	return (chineseFamilies[fa] == chineseFamilies[fb] || chineseKey(fa) == chineseKey(fb)) && chineseKey(ga) == chineseKey(gb)
}

func chineseParts(in []nameToken) (family, given string, old, ok bool) {
	if len(in) < 2 || len(in) > 3 || chineseFamilies[in[0].text] == "" {
		return "", "", false, false
	}
	whole := ""
	for i, t := range in {
		if i > 0 {
			given += t.text
		}
		whole += t.text
	}
	for _, sign := range []string{"hs", "ts", "tz", "ieh", "ueh", "chieh", "ssu", "jung", "kuo", "tung", "sung"} {
		old = old || strings.Contains(whole, sign)
	}
	return in[0].text, given, old, len(given) > 4
}

// chineseKey writes both romanisations in one way.
func chineseKey(s string) string {
	s = strings.NewReplacer("hs", "s", "x", "s", "tzu", "si", "zi", "si", "tse", "ce", "ze", "ce", "ts", "c", "tz", "c", "zh", "c", "ch", "c", "q", "c", "j", "c",
		"ong", "ung", "ian", "ien", "ieh", "ie", "ueh", "ue", "g", "k", "b", "p", "d", "t", "z", "c", "uo", "o", "ui", "uei").Replace(s)
	return collapse(s)
}

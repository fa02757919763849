package extract

import (
	"regexp"
	"strings"
)

// notices are the wordings by which people say that recruiters shall not write
// to them. Each is tried on lower-case, one-line text.
var notices = []*regexp.Regexp{
	// English: "no recruiters", "not open to recruiters", "recruiters: please do not contact me"
	regexp.MustCompile(`\bno (?:unsolicited )?(?:(?:tech |technical |external |third[- ]party |agency )?(?:recruiters?|recruitment|recruiting|headhunters?|head hunters?|staffing)\b)`),
	regexp.MustCompile(`\b(?:recruiters?|headhunters?|recruitment agenc(?:y|ies)|recruiting agenc(?:y|ies)|staffing agenc(?:y|ies))\b[^.!?]{0,40}\b(?:do not|don[’']?t|please don[’']?t|not welcome|unwelcome|stay away|go away|keep out|need not apply|will be ignored|are ignored|ignored|not wanted|no thanks|no thank you)\b`),
	regexp.MustCompile(`\b(?:do not|don[’']?t|please don[’']?t|never|not)\b[^.!?]{0,30}\b(?:contact|e?-?mail|message|write|call|reach out|approach|use)\b[^.!?]{0,60}\b(?:recruit\w*|headhunt\w*|job offers?|job opportunit\w+|sales pitch\w*|unsolicited offers?)`),
	regexp.MustCompile(`\bnot (?:interested in|open to|looking for|accepting|available (?:for|to))\b[^.!?]{0,30}\b(?:recruit\w*|headhunt\w*|job offers?|job opportunit\w+|new opportunit\w+|new roles?|new positions?|new jobs?)`),
	regexp.MustCompile(`\bno (?:unsolicited )?(?:job offers?|job e?-?mails?|job spam|cold e?-?mails?|sales e?-?mails?|commercial e?-?mails?)\b`),
	// German
	regexp.MustCompile(`\bkeine? (?:anfragen (?:von|durch) )?(?:recruiter\w*|headhunter\w*|personalvermittl\w*|personalberat\w*|personaldienstleist\w*|jobangebote?|stellenangebote?)\b`),
	regexp.MustCompile(`\b(?:recruiter\w*|headhunter\w*|personalvermittl\w*|personaldienstleist\w*)\b[^.!?]{0,60}\b(?:unerwünscht|nicht erwünscht|bitte nicht|nicht kontaktieren|nicht anschreiben)\b`),
	regexp.MustCompile(`\bnicht (?:auf jobsuche|an (?:jobangeboten|stellenangeboten) interessiert)\b`),
	// French
	regexp.MustCompile(`\b(?:pas de|pas d[’']|aucun|ni) ?(?:recruteurs?|chasseurs? de têtes?|cabinets? de recrutement|offres? d[’']emploi|démarchage)`),
	regexp.MustCompile(`\b(?:recruteurs?|chasseurs? de têtes?|cabinets? de recrutement)\b[^.!?]{0,60}\b(?:s[’']abstenir|ne (?:me |pas me )?(?:pas )?contacte\w*|passez votre chemin|indésirables?)`),
	regexp.MustCompile(`\bpas (?:à l[’']écoute du marché|en recherche d[’']emploi)`),
	// Spanish and Portuguese
	regexp.MustCompile(`\b(?:no|não|abstenerse|sin|sem)\b (?:a )?(?:los |aos? )?(?:reclutadores|recrutadores|cazatalentos|headhunters|recruiters|ofertas de (?:trabajo|empleo|emprego))`),
	regexp.MustCompile(`\b(?:reclutadores|recrutadores|cazatalentos)\b[^.!?]{0,40}\b(?:abstenerse|no contactar|não contac?tar|por favor não|por favor no)`),
	// Italian and Dutch
	regexp.MustCompile(`\b(?:no|niente|nessun) (?:a )?(?:reclutator[ei]|selezionator[ei]|recruiters?|cacciatori di teste|offerte di lavoro)\b`),
	regexp.MustCompile(`\bgeen (?:recruiters?|headhunters?|werving|acquisitie|wervingsbureaus?|detacheerders|vacatures)\b`),
	regexp.MustCompile(`\bacquisitie (?:naar aanleiding van [^.!?]{0,40} )?(?:wordt )?niet (?:op prijs gesteld|gewenst)\b`),
}

// noticeHints are beginnings of words, one of which every notice contains, so that most text is never searched.
var noticeHints = set(`recr recl head staf job jobs joba offe role posi oppo cold sale comm pers stel chas cabi empl démar marc trab
	ofer empr caza sele cacc lavo werv acqu deta vaca`)

// noContactNotice quotes the sentence of a page's text that tells recruiters to stay away; "" when there is none.
func noContactNotice(pageText string) string {
	searched := 0
	for sentence := range sentences(strings.ToLower(pageText)) {
		if !hinted(sentence) {
			continue
		}
		if searched++; searched > maxNoticeSentences {
			return ""
		}
		for _, notice := range notices {
			if notice.MatchString(sentence) {
				return cut(strings.TrimSpace(sentence), maxSnippet)
			}
		}
	}
	return ""
}

// maxNoticeSentences is how many sentences about work are searched: a notice does not hide among hundreds.
const maxNoticeSentences = 200

func hinted(sentence string) bool {
	for i := 0; i < len(sentence); {
		for i < len(sentence) && !isLetter(sentence[i]) && sentence[i] < 0x80 {
			i++
		}
		start := i
		for i < len(sentence) && (isLetter(sentence[i]) || sentence[i] >= 0x80) {
			i++
		}
		if word := sentence[start:i]; len(word) >= 3 && (noticeHints[word[:min(len(word), 4)]] || noticeHints[word[:min(len(word), 6)]]) {
			return true
		}
	}
	return false
}

// sentences cuts a text at full stops and line ends; long runs without either are cut too.
func sentences(s string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for len(s) > 0 {
			window := s[:min(len(s), 600)]
			end := strings.IndexAny(window, ".!?\n")
			if end < 0 {
				end = len(window) - 1
			}
			if !yield(s[:end+1]) {
				return
			}
			s = s[end+1:]
		}
	}
}

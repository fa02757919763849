package cmd

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/term"

	"github.com/enrichd/enrichd/enrichment"
	"github.com/enrichd/enrichd/enrichment/pipeline"
)

// painter shows a run: on a terminal it redraws a few lines in place, elsewhere
// it prints one line per change.
type painter struct {
	w     io.Writer
	names map[string]string // by profile id; the id itself when missing
	fd    int               // of the terminal, -1 when there is none
	color bool

	mu    sync.Mutex
	drawn int
	last  time.Time
}

const (
	redrawEvery = 100 * time.Millisecond
	barWidth    = 24
	nameWidth   = 20
)

func newPainter(w io.Writer, names map[string]string) *painter {
	p := &painter{w: w, names: names, fd: -1}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		p.fd = int(f.Fd())
		p.color = os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	}
	return p
}

// show tells about the state after e. final draws it whatever the clock says.
func (p *painter) show(s *runState, e event, final bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fd < 0 {
		if line := p.line(e); line != "" {
			fmt.Fprintln(p.w, line)
		}
		return
	}
	if !final && time.Since(p.last) < redrawEvery {
		return
	}
	p.last = time.Now()
	width, _, err := term.GetSize(p.fd)
	if err != nil || width < 20 {
		width = 80
	}
	var b strings.Builder
	if p.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", p.drawn)
	}
	lines := p.lines(s)
	for _, l := range lines {
		b.WriteString("\x1b[2K" + clip(l, width-1) + "\n")
	}
	p.drawn = len(lines)
	io.WriteString(p.w, b.String())
}

// line is what a pipe gets for one event; "" for what would only be noise there.
func (p *painter) line(e event) string {
	at := e.OccurredAt.Local().Format("15:04:05.000")
	switch e.Typename {
	case "RunSnapshot", "RunStatusChanged":
		status := e.Status
		if e.Run != nil {
			status = e.Run.Status
		}
		return fmt.Sprintf("%s  run %s  %d of %d done", at, strings.ToLower(string(status)), e.Progress.finished(), e.Progress.Total)
	case "ProfileAdvanced":
		if e.Outcome.Open() {
			if e.Stage == "" {
				return ""
			}
			return fmt.Sprintf("%s  %-*s %s", at, nameWidth, p.name(e.ProfileID), strings.ToLower(string(e.Stage)))
		}
		return fmt.Sprintf("%s  %-*s %s", at, nameWidth, p.name(e.ProfileID), outcomeWords(e.Outcome))
	case "SourceChanged":
		if e.State == pipeline.SourceLost && e.Loss != nil {
			return fmt.Sprintf("%s  %-*s lost %s (%s)", at, nameWidth, p.name(e.ProfileID), e.Source, *e.Loss)
		}
	case "CreditsMoved":
		return fmt.Sprintf("%s  credits: %d held, %d spent, %d returned", at, e.Credits.Held, e.Credits.Captured, e.Credits.Released)
	}
	return ""
}

func (p *painter) lines(s *runState) []string {
	done, total := s.Progress.finished(), max(s.Progress.Total, 1)
	full := done * barWidth / total
	lines := []string{fmt.Sprintf("%s %d of %d  %s  credits: %d held, %d spent, %d returned",
		p.paint("36", strings.Repeat("█", full)+strings.Repeat("░", barWidth-full)), done, s.Progress.Total,
		strings.ToLower(string(s.Status)), s.Credits.Held, s.Credits.Captured, s.Credits.Released)}
	for _, id := range s.Order {
		ps := s.Profiles[id]
		lines = append(lines, fmt.Sprintf("  %-*s %s %s", nameWidth, clip(p.name(id), nameWidth), p.ticks(ps), p.standing(ps)))
	}
	return lines
}

// ticks shows the eight stages: passed, current, to come.
func (p *painter) ticks(ps *profileState) string {
	place := slices.Index(pipeline.Stages, ps.Stage)
	if ps.Outcome.Success() || ps.Outcome == enrichment.OutcomeNoMatch {
		place = len(pipeline.Stages)
	}
	var b strings.Builder
	for i := range pipeline.Stages {
		switch {
		case i < place:
			b.WriteString("■")
		case i == place && ps.Outcome.Open():
			b.WriteString("▣")
		default:
			b.WriteString("·")
		}
	}
	return p.paint("36", b.String())
}

func (p *painter) standing(ps *profileState) string {
	switch {
	case ps.Outcome == enrichment.OutcomeQueued:
		return "waiting"
	case ps.Outcome == enrichment.OutcomeActive && len(ps.WaitingOn) > 0:
		word := strings.ToLower(string(ps.Stage)) + ", waiting for " + strings.Join(ps.WaitingOn, ", ")
		if time.Since(ps.Since) > 7*time.Second {
			return p.paint("33", word)
		}
		return word
	case ps.Outcome == enrichment.OutcomeActive:
		return strings.ToLower(string(ps.Stage))
	case ps.Outcome.Success():
		return p.paint("32", fmt.Sprintf("%s, %d fields", outcomeWords(ps.Outcome), ps.Fields))
	case ps.Outcome == enrichment.OutcomeFailed || ps.Outcome == enrichment.OutcomeTimedOut:
		return p.paint("31", outcomeWords(ps.Outcome))
	}
	return outcomeWords(ps.Outcome)
}

func outcomeWords(o enrichment.Outcome) string {
	return strings.ToLower(strings.ReplaceAll(string(o), "_", " "))
}

func (p *painter) name(id string) string {
	if n := p.names[id]; n != "" {
		return n
	}
	return id
}

func (p *painter) paint(code, s string) string {
	if !p.color {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

// clip cuts a line to a number of characters on screen; colour codes take no room.
func clip(s string, width int) string {
	shown := 0
	for i := 0; i < len(s); {
		if s[i] == '\x1b' {
			end := strings.IndexByte(s[i:], 'm')
			if end < 0 {
				return s[:i]
			}
			i += end + 1
			continue
		}
		_, n := utf8.DecodeRuneInString(s[i:])
		if shown == width {
			if strings.Contains(s[:i], "\x1b") {
				return s[:i] + "\x1b[0m"
			}
			return s[:i]
		}
		shown++
		i += n
	}
	return s
}

package cmd_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait for something that must happen; nothing waits that long when all is well.
const patience = 60 * time.Second

// transcript is what a process has written so far, and lets others wait for more.
type transcript struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{} // closed and replaced with every write
}

func (r *transcript) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.text.Write(p)
	if r.more != nil {
		close(r.more)
		r.more = nil
	}
	return len(p), nil
}

func (r *transcript) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

// look returns the text and a channel that is closed when there is more.
func (r *transcript) look() (string, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.more == nil {
		r.more = make(chan struct{})
	}
	return r.text.String(), r.more
}

// process is one run of the program.
type process struct {
	cmd      *exec.Cmd
	out, log transcript // stdout and stderr
	done     chan struct{}
}

// spawn starts the program with an environment that holds env and nothing else
// of ours. It is killed when the test ends, unless it has ended by then.
func spawn(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: exec.Command(path, args...), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.log
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "ENRICHD_POSTGRES_BIN"} {
		if value, set := os.LookupEnv(name); set {
			p.cmd.Env = append(p.cmd.Env, name+"="+value)
		}
	}
	p.cmd.Env = append(p.cmd.Env, env...)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait() // the status is in ProcessState
		close(p.done)
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.done
		if text := p.log.String(); t.Failed() && text != "" {
			t.Logf("enrichd %s said at last:\n%s", strings.Join(args, " "), text[max(0, len(text)-2000):])
		}
	})
	return p
}

// wait returns the exit status.
func (p *process) wait(t *testing.T, within time.Duration) int {
	t.Helper()
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(within):
		t.Fatalf("%v does not end within %s", p.cmd.Args[1:], within)
		return -1
	}
}

// await waits until the process has written what matches to where, and returns the first group.
func (p *process) await(t *testing.T, where *transcript, pattern string) string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	for until := time.After(patience); ; {
		text, more := where.look()
		if m := re.FindStringSubmatch(text); m != nil {
			return m[len(m)-1]
		}
		select {
		case <-more:
		case <-p.done:
			if !re.MatchString(where.String()) {
				t.Fatalf("%v ended with status %d without %s:\n%s%s", p.cmd.Args[1:], p.cmd.ProcessState.ExitCode(), pattern, p.out.String(), p.log.String())
			}
		case <-until:
			t.Fatalf("%v does not write %s", p.cmd.Args[1:], pattern)
		}
	}
}

// kill ends the process as a power cut would.
func (p *process) kill(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-p.done
}

// signal sends what an operator or a terminal sends.
func (p *process) signal(t *testing.T, s os.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// said is what one finished command answered.
type said struct {
	stdout, stderr string
	status         int
}

// command runs one command to its end, whatever its status.
func command(t *testing.T, env []string, args ...string) said {
	t.Helper()
	p := spawn(t, env, args...)
	status := p.wait(t, patience)
	return said{p.out.String(), p.log.String(), status}
}

// decode reads stdout, which must be one JSON value.
func (s said) decode(t *testing.T, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(s.stdout), v); err != nil {
		t.Fatalf("status %d, %v in %q; it said %s", s.status, err, s.stdout, s.stderr)
	}
}

// eventually looks again and again until ok, which it leaves to the thing looked at and not to a fixed time.
func eventually(t *testing.T, within time.Duration, what string, ok func() bool) {
	t.Helper()
	for until := time.Now().Add(within); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("%s: not within %s", what, within)
		}
	}
}

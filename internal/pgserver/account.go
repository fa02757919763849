//go:build unix

package pgserver

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// account is the user that the server runs as.
type account struct {
	name     string
	uid, gid int
	// drop says that the launcher is root and must become somebody else.
	drop bool
}

// process returns how to start a process as this account, in a group of its own
// so that a Ctrl-C at the terminal reaches us and not the server behind our back.
func (a account) process() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true}
	if a.drop {
		attr.Credential = &syscall.Credential{Uid: uint32(a.uid), Gid: uint32(a.gid)}
	}
	return attr
}

// accountFor returns this process's own user, or for root the owner of an
// existing data directory, else "postgres", else "nobody".
func accountFor(data string) (account, error) {
	uid := os.Geteuid()
	owner, exists := ownerOf(data)
	if uid != 0 {
		if exists && owner != uid {
			return account{}, fmt.Errorf("%s belongs to user %d; run as that user or as root, or choose another state directory", data, owner)
		}
		me, err := user.LookupId(strconv.Itoa(uid))
		if err != nil {
			return account{}, fmt.Errorf("user %d has no name in the passwd database, which initdb needs: %w", uid, err)
		}
		return account{name: me.Username, uid: uid, gid: os.Getegid()}, nil
	}
	if exists && owner == 0 {
		return account{}, fmt.Errorf("%s belongs to root, as whom PostgreSQL does not run; give it to the user postgres", data)
	}
	candidates := []func() (*user.User, error){
		func() (*user.User, error) { return user.Lookup("postgres") },
		func() (*user.User, error) { return user.Lookup("nobody") },
	}
	if exists {
		candidates = []func() (*user.User, error){func() (*user.User, error) { return user.LookupId(strconv.Itoa(owner)) }}
	}
	for _, find := range candidates {
		found, err := find()
		if err != nil {
			continue
		}
		uid, _ := strconv.Atoi(found.Uid)
		gid, err := strconv.Atoi(found.Gid)
		if err == nil && uid > 0 {
			return account{name: found.Username, uid: uid, gid: gid, drop: true}, nil
		}
	}
	return account{}, errors.New("PostgreSQL does not run as root, and there is no user postgres or nobody to run it as")
}

func ownerOf(path string) (uid int, exists bool) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, false
	}
	return int(info.Sys().(*syscall.Stat_t).Uid), true
}

// DefaultDir is where the private server lives when nothing else is configured:
// the system's state directory for root, whose own home the server's user could
// not reach, and the user's for anybody else. It belongs to Start alone.
func DefaultDir() string {
	if os.Geteuid() == 0 {
		if runtime.GOOS == "darwin" {
			return "/Library/Application Support/enrichd/postgres"
		}
		return "/var/lib/enrichd/postgres"
	}
	if state := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(state) {
		return filepath.Join(state, "enrichd", "postgres")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return filepath.Join(os.TempDir(), "enrichd-"+strconv.Itoa(os.Geteuid()), "postgres")
	}
	if runtime.GOOS == "darwin" {
		return filepath.Join(home, "Library", "Application Support", "enrichd", "postgres")
	}
	return filepath.Join(home, ".local", "state", "enrichd", "postgres")
}

// makeReachable creates dir and sees to it that the server's user can walk to
// it. Directories made here let others pass (0711) without letting them look.
// Existing ones on the way are opened likewise only if they are dir itself, its
// parent, or temporary: a closed home is its owner's decision, and is refused.
func makeReachable(dir string, owner account) error {
	mode := os.FileMode(0o700)
	if owner.drop {
		mode = 0o711
	}
	if err := os.MkdirAll(dir, mode); err != nil {
		return fmt.Errorf("state directory: %w", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("state directory: %w", err)
	}
	if by := int(info.Sys().(*syscall.Stat_t).Uid); by != os.Geteuid() {
		return fmt.Errorf("%s belongs to user %d, not to this process's", dir, by)
	}
	if info.Mode().Perm()&0o022 != 0 { // by umask or by hand: nobody else may put files here
		if err := os.Chmod(dir, info.Mode().Perm()&^0o022); err != nil {
			return fmt.Errorf("state directory: %w", err)
		}
	}
	if !owner.drop {
		return nil
	}
	// Symbolic links walked by the server count as well, so the real path is what matters.
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return fmt.Errorf("state directory: %w", err)
	}
	home, _ := os.UserHomeDir()
	for at, depth := real, 0; at != "/"; at, depth = filepath.Dir(at), depth+1 {
		info, err := os.Stat(at)
		if err != nil {
			return fmt.Errorf("state directory: %w", err)
		}
		if passable(info, owner) {
			continue
		}
		ours := int(info.Sys().(*syscall.Stat_t).Uid) == 0 && at != home && at != "/root"
		if !ours || depth > 1 && !temporary(at) {
			return fmt.Errorf("user %s, as whom PostgreSQL runs under root, cannot reach %s because %s is closed to it (mode %04o); choose a state directory such as %s (ENRICHD_STATE_DIR), or set DATABASE_URL",
				owner.name, dir, at, info.Mode().Perm(), filepath.Dir(DefaultDir()))
		}
		if err := os.Chmod(at, info.Mode().Perm()|0o011); err != nil {
			return fmt.Errorf("state directory: %w", err)
		}
	}
	return nil
}

// temporary reports whether dir is, or lies beneath, the directory of temporary files.
func temporary(dir string) bool {
	if strings.HasPrefix(dir, "/tmp/") {
		return true
	}
	temp, err := filepath.EvalSymlinks(os.TempDir())
	return err == nil && (dir == temp || strings.HasPrefix(dir, temp+"/"))
}

// passable reports whether owner may walk through the directory.
func passable(info os.FileInfo, owner account) bool {
	stat := info.Sys().(*syscall.Stat_t)
	switch {
	case int(stat.Uid) == owner.uid:
		return info.Mode().Perm()&0o100 != 0
	case int(stat.Gid) == owner.gid:
		return info.Mode().Perm()&0o010 != 0
	default:
		return info.Mode().Perm()&0o001 != 0
	}
}

// writeAuthentication writes who may connect as User: the launcher's user, the
// server's, and root, each by the kernel's word. The files lie beside the data,
// owned by the launcher, because root must not write where another user could
// have put a link.
func writeAuthentication(dir string, owner account) error {
	names := []string{"root", owner.name}
	if me, err := user.Current(); err == nil {
		names = append(names, me.Username)
	}
	slices.Sort(names)
	var ident strings.Builder
	for _, name := range slices.Compact(names) {
		fmt.Fprintf(&ident, "enrichd %q %s\n", name, User)
	}
	for name, text := range map[string]string{
		"pg_hba.conf":   "local all " + User + " peer map=enrichd\n",
		"pg_ident.conf": ident.String(),
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return fmt.Errorf("authentication: %w", err)
		}
		if err := os.Chmod(path, 0o644); err != nil { // whatever the umask; the server's user reads it
			return fmt.Errorf("authentication: %w", err)
		}
	}
	return nil
}

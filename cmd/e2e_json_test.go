package cmd_test

import (
	"slices"
	"strings"
	"testing"
)

// TestChangesAsJSON changes things by commands that say what they did.
func TestChangesAsJSON(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.serve(t)
	me := w.tenant(t, n, 1)
	id, _ := newKey(t, w.env, n, me.company, "--manages", me.company)
	for _, c := range []struct {
		args  string
		names []string // of the members, in order
		says  string   // part of what it prints otherwise
	}{
		{"limits set --company " + me.company + " --per-minute 6000 --burst 9000", []string{"company", "limits"}, me.company + " has figures of its own"},
		{"limits set --key " + me.keyID + " --per-hour 90000", []string{"key", "limits"}, me.keyID + " has figures of its own"},
		{"limits set --key " + me.keyID, []string{"key", "limits"}, me.keyID + " has the plan's figures"},
		{"keys manage " + id + " --company " + me.company, []string{"company", "id", "manages"}, id + " acts for " + me.company},
		{"keys manage " + id + " --company " + me.company + " --remove", []string{"company", "id", "manages"}, "no longer"},
		{"keys manage " + me.keyID + " --persisted-only=false", []string{"id", "persistedOnly"}, "may send any operation"},
		{"company keep " + me.company + " --result-days 120", []string{"evidenceDays", "id", "resultDays"}, "results for 120"},
		{"migrate", []string{"done"}, ""},
	} {
		args := strings.Fields(c.args)
		if s := w.cli(t, append(args, "--json")...); s.status != 0 || !slices.Equal(keysOf(t, s.stdout), c.names) {
			t.Errorf("%s --json: %+v", c.args, s)
		}
		if s := w.cli(t, args...); s.status != 0 || !strings.Contains(s.stdout, c.says) {
			t.Errorf("%s: %+v", c.args, s)
		}
	}
	var limits struct {
		Limits struct{ PerMinute, Burst, PerHour int }
	}
	must(t, w.env, &limits, "limits", "set", "--company", me.company, "--per-minute", "700", "--burst", "800")
	if limits.Limits.PerMinute != 700 || limits.Limits.Burst != 800 || limits.Limits.PerHour != 0 {
		t.Errorf("%+v", limits)
	}
}

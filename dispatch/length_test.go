package dispatch

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/enrichd/enrichd/internal/fault"
)

// TestLengths counts characters, not bytes, at each limit and one above it, in
// letters of one to four bytes.
func TestLengths(t *testing.T) {
	t.Parallel()
	b := setup(t)
	w, _ := b.webhook(publicURL, nil)
	text := func(letter string, n int) *string { s := strings.Repeat(letter, n); return &s }
	for _, letter := range []string{"n", "ä", "語", "😀"} {
		fits := WebhookChange{
			Name: OptionalText{true, text(letter, 255)}, Description: OptionalText{true, text(letter, 2000)},
			Headers: []WebhookHeaderInput{{strings.Repeat("n", 100), *text(letter, 4000)}},
		}
		if len(letter) < 4 {
			fits.Headers[0].Value = *text(letter, 4096)
		}
		got, err := b.UpdateWebhook(b.as(b.principal), w.ID, fits)
		if err != nil {
			t.Fatalf("%s: %v", letter, err)
		}
		if *got.Name != *fits.Name.Text || *got.Description != *fits.Description.Text {
			t.Errorf("%s: %.20q, %.20q", letter, *got.Name, *got.Description)
		}
		if _, _, err := b.CreateWebhook(b.as(b.principal), CreateWebhookInput{URL: publicURL, Name: fits.Name.Text, Description: fits.Description.Text, TimeoutMillis: maxTimeout}); err != nil {
			t.Errorf("%s: %v", letter, err)
		}
		_, err = b.UpdateWebhook(b.as(b.principal), w.ID, WebhookChange{
			Name: OptionalText{true, text(letter, 256)}, Description: OptionalText{true, text(letter, 2001)},
			Headers: []WebhookHeaderInput{{"x", *text(letter, 4097)}},
		})
		refusals, rest := fault.Users(err)
		var said []string
		for _, r := range refusals {
			said = append(said, strings.Join(r.Where(), ".")+" "+r.Error())
		}
		want := []string{
			"name must be at most 255 characters long, not 256", "description must be at most 2000 characters long, not 2001",
			"headers.0.value must be 1 to 4096 characters long",
		}
		if len(letter) == 4 {
			want = append(want, "headers names and values together may be 16384 bytes long, not 16389")
		}
		if rest != nil || !slices.Equal(said, want) {
			t.Errorf("%s: %q, %v", letter, said, rest)
		}
	}
	t.Run("and bytes only over all headers together", func(t *testing.T) {
		headers := func(n int) []WebhookHeaderInput {
			return []WebhookHeaderInput{{"a", strings.Repeat("ä", 4095)}, {"b", strings.Repeat("ä", n)}, {"c", "v"}}
		}
		if refusals := checkHeaders(headers(4094), ""); len(refusals) != 0 { // 8191 + 8189 + 2 bytes
			t.Error(errors.Join(refusals...))
		}
		var limit fault.LimitExceeded
		if err := errors.Join(checkHeaders(headers(4096), "")...); !errors.As(err, &limit) || limit.Limit != maxHeaderBytes || limit.Actual != 8191+8193+2 {
			t.Errorf("%v", err)
		}
	})
}

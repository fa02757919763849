package resolvers_test

import "testing"

func TestKeys(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	c := h.caller(0)
	t.Run("are made free or held to known operations, and say which", func(t *testing.T) {
		type key struct {
			ID            string
			PersistedOnly bool
		}
		made := map[string]bool{c.who.Key.ID: false}
		for _, more := range []string{"", ", persistedOnly: false", ", persistedOnly: true"} {
			var out struct {
				CreateAPIKey struct {
					APIKey     *key
					UserErrors []any
				}
			}
			c.ask(&out, `mutation { createApiKey(input: {label: "of `+more+`", scopes: [ENRICH_READ]`+more+`}) { apiKey { id persistedOnly } userErrors { message } } }`)
			if out.CreateAPIKey.APIKey == nil || out.CreateAPIKey.APIKey.PersistedOnly != (more == ", persistedOnly: true") {
				t.Fatalf("%q: %+v", more, out.CreateAPIKey)
			}
			made[out.CreateAPIKey.APIKey.ID] = out.CreateAPIKey.APIKey.PersistedOnly
		}
		var all struct{ Viewer struct{ APIKeys []key } }
		c.ask(&all, `{ viewer { apiKeys { id persistedOnly } } }`)
		if len(all.Viewer.APIKeys) != len(made) {
			t.Errorf("%+v", all)
		}
		for _, k := range all.Viewer.APIKeys {
			if only, known := made[k.ID]; !known || k.PersistedOnly != only {
				t.Errorf("%+v", k)
			}
		}
	})
}

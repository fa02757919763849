package config_test

import (
	"strings"
	"testing"

	"github.com/enrichd/enrichd/internal/config"
)

func TestRead(t *testing.T) {
	t.Parallel()
	t.Run("gives every setting its default", func(t *testing.T) {
		c, err := config.Read(nil)
		if err != nil {
			t.Fatal(err)
		}
		if c.Addr != "127.0.0.1:8080" || c.CrawlRate != 1 || len(c.Sources) != 3 {
			t.Errorf("%+v", c)
		}
	})
	t.Run("reads lists, networks and the settings of one source", func(t *testing.T) {
		c, err := config.Read([]string{
			"ENRICHD_EGRESS_ALLOW=127.0.0.0/8, ::1", "ENRICHD_EGRESS_PORTS=8000,8001", "ENRICHD_SOURCES=site github",
			"ENRICHD_SOURCE_GITHUB_URL=http://127.0.0.1:9/api", "ENRICHD_SOURCE_GITHUB_KEY=hush",
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(c.EgressAllow) != 2 || len(c.EgressPorts) != 2 || c.SourceURLs["github"] != "http://127.0.0.1:9/api" {
			t.Errorf("%+v", c)
		}
	})
	t.Run("names every problem at once", func(t *testing.T) {
		_, err := config.Read([]string{
			"ENRICHD_ADDR=nowhere", "ENRICHD_EGRESS_ALLOW=bad", "ENRICHD_SOURCES=linkedin",
			"ENRICHD_SOURCE_GITHUB_URL=ftp://x", "ENRICHD_CRAWL_RATE=0",
		})
		for _, want := range []string{"ENRICHD_ADDR", "ENRICHD_EGRESS_ALLOW", "linkedin", "ENRICHD_SOURCE_GITHUB_URL", "ENRICHD_CRAWL_RATE"} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s is missing in %v", want, err)
			}
		}
	})
	t.Run("keeps names that mean nothing, for a warning", func(t *testing.T) {
		c, err := config.Read([]string{"ENRICHD_ADR=typo", "ENRICHD_CORPORA=/x"})
		if err != nil || len(c.Unknown) != 1 || c.Unknown[0] != "ENRICHD_ADR" {
			t.Errorf("%+v, %v", c, err)
		}
	})
	t.Run("prints no secret", func(t *testing.T) {
		c, err := config.Read([]string{"DATABASE_URL=postgres://u:hush@db/x?sslmode=verify-full", "ENRICHD_MASTER_KEY=hush", "ENRICHD_SOURCE_GITHUB_KEY=hush"})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range c.Settings() {
			if strings.Contains(s.Value, "hush") {
				t.Errorf("%s shows %s", s.Name, s.Value)
			}
		}
	})
}

package sandbox_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/enrichd/enrichd/internal/sandbox"
)

func TestSites(t *testing.T) {
	t.Parallel()
	v := visit(t)

	t.Run("answer by their names", func(t *testing.T) {
		home := v.get(t, "ada-lindqvist.test", "/")
		if home.StatusCode != http.StatusOK || home.Header.Get("Content-Type") != "text/html; charset=utf-8" || !bytes.Contains(home.body, []byte("Norrsken Robotics")) {
			t.Errorf("%s %s", home.Status, home.body)
		}
		if resume := v.get(t, "mateo-ibarra.test", "/resume.json"); resume.Header.Get("Content-Type") != "application/json" || !json.Valid(resume.body) {
			t.Errorf("%s %s", resume.Status, resume.body)
		}
		if about := v.get(t, "ada-lindqvist.test", "/about"); about.StatusCode != http.StatusOK {
			t.Error(about.Status)
		}
	})
	t.Run("say 404 for what they do not have, 405 to other methods, 421 to names that are not theirs", func(t *testing.T) {
		if r := v.get(t, "freja-dahl.test", "/robots.txt"); r.StatusCode != http.StatusNotFound {
			t.Error(r.Status)
		}
		if r := v.send(t, "POST", "http://freja-dahl.test:"+v.port+"/"); r.StatusCode != http.StatusMethodNotAllowed || r.Header.Get("Allow") == "" {
			t.Error(r.Status)
		}
		if r := v.send(t, "GET", "http://127.0.0.1:"+v.port+"/"); r.StatusCode != http.StatusMisdirectedRequest {
			t.Error(r.Status)
		}
	})
	t.Run("lead from a folder's slash to the page", func(t *testing.T) {
		if r := v.get(t, "ada-lindqvist.test", "/about/"); r.StatusCode != http.StatusMovedPermanently || r.Header.Get("Location") != "/about" {
			t.Error(r.Status, r.Header)
		}
	})
	t.Run("answer 304 to who holds the page", func(t *testing.T) {
		etag := v.get(t, "ada-lindqvist.test", "/cv").Header.Get("ETag")
		if r := v.get(t, "ada-lindqvist.test", "/cv", "If-None-Match", etag); r.StatusCode != http.StatusNotModified {
			t.Error(r.Status)
		}
	})
	t.Run("date their pages by the day of the start", func(t *testing.T) {
		if cv := v.get(t, "ada-lindqvist.test", "/cv"); !bytes.Contains(cv.body, []byte(`datetime="2027-03"`)) {
			t.Errorf("%s", cv.body)
		}
	})
	t.Run("are remembered request by request", func(t *testing.T) {
		v.get(t, "yuki-tanaka.test", "/work?from=test")
		all := v.Requests()
		last := all[len(all)-1]
		if last.Host != "yuki-tanaka.test" || last.Path != "/work?from=test" || last.Method != "GET" || last.UserAgent != "sandbox-test" {
			t.Errorf("%+v", last)
		}
	})
}

var ldScript = regexp.MustCompile(`(?s)<script type="application/ld\+json">(.*?)</script>`)

func TestPagesAreWhatTheyMeanToBe(t *testing.T) {
	t.Parallel()
	v := visit(t)
	broken := []string{}
	for _, host := range v.Hosts() {
		if host == "tomasz-zielinski.test" {
			continue // never answers
		}
		body := v.get(t, host, "/").body
		if bytes.Contains(body, []byte("{web}")) || bytes.Contains(body, []byte("{year")) {
			t.Errorf("%s holds a placeholder", host)
		}
		for _, script := range ldScript.FindAllSubmatch(body, -1) {
			if !json.Valid(script[1]) {
				broken = append(broken, host)
			}
		}
	}
	if len(broken) != 1 || broken[0] != "leila-moradi.test" {
		t.Errorf("broken JSON-LD on %v", broken)
	}
}

func TestBehaviours(t *testing.T) {
	t.Parallel()

	t.Run("a hanging host takes the request and never answers", func(t *testing.T) {
		t.Parallel()
		v := visit(t)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			req, _ := http.NewRequestWithContext(ctx, "GET", "http://tomasz-zielinski.test:"+v.port+"/robots.txt", nil)
			_, err := v.client.Do(req)
			ended <- err
		}()
		await(t, func() bool { return len(v.Requests()) == 1 })
		select {
		case err := <-ended:
			t.Errorf("answered: %v", err)
		default:
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	t.Run("closing ends visits to hosts that hang and pages that never end", func(t *testing.T) {
		t.Parallel()
		v := visit(t)
		v.Behave("yuki-tanaka.test", sandbox.Endless)
		v.Behave("api.github.test", sandbox.Hanging)
		ended := make(chan error, 2)
		for _, address := range []string{"http://yuki-tanaka.test:" + v.port + "/", v.Settings().SourceURLs["github"] + "/users/vhavel"} {
			go func() {
				req, _ := http.NewRequestWithContext(context.Background(), "GET", address, nil)
				res, err := v.client.Do(req)
				if err == nil {
					defer res.Body.Close()
					_, err = io.Copy(io.Discard, res.Body)
				}
				ended <- err
			}()
		}
		await(t, func() bool { return len(v.Requests()) == 2 })
		if err := v.Close(); err != nil {
			t.Error(err)
		}
		for range 2 {
			if err := <-ended; err == nil {
				t.Error("a visit ended in peace")
			}
		}
	})
	t.Run("an endless host goes on past any limit, but has robots.txt", func(t *testing.T) {
		t.Parallel()
		v := visit(t)
		v.Behave("grace-okafor.test", sandbox.Endless)
		if r := v.get(t, "grace-okafor.test", "/robots.txt"); r.StatusCode != http.StatusOK || !strings.Contains(string(r.body), "Disallow") {
			t.Error(r.Status)
		}
		req, _ := http.NewRequestWithContext(t.Context(), "GET", "http://grace-okafor.test:"+v.port+"/", nil)
		res, err := v.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if n, err := io.CopyN(io.Discard, res.Body, 8<<20); err != nil {
			t.Errorf("ended after %d bytes: %v", n, err)
		}
	})
	t.Run("an oversized page has two megabytes", func(t *testing.T) {
		t.Parallel()
		v := visit(t)
		if r := v.get(t, "viktor-havel.test", "/"); len(r.body) < 2<<20 || !bytes.HasSuffix(bytes.TrimSpace(r.body), []byte("</html>")) {
			t.Errorf("%d bytes", len(r.body))
		}
		if r := v.get(t, "viktor-havel.test", "/robots.txt"); len(r.body) > 1000 {
			t.Errorf("robots.txt has %d bytes", len(r.body))
		}
	})
	t.Run("a broken host recovers when it is told to", func(t *testing.T) {
		t.Parallel()
		v := visit(t)
		v.Behave("freja-dahl.test", sandbox.Broken)
		if r := v.get(t, "freja-dahl.test", "/"); r.StatusCode != http.StatusInternalServerError {
			t.Error(r.Status)
		}
		v.Behave("freja-dahl.test", sandbox.Normal)
		if r := v.get(t, "freja-dahl.test", "/"); r.StatusCode != http.StatusOK {
			t.Error(r.Status)
		}
	})
}

func TestSeveralSandboxesLiveSideBySide(t *testing.T) {
	t.Parallel()
	a, b := visit(t), visit(t)
	if a.port == b.port || a.Settings().DNSServer == b.Settings().DNSServer {
		t.Fatal("two sandboxes share an address")
	}
	pageA, pageB := a.get(t, "ada-lindqvist.test", "/").body, b.get(t, "ada-lindqvist.test", "/").body
	if !bytes.Equal(bytes.ReplaceAll(pageA, []byte(a.port), []byte("PORT")), bytes.ReplaceAll(pageB, []byte(b.port), []byte("PORT"))) {
		t.Error("the same day gives different pages")
	}
	if len(a.Requests()) != 1 {
		t.Errorf("%d requests", len(a.Requests()))
	}
}

// await waits until something has happened.
func await(t *testing.T, happened func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !happened(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it did not happen")
		}
	}
}

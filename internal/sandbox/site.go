package sandbox

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
	"time"
)

// site is one person's or company's own host: a folder of testdata/web.
type site struct {
	pages map[string]sitePage // by path
}

// sitePage is one file as it is served.
type sitePage struct {
	body     []byte
	kind     string // content type
	etag     string
	modified time.Time
}

const webFolder = "testdata/web"

// loadSites reads all sites. "about.html" is served as /about, "index.html" as its folder.
func loadSites(f filler) (map[string]*site, error) {
	sites := map[string]*site{}
	modified := time.Date(f.today.Year(), f.today.Month(), 1, 6, 30, 0, 0, time.UTC)
	if modified.After(f.today) {
		modified = f.today
	}
	err := fs.WalkDir(files, webFolder, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		host, rest, _ := strings.Cut(strings.TrimPrefix(name, webFolder+"/"), "/")
		body, err := f.read(name)
		if err != nil {
			return err
		}
		if sites[host] == nil {
			sites[host] = &site{pages: map[string]sitePage{}}
		}
		sites[host].pages[address(rest)] = newPage(body, name, modified)
		return nil
	})
	return sites, err
}

// address is where a file of a site is served.
func address(file string) string {
	if folder, ok := strings.CutSuffix(file, "index.html"); ok {
		return "/" + folder
	}
	return "/" + strings.TrimSuffix(file, ".html")
}

func newPage(body []byte, name string, modified time.Time) sitePage {
	sum := sha256.Sum256(body)
	kind := mime.TypeByExtension(path.Ext(name))
	switch path.Ext(name) { // the same on every machine, whatever its table of types says
	case ".html":
		kind = "text/html; charset=utf-8"
	case ".txt":
		kind = "text/plain; charset=utf-8"
	case ".json":
		kind = "application/json"
	}
	return sitePage{body: body, kind: kind, etag: `"` + hex.EncodeToString(sum[:8]) + `"`, modified: modified.Truncate(time.Second)}
}

// serve answers one request. Conditional requests, HEAD and ranges are as net/http has them.
func (s *site) serve(w http.ResponseWriter, r *http.Request, oversized bool) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "Method Not Allowed", http.StatusMethodNotAllowed)
		return
	}
	page, ok := s.pages[r.URL.Path]
	if !ok {
		if shorter := strings.TrimSuffix(r.URL.Path, "/"); shorter != r.URL.Path {
			if _, ok := s.pages[shorter]; ok {
				http.Redirect(w, r, shorter, http.StatusMovedPermanently)
				return
			}
		}
		missing(w)
		return
	}
	if oversized && strings.HasPrefix(page.kind, "text/html") {
		page = newPage(swollen(page.body), ".html", page.modified)
	}
	w.Header().Set("Content-Type", page.kind)
	w.Header().Set("ETag", page.etag)
	http.ServeContent(w, r, "", page.modified, bytes.NewReader(page.body))
}

func missing(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(http.StatusNotFound)
	fmt.Fprint(w, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Not found</title></head><body><h1>Not found</h1><p>There is no such page. <a href=\"/\">Start again</a>.</p></body></html>\n")
}

// swollenSize is well above what a careful reader takes of one page.
const swollenSize = 2 << 20

// swollen makes a page of swollenSize out of a small one: a weather log, one reading a line, inside its <pre>.
func swollen(page []byte) []byte {
	head, tail, ok := bytes.Cut(page, []byte("</pre>"))
	if !ok {
		head, tail, _ = bytes.Cut(page, []byte("</body>"))
	}
	var b bytes.Buffer
	b.Grow(swollenSize + 128)
	b.Write(head)
	for minute := 0; b.Len() < swollenSize; minute += 10 {
		fmt.Fprintf(&b, "day %05d %02d:%02d  %5.1f C  %3d %%  %6.1f hPa\n", minute/1440, minute/60%24, minute%60,
			float64((minute*7)%310)/10-5, 40+(minute*3)%55, 985+float64((minute*11)%450)/10)
	}
	b.WriteString("</pre>")
	b.Write(tail)
	return b.Bytes()
}

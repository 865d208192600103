package dashboard

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

//go:embed assets/page.html assets/page.css assets/*.js assets/uplot/uPlot.min.css assets/uplot/uPlot.iife.min.js
var assets embed.FS

// page is one HTML file that contains all styles and scripts, with a Content-Security-Policy
// that allows no others.
type page struct {
	body   []byte
	policy string
}

// thePage is made once.
var thePage = makePage()

// makePage puts styles and scripts into the page. The policy names each by its
// hash (Content Security Policy Level 3, section 2.3.1).
func makePage() page {
	p := page{body: asset("page.html")}
	styles := p.inline("style", "uplot/uPlot.min.css", "page.css")
	scripts := p.inline("script", "uplot/uPlot.iife.min.js", "charts.js", "page.js")
	p.policy = strings.Join([]string{
		"default-src 'none'", "connect-src 'self'", "style-src " + styles, "script-src " + scripts,
		"img-src data:", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'", "require-trusted-types-for 'script'",
	}, "; ")
	return p
}

// inline replaces <style> or <script> by elements with these files, and returns
// the sources of the policy.
func (p *page) inline(element string, files ...string) (sources string) {
	var all bytes.Buffer
	var hashes []string
	for _, name := range files {
		text := asset(name)
		fmt.Fprintf(&all, "<%s>%s</%s>\n", element, text, element)
		hash := sha256.Sum256(text)
		hashes = append(hashes, "'sha256-"+base64.StdEncoding.EncodeToString(hash[:])+"'")
	}
	p.body = bytes.Replace(p.body, []byte("<"+element+"></"+element+">\n"), all.Bytes(), 1)
	return strings.Join(hashes, " ")
}

func asset(name string) []byte {
	text, err := assets.ReadFile("assets/" + name)
	if err != nil {
		panic(err) // it is part of this program
	}
	return text
}

func (p page) serve(w http.ResponseWriter, r *http.Request) error {
	header := w.Header()
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Content-Security-Policy", p.policy)
	header.Set("Content-Length", strconv.Itoa(len(p.body)))
	if r.Method == http.MethodHead {
		w.WriteHeader(http.StatusOK)
		return nil
	}
	_, err := w.Write(p.body)
	return err
}

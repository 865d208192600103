package matrix

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/filewallball/caddy-filewallball/cache"
)

// answer is what a client sees.
type answer struct {
	status  int
	body    string
	where   string // Location
	status2 string // Cache-Status
}

func (a answer) String() string {
	return fmt.Sprintf("%d %q %q (%s)", a.status, a.body, a.where, a.status2)
}

// oracle knows which answers are right.
type oracle struct {
	root string
	app  *application

	mu      sync.Mutex
	written map[string]string // by key: what the application has written there itself
}

// body is what a route responds.
func body(question, user, extra, size, forwarded string) string {
	return fmt.Sprintf("question=%s user=%s extra=%s size=%s forwarded=%s", question, user, extra, size, forwarded)
}

// keyOf is the key of a lookup without values of the request in it.
func (s slot) keyOf(p point, id string) string {
	return prefixes[1] + fmt.Sprintf("m%d:", s.number) + cache.KeyIdentity(id, p.hash)
}

// want are the right answers of one side of a slot for an identity, of which a
// node gives one.
func (o *oracle) want(s slot, side int, host, id string) (right []answer) {
	p := s.side[side]
	forwarded := func(question string) string {
		if p.forwards {
			return question
		}
		return "forged"
	}
	missing := answer{status: http.StatusUnauthorized}
	if p.file {
		missing.status = http.StatusNotFound
	}
	failed := answer{status: http.StatusServiceUnavailable}
	if p.site != "{http.request.header.X-Site}" {
		o.mu.Lock()
		word, ok := o.written[s.keyOf(p, id)]
		o.mu.Unlock()
		if ok && p.source != "file_system" {
			right = append(right, answer{status: http.StatusOK, body: body(word, "written", "", "", forwarded(word))})
			if o.app.down.Load() {
				return append(right, failed)
			}
			if s.side[1-side].source != "file_system" {
				return right
			} // else it is replaced by what is true of the file
		}
	}
	switch p.source {
	case "none":
		right = append(right, missing)
		if o.app.down.Load() {
			right = append(right, failed)
		}
		return right
	case "file_system":
		info, err := os.Stat(filepath.Join(o.root, strings.TrimPrefix(id, o.root)))
		if err != nil || !strings.HasPrefix(id, o.root) {
			return []answer{missing}
		}
		return []answer{{status: http.StatusOK, body: body("", "", "", fmt.Sprint(info.Size()), "forged")}}
	}
	question := p.question(host)
	extra := ""
	if p.copies {
		extra = question
	}
	switch verdictOn(question, id) {
	case allowed, allowed2:
		right = append(right, answer{status: http.StatusOK, body: body(question, id, extra, "", forwarded(question))})
	case refused, denied:
		right = append(right, answer{status: http.StatusForbidden})
	case unknown, null:
		right = append(right, missing)
	case empty:
		if right = append(right, missing); p.file {
			right[0] = answer{status: http.StatusOK, body: body("", "", extra, "", "forged")}
		}
	case redirect:
		right = append(right, answer{status: http.StatusFound, where: "/login?question=" + question})
	default:
		right = append(right, failed)
	}
	if o.app.down.Load() {
		right = append(right, failed)
	}
	return right
}

// question is what the source of a point asks.
func (p point) question(host string) string {
	site := p.site
	if site == "{http.request.header.X-Site}" {
		site = host
	}
	return questionOf(p.path, site)
}

// isRight reports whether an answer is one of the right ones.
func isRight(got answer, right []answer) bool {
	for _, a := range right {
		if got.status == a.status && got.where == a.where && (a.status != http.StatusOK || got.body == a.body) {
			return true
		}
	}
	return false
}

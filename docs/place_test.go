// Where an example runs: addresses and folders of the test in place of those
// that the docs name.
package docs_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache/cachetest/ports"
	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
	"github.com/filewallball/caddy-filewallball/handlers/sitetest"
)

// place is where the examples of one block run. The addresses of Redis and of
// the application are empty where nothing is started.
type place struct {
	dir         string
	site, admin string
	redis       *redistest.Server
	application string
}

func newPlace(t *testing.T) place {
	t.Helper()
	p := place{dir: t.TempDir(), site: ports.Addr(t), admin: ports.Addr(t)}
	for _, name := range []string{"/etc/ssl/redis-ca.pem", "/etc/ssl/app-ca.pem"} {
		p.write(t, name, certificate(t))
	}
	for name, content := range map[string]string{
		"/srv/files/report.pdf":         "a report",
		"/srv/files/notes/a.txt":        "notes",
		"/srv/www/index.html":           "<!doctype html>",
		"/srv/uploads/ab/cd/1234.bin":   "a thesis",
		"/srv/www/private/index.html":   "private",
		"/srv/www/private/report.pdf":   "a report",
		"/var/backups/.keep":            "",
		"/var/lib/caddy/.keep":          "",
		"/etc/caddy/Caddyfile":          "",
		"/run/secrets/redis-password":   "s3cret",
		"/run/secrets/session-secret":   "s3cret",
		"/srv/private/whatever/else.gz": "",
	} {
		p.write(t, name, content)
	}
	return p
}

func (p place) write(t *testing.T, name, content string) {
	t.Helper()
	name = filepath.Join(p.dir, name)
	require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o700))
	require.NoError(t, os.WriteFile(name, []byte(content), 0o600))
}

// folders are those that examples name; each is below a folder of the test.
var folders = regexp.MustCompile(`(^|[\s"':]|\{file\.)/(srv|var/lib/caddy|var/backups|etc|run)/`)

// replace puts this place's folders and addresses into a text.
func (p place) replace(text string) string {
	text = folders.ReplaceAllString(text, "${1}"+p.dir+"/$2/")
	if p.redis != nil {
		text = strings.NewReplacer("localhost:6379", p.redis.Addr(), "redis:6379", p.redis.Addr()).Replace(text)
	}
	if p.application != "" {
		for _, address := range []string{"localhost:8000", "127.0.0.1:8000", "localhost:9091"} {
			text = strings.ReplaceAll(text, address, p.application)
		}
	}
	return text
}

var (
	firstWord = regexp.MustCompile(`(?m)^([^\s#]\S*)`)
	siteLine  = regexp.MustCompile(`(?m)^(?:([a-z0-9.-]+\.example\.com|example\.com)|:8080) \{$`)
)

// whole is a complete Caddyfile around what may be a part of one: global
// options, or the directives of a site.
func whole(text string) string {
	word := firstWord.FindString(text)
	switch {
	case word == "filewallball" || word == "filesystem":
		return "{\n" + text + "}\n"
	case word != "" && !strings.ContainsAny(word, "{(.:/"): // no global options, snippet or address
		return "example.com {\n" + text + "}\n"
	}
	return text
}

// adapt makes JSON of a block, whole or not, with the folders and addresses
// of this place.
func (p place) adapt(t *testing.T, text string) []byte {
	t.Helper()
	config, err := sitetest.Adapt(p.replace(whole(text)))
	require.NoError(t, err, "%s", text)
	return config
}

// serving is a Caddyfile that serves the sites of a block at this place,
// without TLS. Where a block has no site, those of example.Caddyfile are
// served.
func (p place) serving(t *testing.T, text string) string {
	t.Helper()
	text = whole(text)
	if !siteLine.MatchString(text) {
		example := p.example(t)
		text += example[siteLine.FindStringIndex(example)[0]:]
	}
	_, port, err := net.SplitHostPort(p.site)
	require.NoError(t, err)
	text = siteLine.ReplaceAllString(p.replace(text), "http://$1:"+port+" {\nbind 127.0.0.1")
	options := "admin " + p.admin + " {\norigins localhost:2019 " + p.admin + "\n}\nlog {\noutput discard\n}\n"
	if rest, ok := strings.CutPrefix(text, "{\n"); ok {
		return "{\n" + options + rest
	}
	return "{\n" + options + "persist_config off\n}\n" + text
}

// example is example.Caddyfile with its files where they are.
func (p place) example(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../example.Caddyfile")
	require.NoError(t, err)
	root, err := filepath.Abs("..")
	require.NoError(t, err)
	example := strings.Replace(string(text), "root ", "root "+root+"/", 1)
	return strings.Replace(example[strings.Index(example, "{\n"):], "\tbind 127.0.0.1\n", "", 1)
}

// certificate is a certificate of an authority, in PEM.
func certificate(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "docs"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

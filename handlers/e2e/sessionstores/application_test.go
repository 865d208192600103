// Applications in processes of their own, and visitors of them.

package sessionstores

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache/cachetest/ports"
	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
	"github.com/filewallball/caddy-filewallball/handlers/sitetest"
)

// software is what an application needs on the machine.
type software struct {
	packages string   // of Debian, for people
	probe    []string // a command that succeeds where they are installed
}

var (
	node    = software{"nodejs npm", []string{"npm", "--version"}}
	django  = software{"python3-django python3-django-redis", []string{debian("python3"), "-c", "import django, django_redis"}}
	flask   = software{"python3-flask python3-flask-session python3-flask-login python3-redis", []string{debian("python3"), "-c", "import flask_session, flask_login, redis"}}
	php     = software{"php-cli php-redis", []string{debian("php"), "-r", "exit(extension_loaded('redis') ? 0 : 1);"}}
	laravel = software{"php-cli php-redis php-illuminate-session php-illuminate-cache php-illuminate-redis php-illuminate-cookie php-illuminate-encryption",
		[]string{debian("php"), "-r", "exit(extension_loaded('redis') && @include 'Illuminate/Encryption/autoload.php' ? 0 : 1);"}}
	rack = software{"ruby ruby-rack ruby-redis-rack ruby-webrick", []string{debian("ruby"), "-e", "require 'rack/session/redis'; require 'webrick'"}}
)

// debian returns the path of Debian's interpreter, which finds Debian's packages, if
// there is one. Others may precede it in PATH.
func debian(name string) string {
	if _, err := os.Stat("/usr/bin/" + name); err == nil {
		return "/usr/bin/" + name
	}
	return name
}

// installed reports whether the software is installed. On Debian, where make test
// installs it, it must be; elsewhere the log says what is not tested.
func (s software) installed(t *testing.T) bool {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), s.probe[0], s.probe[1:]...).CombinedOutput()
	if err == nil {
		return true
	}
	if _, apt := exec.LookPath("apt-get"); apt == nil {
		t.Fatalf("%s: %v\n%splease install: apt-get install %s", s.probe[0], err, out, s.packages)
	}
	t.Logf("not tested here, for want of %s: recorded values of it are tested in handlers/session/stores", s.packages)
	return false
}

// npmInstall installs the packages of testdata/node once per machine and
// version, and returns a directory in which the applications find them.
var npmInstall = sync.OnceValues(func() (string, error) {
	wanted, err := os.ReadFile("testdata/node/package.json")
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	sum := sha256.Sum256(wanted)
	dir := filepath.Join(cache, "filewallball-e2e", "node-"+hex.EncodeToString(sum[:8]))
	done := filepath.Join(dir, "installed")
	if _, err := os.Stat(done); err != nil {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return "", err
		}
		if err := os.WriteFile(filepath.Join(dir, "package.json"), wanted, 0o644); err != nil {
			return "", err
		}
		npm := exec.Command("npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts")
		npm.Dir = dir
		if out, err := npm.CombinedOutput(); err != nil {
			return "", &npmError{out}
		}
		if err := os.WriteFile(done, nil, 0o644); err != nil {
			return "", err
		}
	}
	scripts, err := filepath.Glob("testdata/node/*.mjs")
	if err != nil {
		return "", err
	}
	for _, script := range scripts {
		text, err := os.ReadFile(script)
		if err != nil {
			return "", err
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(script)), text, 0o644); err != nil {
			return "", err
		}
	}
	return dir, nil
})

type npmError struct{ out []byte }

func (e *npmError) Error() string { return "npm install failed:\n" + string(e.out) }

// start runs an application with these variables in its environment, and
// returns its URL when it answers. It ends with the test.
func (a *application) start(t *testing.T, redis *redistest.Server) string {
	t.Helper()
	address := ports.Addr(t)
	_, port, _ := strings.Cut(address, ":")
	args := make([]string, len(a.command))
	for i, arg := range a.command {
		args[i] = strings.ReplaceAll(arg, "ADDRESS", address)
	}
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	if a.needs.packages == node.packages {
		dir, err := npmInstall()
		require.NoError(t, err)
		cmd.Dir = dir
	}
	cmd.Env = append(os.Environ(), "PORT="+port, "REDIS="+redis.Addr(), "SECRETS="+a.secret+",another", "NO_COLOR=1")
	cmd.Env = append(cmd.Env, a.env...)
	base := "http://" + address
	sitetest.StartProgram(t, a.name, cmd, base+"/")
	return base
}

// visitor is a browser with cookies.
type visitor struct {
	t      *testing.T
	base   string
	client http.Client
}

func newVisitor(t *testing.T, base string) *visitor {
	t.Helper()
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	return &visitor{t, base, http.Client{Jar: jar}}
}

// get asks the application for a page.
func (v *visitor) get(path string) string {
	v.t.Helper()
	resp, err := v.client.Get(v.base + path)
	require.NoError(v.t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(v.t, err)
	require.Equal(v.t, http.StatusOK, resp.StatusCode, "%s: %s", path, body)
	return string(body)
}

// cookies are what the browser sends, to the application and to Caddy alike.
func (v *visitor) cookies() string {
	v.t.Helper()
	u, err := url.Parse(v.base)
	require.NoError(v.t, err)
	var pairs []string
	for _, c := range v.client.Jar.Cookies(u) {
		pairs = append(pairs, c.Name+"="+c.Value)
	}
	return strings.Join(pairs, "; ")
}

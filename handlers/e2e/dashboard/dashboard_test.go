package dashboard

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
	"github.com/filewallball/caddy-filewallball/handlers/sitetest"
)

// axe is the source of axe-core, which checks pages for accessibility.
func axe(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	out, err := exec.CommandContext(t.Context(), "npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", dir, "axe-core@4.14.1").CombinedOutput()
	require.NoError(t, err, "npm install axe-core: %s", out)
	source, err := os.ReadFile(filepath.Join(dir, "node_modules", "axe-core", "axe.min.js"))
	require.NoError(t, err)
	return string(source)
}

// options are those of a node over a Redis, with thresholds that a slow machine does not
// reach.
func options(server *redistest.Server) string {
	return `filewallball {
		redis ` + server.Addr() + ` {
			dial_timeout 500ms
		}
		alert {
			latency_above 1m
		}
	}`
}

// site is the site of the docs, with the dashboard behind a password, and routes that it
// shows.
func site(application string) string {
	return `
	basic_auth /ops/* {
		# hunter2
		admin $2a$14$aWZ6NrqG6rhyfUHPzSbNuOQ2GYXJ7oM8iPjbfwS96v0NGPd32vLy2
	}
	lookup_dashboard /ops/* {
		purge
	}
	session_lookup /files/* {cookie.session} {
		source http ` + application + `/whoami
		name files
	}
	respond /files/* "yours"
	`
}

func TestDashboardInABrowser(t *testing.T) {
	application := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"user_id": 7}`))
	}))
	t.Cleanup(application.Close)
	server := redistest.Start(t)
	s := sitetest.Serve(t, options(server), site(application.URL))
	visit(t, s, "a", 200)

	b := newBrowser(t)
	page := "http://admin:hunter2@" + s.Page + "/ops/"
	b.do(dark(false), chromedp.Navigate(page))
	b.await(`document.getElementById("status").dataset.status === "pass"`)

	b.run("shows lookups while they happen", func(t *testing.T) {
		stop := traffic(t, s)
		defer stop()
		b.await(`document.querySelectorAll("#routes tr").length === 1 && document.querySelector("#routes th").textContent === "files"`)
		b.await(`Number(document.querySelector("#routes td:nth-child(3)").textContent.replace(",", "")) > 1`)
		b.await(`Number(document.querySelector("#tiles dd").textContent.replace(",", "")) > 1`)
		b.await(`/hits [0-9.,]*[1-9]/.test(document.querySelector(".plot").getAttribute("aria-label"))`)
		b.await(`/^\d+\.\d %$/.test(document.querySelectorAll("#tiles dd")[1].textContent)`)
	})

	b.run("is usable by everybody", func(t *testing.T) {
		source := axe(t)
		for _, scheme := range []bool{false, true} {
			b.do(dark(scheme))
			// axe runs in an isolated world: the page's policy allows no other scripts
			b.do(chromedp.Evaluate[chromedp.Void](source))
			findings := eval[[]string](b, `axe.run().then(r => r.violations.map(v => v.id + ": " + v.help + " " + v.nodes.map(n => n.html).join(" ")))`)
			require.Empty(t, findings, "dark: %t", scheme)
		}
	})

	b.run("works by keyboard alone", func(t *testing.T) {
		b.do(chromedp.Evaluate[chromedp.Void](`document.querySelector(".plot").focus()`), chromedp.KeyEvent(kb.ArrowLeft))
		require.True(t, eval[bool](b, `document.activeElement.classList.contains("plot") && charts[0].u.cursor.idx !== null`))
		b.do(chromedp.Evaluate[chromedp.Void](`document.querySelector(".legend button").focus()`), chromedp.KeyEvent(" "))
		require.Equal(t, "false", eval[string](b, `document.querySelector(".legend button").getAttribute("aria-pressed")`))
		b.do(chromedp.KeyEvent(" "))
	})

	b.run("is read on a phone", func(t *testing.T) {
		b.do(chromedp.EmulateViewport(390, 844, chromedp.EmulateMobile))
		b.await(`document.documentElement.scrollWidth <= 390`)
		b.await(`charts.every(c => c.u.width <= 390)`)
		require.NotZero(t, b.screenshot("phone"))
		b.do(chromedp.EmulateViewport(1280, 1000))
		b.await(`charts.every(c => c.u.width === c.plot.clientWidth)`)
	})
	require.NotZero(t, b.screenshot("dark"))
	b.do(dark(false))
	require.NotZero(t, b.screenshot("light"))

	b.run("looks a key up and purges it", func(t *testing.T) {
		submit := func(key string) {
			b.do(chromedp.SetValue("#key", key), chromedp.Click("#key-form button[type=submit]"))
		}
		hash := sha256.Sum256([]byte("a")) // as of any session that an application is asked for
		key := "session:user:" + hex.EncodeToString(hash[:])
		submit(key)
		b.await(`document.getElementById("key-value").textContent.includes('"user_id": 7')`)
		b.do(chromedp.Click("#purge"), chromedp.Click("#purge-dialog button[value=no]"))
		require.EqualValues(t, 1, server.Client().Exists(t.Context(), key).Val(), "kept")
		b.do(chromedp.Click("#purge"), chromedp.Click("#purge-dialog button[value=yes]"))
		b.await(`document.getElementById("key-result").textContent.includes("dropped")`)
		require.Zero(t, server.Client().Exists(t.Context(), key).Val())
		require.Empty(t, b.complained(), "until here, nothing is wrong with the page")
		submit(key)
		b.await(`document.getElementById("key-result").textContent.includes("no such key")`)
		submit("fwb:tag:x")
		b.await(`document.getElementById("key-result").textContent.includes("reserved for the plugin")`)
		for _, complaint := range b.complained() { // a browser logs each answer that is no success
			require.Regexp(t, "status of 40[04]", complaint)
		}
	})

	b.run("is red while Redis is gone, and green when it is back", func(t *testing.T) {
		server.Stop()
		b.await(`document.getElementById("status").dataset.status === "fail"`)
		b.await(`document.querySelector("#alerts-list li[data-status=fail]") !== null`)
		require.NotZero(t, b.screenshot("down"))
		server.Restart()
		b.await(`document.getElementById("status").dataset.status === "pass"`)
		b.await(`document.querySelectorAll("#alerts-list li[data-status=fail]").length === 0`)
		require.Empty(t, b.complained())
	})

	b.run("asks for nothing while its tab is hidden, and catches up", func(t *testing.T) {
		hide := func(hidden string) {
			b.do(chromedp.Evaluate[chromedp.Void](`Object.defineProperty(document, "hidden", {configurable: true, value: ` + hidden + `});
				document.dispatchEvent(new Event("visibilitychange"))`))
		}
		hide("true")
		require.True(t, eval[bool](b, `state.stream === null`))
		missed := eval[int](b, `state.times.length`)
		b.await(`Date.now() - state.times.at(-1) > 2.2 * state.interval`)
		require.Equal(t, missed, eval[int](b, `state.times.length`))
		hide("false")
		b.await(`state.times.length >= ` + strconv.Itoa(missed+2))
		require.True(t, eval[bool](b, `state.times.every((at, i) => i === 0 || at > state.times[i - 1])`), "each measurement once")
		require.Empty(t, b.complained())
	})

	b.run("goes on after a reload of the configuration", func(t *testing.T) {
		before := eval[int](b, `state.times.length`)
		s.Load(t, options(server), site(application.URL)+"\n\trespond /new 204")
		b.await(`state.times.length > ` + strconv.Itoa(before) + ` && document.getElementById("status").dataset.status === "pass"`)
		_ = b.complained() // the old stream has ended
	})
}

// visit sends requests of one visitor.
func visit(t *testing.T, s sitetest.Site, session string, times int) {
	t.Helper()
	for range times {
		answer := sitetest.Request(t, http.MethodGet, "http://"+s.Page+"/files/x", "", "Cookie", "session="+session)
		require.Equal(t, http.StatusOK, answer.Status)
	}
}

// traffic sends requests until it is stopped.
func traffic(t *testing.T, s sitetest.Site) (stop func()) {
	t.Helper()
	var ended atomic.Bool
	var visitors errgroup.Group
	for range 2 {
		visitors.Go(func() error {
			for !ended.Load() {
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.Page+"/files/x", nil)
				if err != nil {
					return err
				}
				req.Header.Set("Cookie", "session=a")
				resp, err := http.DefaultClient.Do(req)
				if err != nil {
					return err
				}
				_ = resp.Body.Close()
				time.Sleep(5 * time.Millisecond) // what a visitor does between two requests
			}
			return nil
		})
	}
	return func() {
		ended.Store(true)
		require.NoError(t, visitors.Wait())
	}
}

func TestPageIsBehindThePasswordOfItsSite(t *testing.T) {
	server := redistest.Start(t)
	s := sitetest.Serve(t, options(server), site("http://127.0.0.1:9"))
	answer := sitetest.Request(t, http.MethodGet, "http://"+s.Page+"/ops/", "")
	require.Equal(t, http.StatusUnauthorized, answer.Status, "basic_auth comes first")
	require.False(t, strings.Contains(answer.Body, "FileWallBall"))
}

// The page of docs/recipes.md, in a browser.

package upload

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
)

// newBrowser starts Chromium or Chrome, without a window, for the length of a
// test.
func newBrowser(t *testing.T) context.Context {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("disable-dev-shm-usage", true))
	if os.Getuid() == 0 {
		options = append(options, chromedp.NoSandbox)
	}
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), options...) // t.Context ends before Cleanup
	t.Cleanup(cancel)
	ctx, _ = chromedp.NewContext(ctx)
	require.NoError(t, chromedp.Do(ctx), "starting a browser; install one with `apt-get install chromium` or `brew install google-chrome`")
	t.Cleanup(func() { require.NoError(t, chromedp.Cancel(ctx)) }) // waits until it is gone
	return ctx
}

var htmlBlock = regexp.MustCompile("(?s)```html\n(.*?)```")

// recipePage is the page in docs/recipes.md, as it stands there.
func recipePage(t *testing.T) string {
	t.Helper()
	recipes, err := os.ReadFile("../../../docs/recipes.md")
	require.NoError(t, err)
	blocks := htmlBlock.FindAllSubmatch(recipes, -1)
	require.Len(t, blocks, 1)
	return string(blocks[0][1])
}

func TestPageOfTheRecipeShowsHowFarAnUploadIs(t *testing.T) {
	half, all := make(chan struct{}), make(chan struct{})
	const size = 64 << 20 // many times what sockets buffer
	wait := func(event <-chan struct{}) {
		select {
		case <-event:
		case <-t.Context().Done():
		}
	}
	app := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.CopyN(io.Discard, r.Body, size/2)
		wait(half) // what is not read, the browser cannot send
		_, _ = io.Copy(io.Discard, r.Body)
		wait(all)
	}))
	t.Cleanup(app.Close)
	dir := t.TempDir()
	page := recipePage(t)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "index.html"), []byte(page), 0o600))
	file := filepath.Join(t.TempDir(), "film.mp4")
	require.NoError(t, os.WriteFile(file, make([]byte, size), 0o600))
	server := redistest.Start(t)
	require.NoError(t, server.Client().Set(t.Context(), "session:user:s3cret", `{"user_id": 42}`, time.Hour).Err())
	s := serve(t, redisOption(server), `
	root `+dir+`
	vars session s3cret
	session_lookup {vars.session}
	upload_progress /upload/* {http.session.user_id}:{path.1} {
		owner {http.session.user_id}
	}
	upload_progress_report /progress/* {http.session.user_id}:{path.1} {
		owner {http.session.user_id}
	}
	reverse_proxy /upload/* `+app.Listener.Addr().String()+`
	file_server`)

	browser := newBrowser(t)
	shown := func(ctx context.Context, condition string) {
		t.Helper()
		_, err := chromedp.Run(ctx, chromedp.Poll[bool](condition, chromedp.WithPollingTimeout(20*time.Second)))
		if err != nil {
			state, _ := chromedp.Run(ctx, chromedp.Evaluate[string](`bar.value + " " + text.value`))
			require.NoError(t, err, "%s, but it shows %s", condition, state)
		}
	}
	require.NoError(t, chromedp.Do(browser, chromedp.Navigate("http://"+s.Page), chromedp.SetUploadFiles("#file", []string{file})))
	shown(browser, `bar.value >= 50 && bar.value < 100 && text.value == "uploading"`)
	address, err := chromedp.Run(browser, chromedp.Location())
	require.NoError(t, err)
	require.Contains(t, address, "#")

	// a second window sees the same, and again when it is reloaded
	second, closeSecond := chromedp.NewContext(browser)
	defer closeSecond()
	require.NoError(t, chromedp.Do(second, chromedp.Navigate(address)))
	shown(second, `bar.value >= 50 && text.value == "uploading"`)
	require.NoError(t, chromedp.Do(second, chromedp.Reload()))
	shown(second, `bar.value >= 50 && text.value == "uploading"`)

	close(half)
	for _, window := range []context.Context{browser, second} {
		shown(window, `bar.value == 100 && text.value == "processing"`)
	}
	close(all)
	for _, window := range []context.Context{browser, second} {
		shown(window, `bar.value == 100 && text.value == "done"`)
	}

	// a page that ignores the end of the stream gets 204, after which it does not reconnect
	require.NoError(t, chromedp.Do(second, chromedp.Evaluate[chromedp.Void](
		`seen = 0; careless = new EventSource("/progress/" + location.hash.slice(1)); careless.onmessage = () => seen++`)))
	shown(second, `careless.readyState == EventSource.CLOSED && seen == 1`)
}

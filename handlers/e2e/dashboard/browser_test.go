package dashboard

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// browser is a headless Chromium or Chrome. It records its errors and warnings.
type browser struct {
	t   *testing.T
	ctx context.Context

	mu         sync.Mutex
	complaints []string
}

// newBrowser starts Chromium or Chrome for the length of a test.
func newBrowser(t *testing.T) *browser {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.WindowSize(1280, 1000))
	if os.Getuid() == 0 {
		options = append(options, chromedp.NoSandbox)
	}
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), options...) // t.Context ends before Cleanup
	t.Cleanup(cancel)
	b := &browser{t: t}
	b.ctx, _ = chromedp.NewContext(ctx)
	require.NoError(t, chromedp.Do(b.ctx),
		"starting a browser; install one with `apt-get install chromium` or `brew install google-chrome`")
	t.Cleanup(func() { require.NoError(t, chromedp.Cancel(b.ctx)) }) // waits until it is gone
	b.listen()
	return b
}

// tab opens another tab.
func (b *browser) tab() *browser {
	b.t.Helper()
	other := &browser{t: b.t}
	other.ctx, _ = chromedp.NewContext(b.ctx)
	require.NoError(b.t, chromedp.Do(other.ctx))
	other.listen()
	return other
}

// listen notes what the tab complains of.
func (b *browser) listen() {
	go func() { // ends with the browser
		// the browser's log has violations of the page's Content-Security-Policy
		for m, err := range chromedp.Console(b.ctx) {
			if err == nil && (m.IsException() || m.Type == chromedp.ConsoleError || m.Type == chromedp.ConsoleWarning) {
				b.complain(m.String() + " " + m.URL)
			}
		}
	}()
}

// run runs a subtest.
func (b *browser) run(name string, test func(t *testing.T)) {
	outer := b.t
	defer func() { b.t = outer }()
	outer.Run(name, func(t *testing.T) {
		b.t = t
		test(t)
	})
}

func (b *browser) complain(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.complaints = append(b.complaints, text)
}

// complained returns the errors and warnings since its last call.
func (b *browser) complained() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := b.complaints
	b.complaints = nil
	return all
}

func (b *browser) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	require.NoError(b.t, chromedp.Do(ctx, actions...))
}

// eval is the value of an expression of the page.
func eval[T any](b *browser, expression string) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	require.NoError(b.t, err)
	return value
}

// await waits until an expression of the page is true.
func (b *browser) await(expression string) {
	b.t.Helper()
	is := func() bool { return eval[bool](b, expression) }
	if !assert.Eventually(b.t, is, 30*time.Second, 50*time.Millisecond, expression) {
		b.t.Fatal("the page shows: ", eval[string](b, `document.getElementById("status").textContent + " " + state.times.length + " " +
			document.getElementById("alerts-list").textContent`))
	}
}

// screenshot writes a picture of the whole page, where FILEWALLBALL_SCREENSHOTS
// names a directory, and returns how large it is.
func (b *browser) screenshot(name string) int {
	b.t.Helper()
	picture, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	require.NoError(b.t, err)
	if dir := os.Getenv("FILEWALLBALL_SCREENSHOTS"); dir != "" {
		require.NoError(b.t, os.WriteFile(filepath.Join(dir, name+".png"), picture, 0o600))
	}
	return len(picture)
}

// dark sets the browser's preference to dark pages.
func dark(on bool) chromedp.Action[chromedp.Void] {
	scheme := "light"
	if on {
		scheme = "dark"
	}
	return chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
		})
		return err
	})
}

package dashboard

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
	"github.com/filewallball/caddy-filewallball/handlers/sitetest"
)

// markup would do something if the page took it for HTML.
const markup = `<img src=x onerror="document.title='owned'"><script>document.title='owned'</script>&amp;"'`

// publish writes the figures of a node as any client of Redis can.
func publish(t *testing.T, server *redistest.Server, id, name string) {
	t.Helper()
	figures, err := json.Marshal(map[string]any{
		"node": id, "name": name, "version": markup, "started": time.Now(), "status": "warn", "hit_rate": 1e300, "lookups": 7,
		"values":   map[string]any{"session_hits": 1e300, markup: 1},
		"warnings": []map[string]string{{"check": markup, "status": "warn", "output": strings.Repeat(markup, 20), "help": "javascript:document.title='owned'"}},
		"routes":   []map[string]any{{"name": markup + strings.Repeat("w", 200), "family": "session", "rate": 3, "total": 9}},
		"sources":  []map[string]any{{"name": markup, "rate": 3}},
	})
	require.NoError(t, err)
	require.NoError(t, server.Client().Set(t.Context(), "fwb:node:"+id, figures, time.Hour).Err())
	require.NoError(t, server.Client().Set(t.Context(), "fwb:nodes", `{"nodes":["`+id+`"]}`, time.Hour).Err())
}

func TestDashboardShowsHostileNamesAsTextOnTheSmallestScreen(t *testing.T) {
	server := redistest.Start(t)
	publish(t, server, "0123456789abcdef", markup+strings.Repeat("n", 300))
	var routes strings.Builder
	for i := range 150 { // more than are shown
		fmt.Fprintf(&routes, "session_lookup /door/%d {cookie.session} {\nname `%03d %s\u202e%s`\nkey door%d:{id}\n}\n",
			i, i, markup, strings.Repeat("long", 30), i)
	}
	s := sitetest.Serve(t, options(server), site("http://127.0.0.1:9")+routes.String())
	for i := range 150 {
		sitetest.Request(t, http.MethodGet, fmt.Sprintf("http://%s/door/%d", s.Page, i), "", "Cookie", "session="+markup)
	}
	b := newBrowser(t)
	b.do(dark(false), chromedp.Navigate("http://admin:hunter2@"+s.Page+"/ops/"))
	b.await(`document.querySelectorAll("#routes tr").length === 100 && document.querySelectorAll("#nodes tr").length === 2`)
	b.do(chromedp.EmulateViewport(320, 640, chromedp.EmulateMobile))
	source := axe(t)
	for _, node := range []string{"all", "0123456789abcdef"} {
		b.do(chromedp.Evaluate[chromedp.Void](`$("node").value = "` + node + `"; $("node").dispatchEvent(new Event("change"))`))
		b.await(`state.latest !== null && document.querySelector("#alerts-list li") !== null`)
		b.await(`charts.every(c => c.u.width <= 320)`)
		require.Empty(t, eval[[]string](b, `document.documentElement.scrollWidth <= 320 ? [] :
			[...document.querySelectorAll("body *")].filter(e => e.getBoundingClientRect().right > 320 && !e.closest(".scroll")).map(e => e.outerHTML.slice(0, 200))`), "beside the screen")
		require.Zero(t, eval[int](b, `document.querySelectorAll("main img, #main script, header img").length`))
		require.Zero(t, eval[int](b, `[...document.links].filter(a => !/^(https:\/\/github.com\/|http:\/\/[^\/]*\/ops\/#)/.test(a.href)).length`))
		b.do(chromedp.Evaluate[chromedp.Void](source))
		require.Empty(t, eval[[]string](b, `axe.run().then(r => r.violations.map(v => v.id + ": " + v.help + " " + v.nodes.map(n => n.html).join(" ")))`), node)
		require.NotZero(t, b.screenshot("hostile-"+node))
	}
	require.NotContains(t, eval[string](b, `document.title`), "owned")
	require.Empty(t, b.complained())
}

func TestDashboardInTwoTabs(t *testing.T) {
	server := redistest.Start(t)
	publish(t, server, "0123456789abcdef", "other")
	s := sitetest.Serve(t, options(server), site("http://127.0.0.1:9"))
	one := newBrowser(t)
	two := one.tab()
	page := "http://admin:hunter2@" + s.Page + "/ops/"
	for _, b := range []*browser{one, two} {
		b.do(chromedp.Navigate(page))
		b.await(`document.querySelectorAll("#nodes tr").length === 2`)
	}
	// each has a selection of its own
	two.do(chromedp.Evaluate[chromedp.Void](`$("node").value = "0123456789abcdef"; $("node").dispatchEvent(new Event("change"))`))
	two.await(`state.latest !== null && state.latest.name === "other"`)
	require.Equal(t, "all", eval[string](one, `$("node").value`))
	// both get each measurement
	for _, b := range []*browser{one, two} {
		before := eval[int](b, `state.times.length`)
		b.await(`state.times.length > ` + strconv.Itoa(before))
	}
	// the token is that of both
	for i, b := range []*browser{one, two, one} {
		key := fmt.Sprint("session:user:", i)
		require.NoError(t, server.Client().Set(t.Context(), key, `{"user_id": 7}`, time.Hour).Err())
		b.do(chromedp.Evaluate[chromedp.Void](`$("key").value = "` + key + `"; $("key-form").requestSubmit()`))
		b.await(`$("key-value").textContent.includes('"user_id": 7')`)
		b.do(chromedp.Evaluate[chromedp.Void](`$("purge").click(); $("purge-dialog").close("yes")`))
		b.await(`$("key-result").textContent.includes("dropped")`)
	}
	require.Empty(t, one.complained())
	require.Empty(t, two.complained())
}

package openapi

import (
	"bufio"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
	"github.com/filewallball/caddy-filewallball/handlers/admin"
	"github.com/filewallball/caddy-filewallball/handlers/sitetest"
)

// call is a request to an endpoint, and the status that it must have.
type call struct {
	method, endpoint string // as in the description
	status           int
	path, body       string // path is what is asked, if it is not the endpoint
}

// calls of a running cache, in this order.
func callsWhileRedisRuns(root string) []call {
	tooLarge := strings.Repeat(" ", 1<<20) + "{}"
	named := func(method string, status int, path, body string) call {
		return call{method, "/keys/{key}", status, "/keys/" + path, body}
	}
	return []call{
		{"GET", "/stats", 200, "", ""},
		{"HEAD", "/stats", 200, "", ""},
		{"GET", "/health", 200, "", ""},
		{"HEAD", "/health", 200, "", ""},
		{"GET", "/health/live", 200, "", ""},
		{"HEAD", "/health/live", 200, "", ""},
		{"GET", "/info", 200, "", ""},
		{"HEAD", "/info", 200, "", ""},

		named("PUT", 204, "file:meta:a", `{"name": "a"}`),
		named("PUT", 204, "file:meta:b%2f%2fb?ttl=1h30m", `null`),
		named("PUT", 400, "foreign", `{}`),
		named("PUT", 400, "file:meta:a", `[]`),
		named("PUT", 413, "file:meta:a", tooLarge),
		named("GET", 200, "file:meta:a", ""),
		named("GET", 200, "file:meta:b%2f%2fb", ""),
		named("HEAD", 200, "file:meta:a", ""),
		named("GET", 404, "file:meta:none", ""),
		named("HEAD", 404, "file:meta:none", ""),
		named("GET", 400, "fwb:own", ""),
		named("HEAD", 400, "fwb:own", ""),
		named("GET", 422, "a:list", ""),
		named("HEAD", 422, "a:list", ""),
		{"GET", "/keys", 200, "/keys?prefix=file:&limit=1", ""},
		{"HEAD", "/keys", 200, "", ""},
		{"GET", "/keys", 400, "/keys?limit=0", ""},
		{"GET", "/keys", 400, "/keys?unknown=1", ""},
		{"HEAD", "/keys", 400, "/keys?cursor=x", ""},

		{"POST", "/set", 204, "", `{"key": "session:user:a", "value": {"user_id": 1}, "ttl": "1h"}`},
		{"POST", "/set", 400, "", `{"key": "session:user:a"}`},
		{"POST", "/set", 413, "", tooLarge},
		{"POST", "/get", 200, "", `{"key": "session:user:a"}`},
		{"POST", "/get", 200, "", `{"route": "plain", "id": "a"}`},
		{"POST", "/get", 400, "", `{}`},
		{"POST", "/get", 404, "", `{"key": "session:user:none"}`},
		{"POST", "/get", 404, "", `{"route": "none", "id": "a"}`},
		{"POST", "/get", 413, "", tooLarge},
		{"POST", "/get", 422, "", `{"key": "a:list"}`},
		{"POST", "/delete", 204, "", `{"key": "session:user:a"}`},
		{"POST", "/delete", 204, "", `{"route": "plain", "id": "a"}`},
		{"POST", "/delete", 400, "", `{"key": "a", "ttl": "1h"}`},
		{"POST", "/delete", 404, "", `{"route": "none", "id": "a"}`},
		{"POST", "/delete", 413, "", tooLarge},
		named("DELETE", 204, "file:meta:b%2f%2fb", ""),
		named("DELETE", 400, "fwb:own", ""),

		{"GET", "/backup", 200, "", ""},
		{"GET", "/backup", 200, "/backup?prefix=file:&tags=true", ""},
		{"GET", "/backup", 400, "/backup?tags=perhaps", ""},
		{"POST", "/restore", 200, "/restore?overwrite=true", `{"key": "file:meta:a", "ttl_ms": 60000, "value": {}}` + "\n" + `{"key": "file:meta:c", "ttl_ms": -1, "value_text": "{}\n"}`},
		{"POST", "/restore", 400, "/restore?overwrite=perhaps", ""},
		{"POST", "/warm", 200, "", fmt.Sprintf(`{"route": "files", "root": %q}`, root)},
		{"POST", "/warm", 200, "", fmt.Sprintf(`{"route": "files", "root": %q, "ids": ["/a.txt", "/none", ""], "concurrency": 2, "rate": 1000}`, root)},
		{"POST", "/warm", 400, "", `{"route": "files", "concurrency": 65}`},
		{"POST", "/warm", 404, "", `{"route": "none"}`},
		{"POST", "/warm", 413, "", strings.Repeat(" ", 64<<20) + "{}"},
		{"POST", "/bench", 200, "", ""},
		{"POST", "/bench", 200, "", `{"count": 20, "size": 100, "batch": 10, "concurrency": 2}`},
		{"POST", "/bench", 400, "", `{"count": 0}`},
		{"POST", "/bench", 413, "", tooLarge},
		{"POST", "/purge", 200, "", `{"keys": ["file:meta:a"]}`},
		{"POST", "/purge", 200, "", `{"prefix": "file:"}`},
		{"POST", "/purge", 200, "", `{"tag": "user:1"}`},
		{"POST", "/purge", 400, "", `{"prefix": ""}`},
		{"POST", "/purge", 413, "", tooLarge},
	}
}

// callsThatNeedTheStore fail without the store. stats and health do not.
func callsThatNeedTheStore() []call {
	return []call{
		{"GET", "/info", 503, "", ""},
		{"HEAD", "/info", 503, "", ""},
		{"GET", "/keys", 503, "", ""},
		{"HEAD", "/keys", 503, "", ""},
		{"GET", "/keys/{key}", 503, "/keys/file:meta:a", ""},
		{"HEAD", "/keys/{key}", 503, "/keys/file:meta:a", ""},
		{"PUT", "/keys/{key}", 503, "/keys/file:meta:a", "{}"},
		{"DELETE", "/keys/{key}", 503, "/keys/file:meta:a", ""},
		{"POST", "/get", 503, "", `{"key": "file:meta:a"}`},
		{"POST", "/set", 503, "", `{"key": "file:meta:a", "value": {}}`},
		{"POST", "/delete", 503, "", `{"key": "file:meta:a"}`},
		{"POST", "/purge", 503, "", `{"tag": "user:1"}`},
		{"POST", "/warm", 503, "", `{"route": "files", "root": "/"}`},
		{"GET", "/backup", 503, "", ""},
		{"POST", "/restore", 503, "", ""},
		{"POST", "/bench", 503, "", ""},
		{"GET", "/health", 503, "", ""},
		{"HEAD", "/health", 503, "", ""},
	}
}

func TestEndpointsAnswerAsTheDescriptionSays(t *testing.T) {
	d := load(t)
	server := redistest.Start(t)
	root := sitetest.Files(t, map[string]string{"a.txt": "a"})
	s := sitetest.Serve(t, "filewallball {\nredis "+server.Addr()+"\nmax_value_size 64KiB\n}", `
		session_lookup {header.X-Token} {
			name plain
			on_anonymous continue
		}
		root `+root+`
		file_metadata {
			name files
			source file_system
		}
		upload_progress {header.X-Upload}
		file_server`)
	require.NoError(t, server.Client().RPush(t.Context(), "a:list", "x").Err())
	require.Equal(t, http.StatusOK, s.Get(t, "/a.txt").Status)
	require.Equal(t, http.StatusUnauthorized, s.Get(t, "/a.txt", "X-Token", "none").Status)
	c := checker{t, d, s, make(map[string]bool)}

	for _, one := range callsWhileRedisRuns(root) {
		c.check(one)
	}
	c.restoreCutShort()
	server.Kill()
	for _, one := range callsThatNeedTheStore() {
		c.check(one)
	}
	c.check(call{"GET", "/stats", 200, "", ""})
	c.check(call{"GET", "/health/live", 200, "", ""})
	s.Load(t, "", "respond hi")
	for _, one := range append(callsThatNeedTheStore(), call{"GET", "/stats", 503, "", ""}, call{"HEAD", "/stats", 503, "", ""}) {
		c.check(one)
	}
	c.check(call{"GET", "/health/live", 200, "", ""})
	require.ElementsMatch(t, d.answers(), slices.Collect(maps.Keys(c.seen)), "every answer in the description was seen, and no other one")
}

// checker calls endpoints and compares the answers with the description.
type checker struct {
	t    *testing.T
	d    description
	site sitetest.Site
	seen map[string]bool
}

func (c *checker) check(one call) {
	c.t.Helper()
	if one.path == "" {
		one.path = one.endpoint
	}
	a := c.site.API(c.t, one.method, strings.TrimPrefix(one.path, "/"), one.body)
	what := one.method + " " + one.path
	require.Equal(c.t, one.status, a.Status, "%s: %s", what, a.Body)
	if a.Status < 300 {
		require.NoError(c.t, c.d.validateRequest(one), what)
	}
	require.NoError(c.t, c.d.validateResponse(one.method, one.endpoint, a), "%s: %.2000s", what, a.Body)
	c.seen[answer(one.method, one.endpoint, strconv.Itoa(a.Status))] = true
}

// restoreCutShort sends a body whose chunked encoding ends too early.
func (c *checker) restoreCutShort() {
	conn, err := net.DialTimeout("tcp", c.site.Admin, 10*time.Second)
	require.NoError(c.t, err)
	defer conn.Close()
	const line = `{"key": "file:meta:a", "ttl_ms": 60000, "value": {}}` + "\n"
	_, err = fmt.Fprintf(conn, "POST /filewallball/restore HTTP/1.1\r\nHost: %s\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\nno chunk\r\n",
		c.site.Admin, len(line), line)
	require.NoError(c.t, err)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(c.t, err)
	a := readAnswer(c.t, resp)
	require.Equal(c.t, http.StatusBadRequest, a.Status)
	require.Contains(c.t, a.Body, `"line":2`)
	require.NoError(c.t, c.d.validateResponse("POST", "/restore", a))
}

// The endpoints and methods that the plugin registers are those of the description.
func TestEveryEndpointIsInTheDescription(t *testing.T) {
	d := load(t)
	s := sitetest.Serve(t, "filewallball", "respond hi")
	registered := make(map[string][]string)
	for _, route := range (admin.API{}).Routes() {
		path := strings.TrimPrefix(route.Pattern, "/filewallball")
		switch path {
		case "/": // all that is none
			continue
		case "/keys/":
			path = "/keys/{key}"
		}
		a := s.API(t, "BREW", strings.TrimPrefix(strings.ReplaceAll(path, "{key}", "a"), "/"), "")
		require.Equal(t, http.StatusMethodNotAllowed, a.Status, path)
		require.NoError(t, d.validateError(a.Body), path)
		registered[path] = strings.Split(a.Header.Get("Allow"), ", ")
	}
	described := make(map[string][]string)
	for path, item := range d.doc.Paths.Map() {
		described[path] = slices.Sorted(maps.Keys(item.Operations()))
	}
	require.Equal(t, registered, described)
	a := s.API(t, http.MethodGet, "nothing", "")
	require.Equal(t, http.StatusNotFound, a.Status)
	require.NoError(t, d.validateError(a.Body))
}

func TestTheDescriptionIsValid(t *testing.T) {
	d := load(t)
	require.Equal(t, "3.1.0", d.doc.OpenAPI)
	require.NoError(t, d.doc.Validate(t.Context(), openapi3.EnableExamplesValidation()))
}

// The description must not accept just any answer.
func TestTheDescriptionRefusesOtherAnswers(t *testing.T) {
	d := load(t)
	const counts = `"total_requests":0,"hits":0,"misses":0,"absent":0,"denied":0,"stale":0,"errors":0,"hit_rate":0`
	for schema, texts := range map[string][2]string{ // a right one and a wrong one
		"Error":        {`{"error":"x"}`, `{"error":""}`},
		"Pending":      {`{"error":"x","purged":0,"pending":1}`, `{"error":"x","purged":-1,"pending":1}`},
		"Count":        {`1`, `1.5`},
		"RecordValue":  {`null`, `[]`},
		"Record":       {`{"key":"a","ttl_seconds":-1,"value":null}`, `{"key":"a","ttl_seconds":-2,"value":null}`},
		"RecordName":   {`{"key":"a"}`, `{"key":"a","route":"b","id":"c"}`},
		"Counts":       {`{` + counts + `}`, `{"hits":0}`},
		"SourceCounts": {`{"requests":0,"errors":0,"coalesced":0}`, `{"requests":0,"errors":0,"coalesced":0,"more":0}`},
		"Health":       {`{"status":"pass"}`, `{"status":"good"}`},
		"Duration":     {`"1h30m"`, `"soon"`},
		"BackupLine":   {`{"key":"a","ttl_ms":1,"value":{}}`, `{"key":"a","ttl_ms":1,"value":1}`},
	} {
		require.NoError(t, d.validate(schema, texts[0]), schema)
		require.Error(t, d.validate(schema, texts[1]), schema)
	}
	routes := d.doc.Components.Schemas["Stats"].Value.Properties["routes"].Value
	require.NoError(t, visit(routes, `{"a":{"family":"session",`+counts+`}}`))
	require.Error(t, visit(routes, `{"a":{"family":"session","more":1,`+counts+`}}`), "a field that only an unevaluated property rules out")
	pool := d.doc.Components.Schemas["Stats"].Value.Properties["pool"].Value
	require.NoError(t, visit(pool, `null`))
	require.Error(t, visit(pool, `{}`))
}

package sitetest_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
	"github.com/filewallball/caddy-filewallball/handlers/sitetest"
)

// python runs a script with Debian's Redis client for Python.
func python(t *testing.T, script string) string {
	t.Helper()
	if exec.Command("/usr/bin/python3", "-c", "import redis").Run() != nil {
		t.Skip("python3-redis is not installed: apt-get install python3-redis")
	}
	out, err := exec.CommandContext(t.Context(), "/usr/bin/python3", "-c", script).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return strings.TrimSpace(string(bytes.TrimSpace(out)))
}

func TestPythonClientSharesRecords(t *testing.T) {
	server := redistest.Start(t)
	s := sitetest.Serve(t, "filewallball {\nredis "+server.Addr()+"\n}",
		"session_lookup {header.X-Token}\nrespond \"{http.session.user_id} {http.session.permissions}\"")
	host, port, err := net.SplitHostPort(server.Addr())
	require.NoError(t, err)
	connect := fmt.Sprintf("import json, redis\nr = redis.Redis(host=%q, port=%s)\n", host, port)

	python(t, connect+`r.set("session:user:123", json.dumps({"user_id": 123, "permissions": ["read", "write"], "name": "김"}), ex=86400)`)
	a := s.Get(t, "/", "X-Token", "123")
	require.Equal(t, `123 ["read", "write"]`, a.Body)
	require.Regexp(t, `ttl=8(6400|639\d);`, a.Header.Get("Cache-Status"))

	require.Equal(t, http.StatusNoContent, s.API(t, http.MethodPut, "keys/file:meta:test-123?ttl=1h", `{"name": "document.pdf", "size": 1024000}`).Status)
	require.Equal(t, "document.pdf 1024000 True",
		python(t, connect+`m = json.loads(r.get("file:meta:test-123")); print(m["name"], m["size"], 3590 < r.ttl("file:meta:test-123") <= 3600)`))
}

func TestRedisCLISharesRecords(t *testing.T) {
	server := redistest.Start(t)
	s := sitetest.Serve(t, "filewallball {\nredis "+server.Addr()+"\n}", "session_lookup {header.X-Token}\nrespond ok")
	_, port, err := net.SplitHostPort(server.Addr())
	require.NoError(t, err)
	cli := func(args ...string) string {
		out, err := exec.CommandContext(context.Background(), "redis-cli", append([]string{"-p", port}, args...)...).CombinedOutput()
		require.NoError(t, err, "%s", out)
		return strings.TrimSpace(string(out))
	}
	cli("SET", "session:user:x", `{"user_id": 1}`, "EX", "60")
	require.Equal(t, http.StatusOK, s.Get(t, "/", "X-Token", "x").Status)
	require.Equal(t, http.StatusNoContent, s.API(t, http.MethodPut, "keys/session:user:y?ttl=1h", `{"user_id":2}`).Status)
	require.Equal(t, `{"user_id":2}`, cli("GET", "session:user:y"))
	require.Regexp(t, `^3(600|59\d)$`, cli("TTL", "session:user:y"))
}

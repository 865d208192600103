package command_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
	"github.com/filewallball/caddy-filewallball/handlers/sitetest"
)

func TestCommandFindsRecordsByTheIdentityOfALookup(t *testing.T) {
	server := redistest.Start(t)
	app := sitetest.NewApplication(t)
	root := sitetest.Files(t, map[string]string{"a.txt": "a"})
	s := serve(t, "filewallball {\nredis "+server.Addr()+"\nkey_prefix app:\n}", `
		session_lookup /door {header.X-Token} {
			name door
			source http `+app.URL+`
		}
		session_lookup /plain {header.X-Token} {
			name plain
			key plain:{id}
		}
		session_lookup /parts {header.X-Tenant} {header.X-Token} {
			name parts
			key parts:{id.1}:{id.2}
		}
		session_lookup /varies {header.X-Token} {
			name varies
			key varies:{http.request.host}:{id}
		}
		root `+root+`
		file_metadata {
			name files
			source file_system
		}
		file_server`)
	require.Equal(t, http.StatusNotFound, s.Get(t, "/door", "X-Token", "ada1").Status)
	keys := lines(s.good(t, "keys", "--prefix", "app:session:"))
	require.Len(t, keys, 1)
	require.NotContains(t, keys[0], "ada1", "the key holds a hash")
	require.Equal(t, http.StatusOK, s.Get(t, "/a.txt").Status)
	s.good(t, "set", "app:plain:ada1", "--ttl", "1h", `{"user_id": "plain"}`)
	require.NoError(t, server.Client().Set(t.Context(), "app:parts:a%3Ab:c", `{"n": 1}`, time.Hour).Err())

	for _, c := range []struct {
		identity, route, want string
		more                  []string
	}{
		{identity: "ada1", route: "door", want: "user_id"},
		{identity: "ada1", route: "plain", want: `{"user_id": "plain"}`},
		{identity: "a%3Ab:c", route: "parts", want: `{"n": 1}`},
		{identity: "/a.txt", route: "files", want: `"size"`, more: []string{"--root", root}},
	} {
		named := append([]string{"--hash", c.identity, "--route", c.route}, c.more...)
		r := s.command(t, append([]string{"get"}, named...)...)
		require.Zero(t, r.status, r.err)
		require.Contains(t, r.out, c.want)
		require.Contains(t, r.err, "expires in")
		piped := append([]string{"get", "--hash", "-", "--route", c.route}, c.more...)
		require.Equal(t, r.out, s.commandReading(t, c.identity+"\n", piped...).out)
		require.Equal(t, "dropped the record of this identity in "+c.route+"\n", s.good(t, append([]string{"delete"}, named...)...))
		r = s.command(t, append([]string{"get"}, named...)...)
		require.Equal(t, ran{1, "", "Error: the record of this identity in " + c.route + ": there is no such key\n"}, r)
	}
	require.Equal(t, []string{"app:file:meta:" + root + "/door"}, lines(s.good(t, "keys")), "every other one was dropped")

	for args, want := range map[[4]string]string{
		{"--hash", "secret", "--route", "nowhere"}: "there is no such route: want one of door, files, parts, plain, varies",
		{"--hash", "secret", "--route", "varies"}:  "want the whole key",
		{"--hash", "secret", "--route", "parts"}:   "identity does not have 2 parts",
		{"--hash", "/secret", "--route", "files"}:  "root",
		{"--hash", "se\acret", "--route", "plain"}: "control character",
	} {
		for _, command := range []string{"get", "delete"} {
			r := s.command(t, append([]string{command}, args[:]...)...)
			require.Equal(t, 1, r.status)
			require.Contains(t, r.err, want)
			require.NotContains(t, r.err, "secret", "an identity is a credential")
		}
	}
}

func TestCommandSortsRoutesByNameAndNumber(t *testing.T) {
	directives := strings.Repeat("\n", 85) // so that a line before 100 and one after it are among them
	for i := range 11 {
		directives += fmt.Sprintf("session_lookup /%d/* {header.X-Token}\n", i)
	}
	s := serve(t, "filewallball", directives+"respond hi")
	require.Equal(t, http.StatusUnauthorized, s.Get(t, "/0/", "X-Token", "a").Status)
	var routes []string
	for i := range 11 {
		routes = append(routes, fmt.Sprintf("session_lookup@%s:%d", s.Page, 96+i))
	}
	var shown []string
	for _, line := range lines(s.good(t, "stats")) {
		for _, route := range routes {
			if len(line) > len(route) && line[:len(route)+1] == route+" " {
				shown = append(shown, route)
			}
		}
	}
	require.Equal(t, routes, shown)
	r := execute(t, "", "__complete", "filewallball", "--address", s.Admin, "get", "--hash", "a", "--route", "")
	require.Zero(t, r.status, r.err)
	completed := lines(r.out)
	for i, route := range routes {
		require.Equal(t, route+" session", completed[i])
	}
	r = s.command(t, "warm", "none")
	require.Contains(t, r.err, routes[2]+", "+routes[3]+", "+routes[4])
}

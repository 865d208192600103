package session

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/handlers/lookup/lookuptest"
)

func TestHeadersFromARecord(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		value string // JSON
		want  string // empty: no header
	}{
		"string":                    {`"Ada Lovelace"`, "Ada Lovelace"},
		"not ASCII":                 {`"\uae40"`, "김"},
		"number":                    {`7`, "7"},
		"large number":              {`12345678901234567890`, "12345678901234567890"},
		"boolean":                   {`false`, "false"},
		"null":                      {`null`, ""},
		"empty":                     {`""`, ""},
		"array":                     {`["a", "b c", 7, true]`, "a,b c,7,true"},
		"empty array":               {`[]`, ""},
		"array of one":              {`["a"]`, "a"},
		"array with a comma inside": {`["a,admin"]`, ""},
		"array in an array":         {`[ "a", ["b"] ]`, `["a",["b"]]`},
		"null in an array":          {`["a", null]`, `["a",null]`},
		"object":                    {"{\n  \"a\": [1, 2]\n}", `{"a":[1,2]}`},
		"line break":                {`"a\r\nX-Admin: 1"`, ""},
		"line break in an array":    {`["a\nb"]`, ""},
		"line break in an object":   {`{"a": "b\nc"}`, `{"a":"b\nc"}`},
		"zero":                      {`"a\u0000"`, ""},
		"delete":                    {`"a\u007f"`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			record, err := cache.Decode(`{"deep": {"value": `+c.value+`}}`, cache.DefaultMaxValueSize)
			require.NoError(t, err)
			require.Equal(t, c.want, headerValue(record.Field("deep.value")))
			require.Empty(t, headerValue(record.Field("deep.other")))
		})
	}
}

func TestHeaderNames(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		given HeaderCopy
		want  string
	}{
		{HeaderCopy{Field: "user_id"}, "User-Id"},
		{HeaderCopy{Field: "headers.Remote-User"}, "Remote-User"},
		{HeaderCopy{Field: "user.full_name"}, "Full-Name"},
		{HeaderCopy{Field: "user_id", Header: "x-user-id"}, "X-User-Id"},
		{HeaderCopy{Field: "user_id", Header: "X_User"}, "X_user"},
	} {
		got, err := resolveCopies([]HeaderCopy{c.given})
		require.NoError(t, err)
		require.Equal(t, c.want, got[0].Header)
	}
	for name, c := range map[string]struct {
		given []HeaderCopy
		want  string
	}{
		"no name of a header":    {[]HeaderCopy{{Field: "user name"}}, "'user name' is not the name of a header: want user name>Header-Name"},
		"line break":             {[]HeaderCopy{{Field: "a", Header: "X-A\r\nX-B"}}, "is not the name of a header"},
		"host":                   {[]HeaderCopy{{Field: "host"}}, "Host belongs to the message"},
		"the same":               {[]HeaderCopy{{Field: "a", Header: "X-A"}, {Field: "b", Header: "x-a"}}, "X-A and X-A are the same header"},
		"the same for some apps": {[]HeaderCopy{{Field: "a", Header: "X-A"}, {Field: "b", Header: "X_A"}}, "X-A and X_a are the same header"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := resolveCopies(c.given)
			require.ErrorContains(t, err, c.want)
		})
	}
}

// Whatever the outcome, what comes next sees no header of the client.
func TestClientCannotSendCopiedHeaders(t *testing.T) {
	t.Parallel()
	const config = cookieID + `, "copy_headers": [{"field": "user_id", "header": "X-User-Id"}, {"field": "roles"}],
		"on_missing": {"continue": true}, "on_denied": {"continue": true}, "on_error": {"continue": true}`
	for name, c := range map[string]struct {
		cookie string
		want   http.Header
	}{
		"valid":           {"valid", http.Header{"X-User-Id": {"7"}, "Roles": {"a,b"}}},
		"without a field": {"fieldless", http.Header{"Roles": {"a"}}},
		"absent":          {"unknown", http.Header{}},
		"denied":          {"denied", http.Header{}},
		"no identity":     {"", http.Header{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			app, h := session(t, config)
			app.Put(t, "session:user:valid", `{"user_id": 7, "roles": ["a", "b"]}`)
			app.Put(t, "session:user:fieldless", `{"user_id": null, "roles": ["a"]}`)
			app.Put(t, "session:user:denied", `{"denied": true, "user_id": 7}`)
			r := lookuptest.Get("/")
			for _, forged := range []string{"X-User-Id", "X_User_Id", "x-user_id", "X_USER_ID", "X.User.Id", "x user-id", "Roles", "ROLES", "roles"} {
				r.Header[forged] = []string{"forged", "twice"}
			}
			r.Header["X-User-Idx"] = []string{"another"}
			if c.cookie != "" {
				r.Header.Set("Cookie", "session="+c.cookie)
			}
			got := lookuptest.Serve(h, r)
			require.True(t, got.Next)
			got.Request.Header.Del("Cookie")
			want := c.want.Clone()
			want.Set("X-User-Idx", "another")
			require.Equal(t, want, got.Request.Header)
		})
	}
}

func TestRefusedRequestsLoseCopiedHeadersToo(t *testing.T) {
	t.Parallel()
	_, h := session(t, `"id": "{http.request.header.X-Id}", "copy_headers": [{"field": "user_id"}]`)
	for id, status := range map[string]int{"": 401, "unknown": 401, "a\nb": 400} {
		r := lookuptest.Get("/", "User-Id", "1")
		r.Header["X-Id"] = []string{id}
		got := lookuptest.Serve(h, r)
		require.Equal(t, status, got.Status)
		require.Empty(t, r.Header.Values("User-Id"), "handle_errors sees it")
	}
}

// A proxy drops what the Connection field names.
func TestClientCannotHaveCopiedHeadersDropped(t *testing.T) {
	t.Parallel()
	app, h := session(t, cookieID+`, "copy_headers": [{"field": "user_id"}]`)
	app.Put(t, "session:user:abc", `{"user_id": 7}`)
	for given, want := range map[string][]string{
		"close":                          {"close"},
		"user-id":                        nil,
		"Upgrade, USER_ID,keep-alive":    {"Upgrade, keep-alive"},
		" , close ,, User-Id , User-Id ": {"close"},
	} {
		got := lookuptest.Serve(h, lookuptest.Get("/", "Cookie", "session=abc", "Connection", given))
		require.Equal(t, want, got.Request.Header.Values("Connection"), given)
		require.Equal(t, "7", got.Request.Header.Get("User-Id"))
	}
}

// An opaque token goes in, and what it stands for comes out in its place.
func TestIdentityMayBeInACopiedHeader(t *testing.T) {
	t.Parallel()
	app, h := session(t, `"id": "{http.request.header.Authorization}", "key": "r:{http.request.header.X-Realm}:{id}",
		"copy_headers": [{"field": "jwt", "header": "Authorization"}, {"field": "realm", "header": "X-Realm"}]`)
	app.Put(t, "r:home:Bearer opaque", `{"jwt": "Bearer e30.e30.e30"}`)
	got := lookuptest.Serve(h, lookuptest.Get("/", "Authorization", "Bearer opaque", "X-Realm", "home"))
	require.Equal(t, http.StatusOK, got.Status)
	require.Equal(t, http.Header{"Authorization": {"Bearer e30.e30.e30"}}, got.Request.Header)
}

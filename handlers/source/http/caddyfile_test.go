package httpsource

import (
	"encoding/json"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/stretchr/testify/require"
)

func TestCaddyfileOfHTTP(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ input, want string }{
		"URL alone": {`http https://app/{id}`, `{"url": "https://app/{id}"}`},
		"everything": {`http https://app/{id} {
			method POST
			header Authorization "Bearer {env.TOKEN}"
			header x-id {id}
			header X-Id second
			timeout 1s
			copy_headers X-User X-Roles
			max_concurrent 16
			max_body 64KiB
			tls_ca a.pem b.pem
		}`, `{
			"url": "https://app/{id}", "method": "POST",
			"headers": {"Authorization": ["Bearer {env.TOKEN}"], "X-Id": ["{id}", "second"]},
			"timeout": 1000000000, "copy_headers": ["X-User", "X-Roles"], "max_concurrent": 16, "max_body": 65536,
			"tls_ca": ["a.pem", "b.pem"]
		}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var h Source
			require.NoError(t, h.UnmarshalCaddyfile(caddyfile.NewTestDispenser(test.input)))
			got, err := json.Marshal(h)
			require.NoError(t, err)
			require.JSONEq(t, test.want, string(got))
		})
	}
}

func TestCaddyfileErrorsOfHTTP(t *testing.T) {
	t.Parallel()
	block := func(lines string) string { return "http http://app/{id} {\n" + lines + "\n}" }
	for name, test := range map[string]struct{ input, want string }{
		"no URL":               {`http`, "takes the URL to ask"},
		"two URLs":             {`http http://a http://b`, "takes one URL, but has 'http://b' after it"},
		"unknown":              {block("retries 3"), "unknown option 'retries': source http takes method, header"},
		"no method":            {block("method"), "method takes one argument, not 0"},
		"wrong method":         {block("method delete"), "method 'delete' is not right: want GET, HEAD or POST"},
		"method twice":         {block("method GET\nmethod HEAD"), "method is given twice"},
		"header no value":      {block("header X-Id"), "header takes a name and a value, not 1"},
		"header unquoted":      {block("header Authorization Bearer {id}"), "put quotes around a value"},
		"wrong timeout":        {block("timeout soon"), "timeout: 'soon' is not a duration"},
		"timeout twice":        {block("timeout 1s\ntimeout 2s"), "timeout is given twice"},
		"wrong max_body":       {block("max_body big"), "max_body: 'big' is not a size"},
		"no max_concurrent":    {block("max_concurrent"), "max_concurrent takes one argument"},
		"wrong max_concurrent": {block("max_concurrent 0"), "max_concurrent"},
		"max_concurrent twice": {block("max_concurrent 1\nmax_concurrent 2"), "max_concurrent is given twice"},
		"no copy_headers":      {block("copy_headers"), "copy_headers takes at least one argument"},
		"copy_headers two":     {block("copy_headers A\ncopy_headers B"), "copy_headers is given twice"},
		"no tls_ca":            {block("tls_ca"), "tls_ca takes at least one argument"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := new(Source).UnmarshalCaddyfile(caddyfile.NewTestDispenser(test.input))
			require.ErrorContains(t, err, test.want)
			require.ErrorContains(t, err, "Testfile:")
		})
	}
}

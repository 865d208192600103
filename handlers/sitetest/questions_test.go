// Lookups whose keys can be equal ask the same, or do not load.

package sitetest_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Each option that can change a record is compared, and no other one: once for
// keys that are known when the Caddyfile is read, and once for those that are
// known when the configuration is loaded.
func TestEachOptionThatChangesARecordIsComparedWhereKeysAreShared(t *testing.T) {
	t.Setenv("SHARED", "s")
	const (
		none     = "session_lookup /LOOKUP/* {cookie.s} {\nkey KEY\nMORE\n}"
		http     = "session_lookup /LOOKUP/* {cookie.s} {\nkey KEY\nsource http http://localhost:9/session {\nheader X-Of-Both yes\nMORE\n}\n}"
		outside  = "session_lookup /LOOKUP/* {cookie.s} {\nkey KEY\nsource http http://localhost:9/session {\nheader X-Of-Both yes\n}\nMORE\n}"
		file     = "file_metadata /LOOKUP/* {path.1} {\nkey KEY\nMORE\n}"
		redis    = "{\nfilewallball {\nredis localhost:9\n}\n}\n"
		sources  = "they have different sources"
		oneHas   = "only one of them has a source"
		oneHash  = "only one of them hashes identities"
		parts    = "different numbers of parts"
		families = "they find records of different kinds"
		formats  = "they read values in different formats"
	)
	for _, c := range []struct {
		name, first, second string // two lookups
		line                string // that only the second has
		global              string
		want                string // "": both load
	}{
		{"equal lookups", http, http, "", "", ""},
		{"header", http, http, "header X-Site b", "", sources},
		{"value of a header", strings.Replace(http, "yes", "no", 1), http, "", "", sources},
		{"method", http, http, "method POST", "", sources},
		{"copy_headers of the source", http, http, "copy_headers X-User", "", sources},
		{"max_body", http, http, "max_body 1KiB", "", sources},
		{"a value of the request", http, http, "header X-Uri {uri}", "", sources},
		{"path of the URL", http, strings.Replace(http, "/session", "/other", 1), "", "", sources},
		{"host of the URL", http, strings.Replace(http, "localhost", "127.0.0.1", 1), "", "", sources},
		{"scheme of the URL", http, strings.Replace(http, "http://", "https://", 1), "", "", sources},
		{"cookie that is sent", http, strings.Replace(http, "cookie.s}", "cookie.t}", 1), "", "", sources},
		{"a source", none, http, "", "", oneHas},
		{"hash_id", none, none, "hash_id", "", oneHash},
		{"hash_id beside a source", outside, outside, "hash_id off", "", oneHash},
		{"parts", none, strings.Replace(none, "{cookie.s}", "{cookie.s} {cookie.t}", 1), "", "", parts},
		{"family", none, file, "", "", families},
		{"format", none, "session_lookup /LOOKUP/* {\nfrom django {\nkey KEY\n}\n}", "", redis, formats},
		{"another format", "session_lookup /LOOKUP/* {\nfrom php {\nkey KEY\n}\n}", "session_lookup /LOOKUP/* {\nfrom django {\nkey KEY\n}\n}", "", redis, formats},

		{"method, the default", http, http, "method GET", "", ""},
		{"max_body, the default", http, http, "max_body 1MiB", "", ""},
		{"cache_control, the default", http, http, "cache_control respect", "", ""},
		{"hash_id, the default", outside, outside, "hash_id on", "", ""},
		{"copy_headers in another order", strings.Replace(http, "MORE", "copy_headers A B", 1), strings.Replace(http, "MORE", "copy_headers B A", 1), "", "", ""},
		{"name of a header", strings.Replace(http, "X-Of-Both", "x-of-both", 1), http, "", "", ""},
		{"value of the system", strings.Replace(http, "yes", "{system.os}", 1), strings.Replace(http, "yes", runtime.GOOS, 1), "", "", ""},
		{"another value of the system", strings.Replace(http, "yes", "{system.os}", 1), strings.Replace(http, "yes", "{system.arch}", 1), "", "", sources},
		{"key with a value of the system", strings.Replace(http, "KEY", "{system.os}:KEY", 1), strings.Replace(http, "KEY", runtime.GOOS+":KEY", 1), "", "", ""},
		{"timeout", http, http, "timeout 1s", "", ""},
		{"max_concurrent", http, http, "max_concurrent 3", "", ""},
		{"cache_control", http, http, "cache_control ignore", "", ""},
		{"ttl", outside, outside, "ttl 1m", "", ""},
		{"require", outside, outside, "require role admin", "", ""},
		{"copy_headers of the lookup", outside, outside, "copy_headers user_id", "", ""},
		{"on_missing", outside, outside, "on_missing continue", "", ""},
		{"tag", outside, outside, "tag user:{id}", "", ""},
		{"expires", none, none, "expires until seconds", "", ""},
		{"another cookie, without a source", none, strings.Replace(none, "cookie.s}", "cookie.t}", 1), "", "", ""},
	} {
		for when, key := range map[string]string{"read": "s:{id}", "loaded": "{env.SHARED}:{id}"} {
			t.Run(c.name+", known when "+when, func(t *testing.T) {
				lookup := func(text, path, line string) string {
					return strings.NewReplacer("LOOKUP", path, "KEY", key, "MORE", line).Replace(text)
				}
				first, second := lookup(c.first, "first", ""), lookup(c.second, "second", c.line)
				for _, site := range []string{first + "\n" + second, second + "\n" + first} {
					err := mistakeOf(t, c.global+inSite(site))
					if c.want == "" {
						require.NoError(t, err)
						continue
					}
					require.ErrorContains(t, err, "can look up the same key, but ")
					require.ErrorContains(t, err, c.want)
					require.ErrorContains(t, err, "give one of them keys of its own, like: key ")
				}
			})
		}
	}
}

// Lookups with {source} in their keys share them where they ask the same.
func TestTheSourceInAKeyKeepsQuestionsApart(t *testing.T) {
	t.Setenv("SHARED", "s")
	const lookup = "session_lookup /PLACE/* {cookie.s} {\nkey KEY\nsource http http://localhost:9/session {\nMORE\n}\n}\n"
	for _, key := range []string{"s:{source}:{id}", "{env.SHARED}:{source}:{id}"} {
		site := ""
		for i, line := range []string{"", "method POST", "header X-Site b", "method GET"} {
			site += strings.NewReplacer("PLACE", fmt.Sprint(i), "KEY", key, "MORE", line).Replace(lookup)
		}
		require.NoError(t, mistakeOf(t, inSite(site)))
		none := "session_lookup {cookie.s} {\nkey s:{id}\n}"
		require.ErrorContains(t, mistakeOf(t, inSite(site+none)), "only one of them has a source", "it may have any text there")
	}
}

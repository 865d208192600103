// Configurations that cannot be right are errors when they are loaded.

package sitetest_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/stretchr/testify/require"
)

// loadError is the error of a Caddyfile in a file of its own, nil if it loads.
func mistakeOf(t *testing.T, text string) error {
	t.Helper()
	file := filepath.Join(t.TempDir(), "Caddyfile")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": file})
	if err != nil {
		return err
	}
	var config caddy.Config
	require.NoError(t, json.Unmarshal(adapted, &config))
	no := false
	config.Admin = &caddy.AdminConfig{Disabled: true, Config: &caddy.ConfigSettings{Persist: &no}}
	return caddy.Validate(&config)
}

func inSite(lines string) string { return "http://localhost:9 {\n" + lines + "\n}\n" }

func inSession(line string) string {
	return inSite("session_lookup {cookie.s} {\n" + line + "\n}")
}

func inAuth(line string) string {
	return inSite("cached_forward_auth localhost:9 {\nuri /verify\n" + line + "\n}")
}

func TestConfigurationsThatCannotBeRightAreRefused(t *testing.T) {
	t.Setenv("FILLED", "x")
	t.Setenv("LINES", "a\n#b")
	t.Setenv("EMPTY", "")
	global := func(line string) string {
		return "{\nfilewallball {\n" + line + "\n}\n}\n" + inSite("session_lookup {cookie.s}")
	}
	from := func(lines string) string {
		return "{\nfilewallball {\nredis localhost:9\n}\n}\n" + inSite("session_lookup {\nfrom express {\n"+lines+"\n}\n}")
	}
	redis := func(line string) string { return global("redis localhost:9 {\n" + line + "\n}") }
	for _, c := range []struct{ text, want string }{
		// what is empty
		{global("redis {$NOT_SET}"), "environment variable NOT_SET is not set"},
		{global("key_prefix \"{$NOT_SET}\""), "key_prefix has an argument that is empty"},
		{global("key_prefix {env.NOT_SET}"), "key_prefix: {env.NOT_SET} is empty"},
		{global("key_prefix fwb:"), "for the plugin's own keys"},
		{redis("password {env.NOT_SET}"), "redis password: {env.NOT_SET} is empty"},
		{redis("password \"\""), "password has an argument that is empty"},
		{redis("password \"{$NOT_SET}\""), "password: the environment variable NOT_SET is not set"},
		{redis("username {env.NOT_SET}"), "redis username: {env.NOT_SET} is empty"},
		{redis("master_name {env.NOT_SET}"), "redis master_name: {env.NOT_SET} is empty"},
		{redis("sentinel_password {env.NOT_SET}"), "redis sentinel_password: {env.NOT_SET} is empty"},
		{redis("tls {\ncert {env.NOT_SET} {env.NOT_SET}\n}"), "redis cert: {env.NOT_SET} is empty"},
		{redis("tls {\nserver_name {env.NOT_SET}\n}"), "redis server_name: {env.NOT_SET} is empty"},
		{redis("tls {\nca {env.NOT_SET}\n}"), "redis ca: {env.NOT_SET} is empty"},
		{global("redis {\nurl {env.NOT_SET}\n}"), "redis url: {env.NOT_SET} is empty"},
		{global("redis {\nurl redis://\n}"), "it has no host"},
		{global("redis {\nurl redis://user:{env.NOT_SET}@localhost\n}"), "its password is empty"},
		{inSession("require role {$NOT_SET}"), "environment variable NOT_SET is not set"},
		{inSession("copy_headers {\nuser_id\n{$NOT_SET}\n}"), "copy_headers: the environment variable NOT_SET is not set"},
		{inAuth("copy_headers {\nA\nB{$NOT_SET}\n}"), "environment variable NOT_SET is not set"},
		{inAuth("@e {\nstatus 401\nheader A {$NOT_SET}\n}\nhandle_response @e {\nrespond no 403\n}"), "header: the environment variable NOT_SET is not set"},
		{inAuth("@e {\nstatus 401\n{$EMPTY}\n}\nhandle_response @e {\nrespond no 403\n}"), "@e: the environment variable EMPTY is set but empty"},
		{inSession("require role \"{$NOT_SET}\""), "require has an argument that is empty"},
		{"# {$LINES}\n" + inSession("require role {$NOT_SET}"), "environment variable NOT_SET is not set"},
		{"(auth) {\nsession_lookup {cookie.s} {\nrequire role {args[:]}\n}\n}\n" + inSite("import auth"), "an argument of the import is missing"},
		{inSession("key \"\""), "key has an argument that is empty"},
		{inSession("source http http://localhost/ {\nheader Authorization {$NOT_SET}\n}"), "environment variable NOT_SET is not set"},
		{inSession("source http http://localhost/ {\nheader Authorization \"Bearer {$NOT_SET}\"\n}"), "environment variable NOT_SET is not set"},
		{inSession("source http http://localhost/ {\nheader Authorization \"Bearer {env.NOT_SET}\"\n}"), "{env.NOT_SET} is empty"},
		{inSession("on_missing redirect {env.NOT_SET}"), "{env.NOT_SET} is empty"},
		{inSession("on_anonymous redirect /login{env.NOT_SET}"), "{env.NOT_SET} is empty"},
		{inSite("session_lookup {$NOT_SET} {cookie.s} {\n}"), "environment variable NOT_SET is not set"},
		{inSite("cached_forward_auth {$NOT_SET}localhost {\nuri /verify\n}"), "environment variable NOT_SET is not set"},
		{inSite("lookup_invalidate \"\""), "has an argument that is empty"},
		{inSite("lookup_invalidate a {\ntag {$NOT_SET}\n}"), "environment variable NOT_SET is not set"},
		{inSite("lookup_invalidate session:user:{env.NOT_SET}"), "{env.NOT_SET} is empty"},
		{inSite("upload_progress {path.1} {\nowner {env.NOT_SET}\n}"), "owner '{env.NOT_SET}'"},
		{inSite("file_metadata {path} {\nrewrite /{env.NOT_SET}{http.file_metadata.path}\n}\nfile_server"), "{env.NOT_SET} is empty"},
		{inSite("file_metadata {path} {\nrewrite /{http.request.cokie.s}\n}\nfile_server"), "does not exist"},
		{inSite("file_metadata {\nsource file_system {\nhide {env.NOT_SET}\n}\n}\nfile_server"), "hide '{env.NOT_SET}'"},
		{inSite("file_metadata {\nsource file_system {\nroot {env.NOT_SET}\n}\n}\nfile_server"), "root '{env.NOT_SET}'"},
		{inSite("file_metadata {\nsource file_system {\nroot \"\"\n}\n}\nfile_server"), "root has an argument that is empty"},
		{inSite("file_metadata {\nsource file_system {\nhide .git \"\"\n}\n}\nfile_server"), "hide has an argument that is empty"},
		{"{\nfilesystem a lookup_cache {\nttl \"\"\n}\n}\n" + inSite("file_server"), "ttl has an argument that is empty"},
		{inSite("file_metadata {\nsource file_system {\nfs {env.NOT_SET}\n}\n}\nfile_server"), "fs '{env.NOT_SET}'"},

		// a $ before a placeholder
		{inSite("session_lookup ${cookie.s}"), "write {http.request.cookie.s}"},
		{inSite("session_lookup a${cookie.s}"), "write {http.request.cookie.s}"},
		{inSite("session_lookup {cookie.s}${header.X}"), "write {http.request.header.X}"},
		{inSite("session_lookup ${SESSION}"), "write {$SESSION}"},
		{inSession("key s:${id}"), "write {id}"},
		{inSession("key ${PREFIX}:{id}"), "write {$PREFIX}"},
		{inSession("source http http://localhost/${id}"), "write {id}"},
		{inSession("source http http://${HOST}/{id}"), "write {$HOST}"},
		{inSession("source http http://localhost/ {\nheader Authorization \"Bearer ${env.FILLED}\"\n}"), "write {env.FILLED}"},
		{inSession("source http http://localhost/ {\nheader X-A ${cookie.x}\n}"), "write {http.request.cookie.x}"},
		{inSession("source http http://localhost/ {\ntls_ca ${env.FILLED}\n}"), "write {env.FILLED}"},
		{inSession("source http http://localhost/\ntag u:${http.session.user_id}"), "write {http.session.user_id}"},
		{inSession("require role ${env.FILLED}"), "write {env.FILLED}"},
		{inSession("require role ${ROLE}"), "write {$ROLE}"},
		{inSession("on_missing redirect /login?next=${uri}"), "write {http.request.uri}"},
		{inSession("on_anonymous redirect ${env.FILLED}"), "write {env.FILLED}"},
		{inAuth("header_up X-A ${host}"), "write {http.request.host}"},
		{inSite("cached_forward_auth localhost:9 {\nuri /verify?u=${uri}\n}"), "write {http.request.uri}"},
		{from("secret ${env.FILLED}"), "write {env.NAME}"},
		{from("secret x\ncookie ${env.FILLED}"), "write {env.FILLED}"},
		{from("secret x\nkey s:${id}"), "write {id}"},
		{inSite("file_metadata ${path}"), "write {http.request.uri.path}"},
		{inSite("file_metadata {path} {\nrewrite /${http.file_metadata.path}\n}\nfile_server"), "write {http.file_metadata.path}"},
		{inSite("file_metadata {\nsource file_system {\nroot ${DIR}\n}\n}\nfile_server"), "write {$DIR}"},
		{inSite("file_metadata {\nsource file_system {\nhide /${vars.x}\n}\n}\nfile_server"), "write {http.vars.x}"},
		{inSite("file_metadata {\nsource file_system {\nfs ${env.FILLED}\n}\n}\nfile_server"), "write {env.FILLED}"},
		{inSite("lookup_invalidate session:user:${cookie.s}"), "write {http.request.cookie.s}"},
		{inSite("lookup_invalidate ${session}"), "write {session}"},
		{inSite("lookup_invalidate {\ntag u:${http.session.user_id}\n}"), "write {http.session.user_id}"},
		{inSite("upload_progress ${path.1}"), "write {http.request.uri.path.1}"},
		{inSite("upload_progress_report ${path.1}"), "write {http.request.uri.path.1}"},
		{inSite("upload_progress {path.1} {\nowner ${http.session.user_id}\n}"), "write {http.session.user_id}"},
		{global("key_prefix ${env.FILLED}:"), "write {env.FILLED}"},
		{global("key_prefix ${APP}:"), "write {$APP}"},
		{global("redis ${env.FILLED}:6379"), "write {env.FILLED}"},
		{redis("password ${env.FILLED}"), "write {env.FILLED}"},
		{redis("password ${REDIS_PASSWORD}"), "write {$REDIS_PASSWORD}"},
		{global("memory {\npersist ${env.FILLED}\n}"), "write {env.FILLED}"},

		// file systems
		{inSite("file_metadata {\nsource file_system {\nfs nope\n}\n}\nfile_server"), "no filesystem option defines"},
		{inSite("file_metadata {\nsource file_system {\nfs {env.FILLED}\n}\n}\nfile_server"), "no filesystem option defines"},
		{"{\nfilesystem files lookup_cache\n}\n" + inSite("file_metadata {\nsource file_system {\nfs file\n}\n}\nfile_server"), "want files, or no fs"},

		// identities
		{inSite("session_lookup {env.FILLED}"), "the same for every client"},
		{inSite("session_lookup {env.NOT_SET} {cookie.s}"), "the same for every client"},
		{inSite("session_lookup {env.NOT_SET}{cookie.s}"), "{env.NOT_SET} is empty"},
		{inSite("session_lookup {system.hostname}"), "the same for every client"},
		{inSite("session_lookup {time.now.year}"), "the same for every client"},
		{inSite("session_lookup {method}"), "the same for every client"},
		{inSite("session_lookup {http.request.uuid}"), "the same for every client"},
		{inSite("session_lookup \"{http.request.cookie.a b}\""), "cannot be the name of a cookie"},
		{inSite("session_lookup {http.request.cookie.a=b}"), "cannot be the name of a cookie"},
		{inSite("session_lookup {header.Host}"), "write {http.request.host}"},
		{inSite("session_lookup \"{http.request.header.A B}\""), "cannot be the name of a header"},
		{inSite("session_lookup {http.request.header.X-*}"), "cannot be the name of a header"},
		{inSite("session_lookup {header.Transfer-Encoding}"), "always empty"},
		{inSite("session_lookup {http.request.uri.path.foo}"), "is not a number"},
		{inSite("session_lookup {labels.x}"), "is not a number"},
		{inSite("session_lookup {{cookie.s}}"), "is no placeholder of Caddy"},
		{inSite("session_lookup {>Cookie}"), "is no placeholder of Caddy"},
		{inSite("session_lookup {~session}"), "is no placeholder of Caddy"},
		{inSite("session_lookup \"{ cookie.s }\""), "is no placeholder of Caddy"},
		{inSite("session_lookup {%cookie.s%}"), "is no placeholder of Caddy"},
		{inSite("session_lookup {vars.}"), "no name behind its last dot"},
		{inSite("session_lookup {re.}"), "no name behind its last dot"},
		{inSite("session_lookup {cookie.a=b}"), "cannot be the name of a cookie"},
		{inSite("session_lookup {header.*}"), "cannot be the name of a header"},
		{inSite("session_lookup {http.request.tls.client.foo}"), "does not exist"},
		{inSite("session_lookup {http.request.tls.client.san.emails.x}"), "does not exist"},
		{inSite("session_lookup {http.request.tls.client.fingerprint.0}"), "does not exist"},
		{inSite("session_lookup {http.request.matcher.x}"), "does not exist"},

		// fields and values
		{inSession("require {http.session.role} admin"), "write role"},
		{inSession("require http.session.role admin"), "write role"},
		{inSession("require roles[0] admin"), "write roles.0"},
		{inSession("require _source"), "reserved"},
		{inSession("require !banned"), "not the path of a field"},
		{inSession("require role=admin"), "not the path of a field"},
		{inSession("require role: admin"), "not the path of a field"},
		{inSession("require role != guest"), "comparisons are not possible"},
		{inSession("require role == admin"), "comparisons are not possible"},
		{inSession("require level >= 3"), "comparisons are not possible"},
		{inSession("require level >=3"), "comparisons are not possible"},
		{inSession("require role not guest"), "'not' reads as an operator"},
		{inSession("require user except guest"), "'except' reads as an operator"},
		{inSession("require role without guest"), "'without' reads as an operator"},
		{inSession("require role <> guest"), "comparisons are not possible"},
		{inSession("require role is not guest"), "'is' reads as an operator"},
		{inSession("require role IS admin"), "'IS' reads as an operator"},
		{inSession("require role isn't guest"), "'isn't' reads as an operator"},
		{inSession("require role not-in guest banned"), "'not-in' reads as an operator"},
		{inSession("require role NOT_EQUAL guest"), "'NOT_EQUAL' reads as an operator"},
		{inSession("require role in admin editor"), "'in' reads as an operator"},
		{inSession("require role admin and editor"), "'and' reads as an operator"},
		{inSession("require role admin && editor"), "'&&' reads as an operator"},
		{inSession("require role admin , editor"), "',' reads as an operator"},
		{inSession("require role admin or editor"), "'or' reads as an operator"},
		{inSession("require role all admin editor"), "'all' reads as an operator"},
		{inSession("require level greater than 3"), "'greater' reads as an operator"},
		{inSession("require level ≥ 3"), "'≥' reads as an operator"},
		{inSession("require level ~ 3"), "'~' reads as an operator"},
		{inSession("require role other than guest"), "'than' reads as an operator"},
		{inSession("require role admin unless banned"), "'unless' reads as an operator"},
		{inSession("require role \"admin\" not \"guest\""), "write \"not\" in quotes"},
		{inSession("require not role guest"), "'not' reads as an operator, and not as a field"},
		{inSession("require without banned"), "'without' reads as an operator, and not as a field"},
		{inSession("require role admin, editor"), "ends in a comma"},
		{inSession("expires {http.session.exp}"), "write exp"},
		{inSession("copy_headers {http.session.user_id}>X-User"), "write user_id"},
		{inSession("copy_headers a=>B"), "write a>B"},
		{inSession("copy_headers X-*"), "not the name of a header"},
		{inSession("copy_headers _source>X-A"), "reserved"},
		{inSession("source http http://localhost/ {\ncopy_headers X-*\n}"), "not the name of a header"},
		{inSession("source http http://localhost/\ntag s:{http.session.id}"), "want {id} for the identity"},
		{inSession("source http http://localhost/\ntag s:{http.session.outcome}"), "not a field of the record"},
		{inSession("source http http://localhost/\ntag s:{http.session._source}"), "not a field of the record"},

		{inSession("source http http://localhost:99999/{id}"), "its port is not a number from 1 to 65535"},
		{inSite("cached_forward_auth localhost:0 {\nuri /verify\n}"), "its port is not a number from 1 to 65535"},
		{inSession("on_missing redirect https://{query.next}/"), "a link to this site could lead anywhere"},
		{inSession("on_anonymous redirect //{path.0}"), "a link to this site could lead anywhere"},
		{inSession("on_missing redirect https://example.{query.tld}:8443/a"), "a link to this site could lead anywhere"},
		{inSession("key s:{source}:{id}"), "has {source}, and there is no source"},

		// cached_forward_auth
		{inAuth("headers X-Forwarded-Uri"), "X-Forwarded-Uri is always sent"},
		{inAuth("headers x_forwarded_for"), "X-Forwarded-For is always sent"},
		{inAuth("headers Authorization X-Forwarded-Host"), "X-Forwarded-Host is always sent"},
		{inAuth("headers Remote-User\ncopy_headers Remote-User"), "one of copy_headers"},
		{inAuth("headers Remote_User\ncopy_headers X>Remote-User"), "one of copy_headers"},
		{inAuth("header_up X-A {header.Remote-User}\ncopy_headers Remote-User"), "one of copy_headers"},
		{inAuth("header_up X-A \"a {header.remote_user}\"\ncopy_headers X>Remote-User"), "one of copy_headers"},
		{inSite("cached_forward_auth localhost:9 {\nuri /verify?u={header.Remote-User}\ncopy_headers Remote-User\n}"), "one of copy_headers"},
		{inSession("copy_headers user_id>X-User\nsource http http://localhost/{id} {\nheader X-A {header.X-User}\n}"), "one of copy_headers"},
		{inAuth("headers X-User\ncopy_headers X-User"), "could take a client's value for one of this server"},
		{inAuth("headers Authorization\nheader_up X-A {header.Authorization}\ncopy_headers Authorization"), "one of copy_headers"},
		{inAuth("handle_response {\ncopy_response\n}"), "handle_response cannot copy_response here"},
		{inAuth("handle_response {\nhandle /a {\ncopy_response_headers {\ninclude X\n}\n}\n}"), "handle_response cannot copy_response_headers here"},
		{"(pass) {\ncopy_response\n}\n" + inAuth("handle_response {\nimport pass\n}"), "handle_response cannot copy_response here"},
		{inAuth("handle_response {\nreverse_proxy localhost:9 {\nhandle_response {\ncopy_response\n}\n}\ncopy_response\n}"), "handle_response cannot copy_response here"},
		{inAuth("headers *"), "is not a name"},
		{inAuth("headers X-*"), "is not a name"},
		{inAuth("cookies _oauth2_proxy*"), "is not a name"},
		{inAuth("copy_headers Remote-*"), "not the name of a header"},
		{inAuth("ignore_in_key X-Forwarded-Uri"), "write uri"},
		{inAuth("ignore_in_key URI"), "write uri"},
		{inSite("cached_forward_auth localhost:9 {\nuri http://localhost:9/verify\n}"), "write the path alone"},

		// records of others
		{"{\nfilewallball {\nkey_prefix app:\n}\n}\n" + inSite("session_lookup {cookie.s} {\nkey {id}\n}\nfile_metadata {path}\nfile_server"), "records of different kinds"},
		{"{\nfilewallball {\nkey_prefix app:\n}\n}\n" + inSite("session_lookup {cookie.s} {\nkey {id}\n}\nupload_progress {path}"), "records of different kinds"},
		{inSite("session_lookup {cookie.s} {\nkey temp:{id}\n}\nupload_progress {path}"), "records of different kinds"},

		{inSite("session_lookup /a {client_ip}\nsession_lookup /b {cookie.s}"), "verified by the server"},
		{inSite("session_lookup /a {cookie.s}\nsession_lookup /b {tls_client_subject}"), "verified by the server"},
		{inSite("session_lookup /a {cookie.s}\nsession_lookup /b {cookie.s} {\nkey session:user:guest:{id}\n}"), "could be used as one of the other"},
		{inSite("session_lookup /a {cookie.s}\nsession_lookup /b {cookie.s} {\nkey session:user:{host}:{id}\nrequire role admin\n}"), "could be used as one of the other"},

		// what is to be dropped
		{inSite("lookup_invalidate session:user:{cookie.a.b}"), "write {http.request.cookie.a.b}"},
		{inSite("lookup_invalidate session:user:{http.request.cokie.s}"), "does not exist"},
		{inSite("lookup_invalidate session:user:{id}"), "want {session}"},
		{inSite("lookup_invalidate a{session}"), "{session} is a whole key"},
		{inSite("lookup_invalidate {path.1}"), "no text before the placeholder"},
		{inSite("lookup_invalidate fwb:tag:x"), "for the plugin's own keys"},
		{inSite("lookup_invalidate {\ntag s:{http.session.id}\n}"), "want the key {session}"},
		{inSite("lookup_invalidate {\ntag s:{id}\n}"), "want the key {session}"},
		{inSite("lookup_invalidate {\ntag s:{http.request.cokie.x}\n}"), "does not exist"},

		// owners of uploads
		{inSite("upload_progress {path.1} {\nowner user_id\n}"), "the same for every client"},
		{inSite("upload_progress_report {path.1} {\nowner user_id\n}"), "the same for every client"},
		{inSite("upload_progress {path.1} {\nowner {cookie.a.b}\n}"), "write {http.request.cookie.a.b}"},
		{inSite("upload_progress_report {path.1} {\nowner {http.request.cokie.x}\n}"), "does not exist"},
	} {
		t.Run(strings.ReplaceAll(c.text, "\n", " "), func(t *testing.T) {
			require.ErrorContains(t, mistakeOf(t, c.text), c.want)
		})
	}
}

func TestConfigurationsThatOnlyResembleTheseMistakesLoad(t *testing.T) {
	t.Setenv("FILLED", "x")
	for i, text := range []string{
		inSession("require role {$NOT_SET:admin}"),
		inSession("require role {$FILLED}"),
		inSession("require role admin # not {$NOT_SET} or {args[:]}"),
		inSession("key {$NOT_SET:}s:{id}"),
		inSession("require a.b.0 not"),
		inSession("require role \"not\" admin `in` \"&\""),
		inSession("require direction \"in\" out"),
		inSession("require role admin not"),
		inSession("require plan island order notary all"),
		inSession("require not-before"),
		inSession("require \"not\" a"),
		inSession("require score -1 -2 +3 1.5 *"),
		inSession("require password $2y$10"),
		inSession("key a$b:{id}"),
		inSession("key s{env.FILLED}{id}"),
		inSession(`on_missing redirect /login$\{x\}`),
		"{\nfilesystem files lookup_cache\n}\n" + inSite("file_metadata {\nsource file_system {\nfs files\n}\n}\nfile_server"),
		"{\nfilesystem x lookup_cache\n}\n" + inSite("file_metadata {\nsource file_system {\nfs {env.FILLED}\n}\n}\nfile_server"),
		inSite("file_metadata {\nsource file_system {\nfs default\n}\n}\nfile_server"),
		inSite("file_metadata {\nsource file_system {\nfs {vars.anything}\n}\n}\nfile_server"),
		inSite("fs {host}\nfile_metadata {\nsource file_system\n}\nfile_server"),
		inSession("require permissions *"),
		inSession("require https://example.com/claims"),
		inSite("session_lookup x{cookie.s}"),
		inSite("session_lookup {host} {cookie.s}"),
		inSite("session_lookup {env.FILLED}{cookie.s}"),
		inSite("session_lookup {vars.x}"),
		inSite("session_lookup {re.1}"),
		inSite("session_lookup {http.request.tls.client.fingerprint} {http.request.tls.client.san.emails} {http.request.tls.client.san.ips.1}"),
		inSite("session_lookup {tls_client_subject}"),
		inSite("lookup_invalidate {session} session:user:{cookie.s} file:meta:all {\ntag all user:{http.session.user_id}\n}"),
		inSite("upload_progress {http.session.user_id}:{path.1} {\nowner {http.session.user_id}\n}"),
		inSite("session_lookup /a {cookie.s}\nsession_lookup /b {header.X-Session}\nsession_lookup /c {vars.x}"),
		inSite("session_lookup /a {cookie.s} {\nrequire role admin\n}\nsession_lookup /b {cookie.s} {\nkey session:user:guest:{id}\n}"),
		inSite("session_lookup /a {cookie.s}\nsession_lookup /b {client_ip} {\nkey address:{id}\n}"),
		inAuth("headers Authorization\ncopy_headers Authorization"),
		inAuth("headers Cookie authorization\ncopy_headers {\nX-Token>Authorization\n}"),
		inAuth("handle_response {\nreverse_proxy localhost:9 {\nhandle_response {\ncopy_response_headers {\ninclude X\n}\ncopy_response\n}\n}\n}"),
		inAuth("@e status 401\nhandle_response @e {\nroute {\nreverse_proxy localhost:9 {\n@ok status 2xx\nhandle_response @ok {\ncopy_response 201\n}\n}\n}\n}"),
		inAuth("handle_response {\nrespond copy_response\n}"),
		inAuth("header_up Host a.example\nheader_up Host {host}"),
		inAuth("header_up X-A {header.Authorization}\nignore_in_key X-A"), // which is a part of the identity
		inSession("source http http://localhost/{id} {\nheader X-A {cookie.s}\n}"),
		inAuth("headers X-Forwarded-User Accept\nignore_in_key accept\ncopy_headers Remote-User"),
		"(auth) {\nsession_lookup {cookie.s} {\nrequire role {args[:]} \"a b\"\n}\n}\n" + inSite("import auth admin"),
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			require.NoError(t, mistakeOf(t, text), text)
		})
	}
}

// The same mistakes in JSON, which no Caddyfile has checked.
func TestJSONThatCannotBeRightIsRefused(t *testing.T) {
	session := func(fields string) string { return `{"handler": "session_lookup"` + fields + `}` }
	byCookie := func(fields string) string { return session(`, "id": "{http.request.cookie.s}"` + fields) }
	asking := func(fields string) string {
		return byCookie(`, "source": {"source": "http", "url": "http://localhost/{id}"` + fields + `}`)
	}
	for _, c := range []struct{ app, handlers, want string }{
		{app: `"key_prefix": "{env.NOT_SET}"`, want: "{env.NOT_SET} is empty"},
		{app: `"key_prefix": "fwb:"`, want: "for the plugin's own keys"},
		{app: `"redis": {"addresses": ["localhost:9"], "password": "{env.NOT_SET}"}`, want: "{env.NOT_SET} is empty"},
		{app: `"redis": {"url": "{env.NOT_SET}"}`, want: "{env.NOT_SET} is empty"},
		{app: `"redis": {"addresses": [""]}`, want: "address"},
		{app: `"alert": {"hit_rate_below": 0.8}`, want: "want a percentage from 1 to 100"},
		{app: `"alert": {"latency_above": -1}`, want: "want a duration above 0"},
		{app: `"alert": {"clients_above": -1}`, want: "want a number above 0"},
		{app: `"near_cache": {"max_size": -1}`, want: "want a size like 64MiB"},
		{app: `"near_cache": {"ttl": -1}`, want: "want a size like 64MiB and a duration like 30s"},
		{handlers: session(""), want: "there is no identity"},
		{handlers: session(`, "id": "session"`), want: "has no placeholder"},
		{handlers: session(`, "id": "{cookie.connect.sid}"`), want: "write {http.request.cookie.connect.sid}"},
		{handlers: session(`, "id": "{http.request.cokie.s}"`), want: "does not exist"},
		{handlers: byCookie(`, "require": [{"field": "role=admin"}]`), want: "not the path of a field"},
		{handlers: byCookie(`, "require": [{"field": "role", "values": [""]}]`), want: "empty"},
		{handlers: byCookie(`, "require": [{"field": "level", "values": [">=", "3"]}]`), want: "comparisons are not possible"},
		{handlers: byCookie(`, "require": [{"field": "role", "values": ["not", "guest"]}]`), want: "'not' reads as an operator"},
		{handlers: byCookie(`, "require": [{"field": "role", "values": ["admin", "Except", "guest"]}]`), want: "'Except' reads as an operator"},
		{handlers: byCookie(`, "require": [{"field": "role", "values": ["is", "not", "guest"]}]`), want: "'is' reads as an operator"},
		{handlers: asking(`, "dial": "${env.FILLED}:80"`), want: "write {env.FILLED}"},
		{handlers: byCookie(`, "stale_if_error": -5`), want: "want 0s or more"},
		{handlers: byCookie("") + "," + session(`, "id": "{http.request.remote.host}"`), want: "verified by the server"},
		{handlers: session(`, "id": "${http.request.cookie.s}"`), want: "write {http.request.cookie.s}"},
		{handlers: byCookie(`, "key": "s:${id}"`), want: "write {id}"},
		{handlers: `{"handler": "file_metadata", "source": {"source": "file_system", "fs": "nope"}}`, want: "no filesystem option defines"},
		{handlers: byCookie(`, "copy_headers": [{"field": "a", "header": "X-*"}]`), want: "not the name of a header"},
		{handlers: byCookie(`, "copy_headers": [{"field": "_source", "header": "X-A"}]`), want: "reserved"},
		{handlers: byCookie(`, "key": "{id}"`), want: "no text before the identity"},
		{handlers: byCookie(`, "key": "fwb:{id}"`), want: "for the plugin's own keys"},
		{handlers: byCookie(`, "on_missing": {"redirect": "{env.NOT_SET}"}`), want: "{env.NOT_SET} is empty"},
		{handlers: asking(`, "headers": {"Authorization": ["Bearer {env.NOT_SET}"]}`), want: "{env.NOT_SET} is empty"},
		{handlers: asking(`, "headers": {"Authorization": ["{http.request.header.Authorization}"]}, "ignore_in_key": ["Authorization"]`), want: "which identifies the client"},
		{handlers: asking(`, "headers": {"X-A": ["Bearer {http.request.cookie.t}"]}, "ignore_in_key": ["x-a"]`), want: "which identifies the client"},
		{handlers: asking(`, "headers": {"cookie": ["{http.request.header.cookie}"]}, "ignore_in_key": ["Cookie"]`), want: "which identifies the client"},
		{handlers: asking(`, "headers": {"X-A": ["{http.request.tls.client.subject}"]}, "ignore_in_key": ["X-A"]`), want: "which identifies the client"},
		{handlers: asking("") + "," + byCookie(""), want: "only one of them has a source"},
		{handlers: byCookie(`, "copy_headers": [{"field": "u", "header": "X-U"}], "source": {"source": "http", ` +
			`"url": "http://localhost/{id}", "headers": {"X-A": ["{http.request.header.X-U}"]}}`), want: "one of copy_headers"},
		{handlers: byCookie(`, "source": {"source": "http", "url": "http://localhost/{id}"}, "handle_response": [{"routes": [{"handle": [{"handler": "copy_response"}]}]}]`),
			want: "handle_response cannot copy_response here"},
		{handlers: asking(`, "host_without_port": true`), want: "host_without_port needs preserve_host"},
		{handlers: `{"handler": "file_metadata", "id": "{http.request.uri.path}", "rewrite": "/{env.NOT_SET}"}`, want: "{env.NOT_SET} is empty"},
		{handlers: `{"handler": "file_metadata", "source": {"source": "file_system", "hide": ["{env.NOT_SET}"]}}`, want: "{env.NOT_SET} is empty"},
		{handlers: `{"handler": "lookup_invalidate", "keys": ["{http.request.uri.path.1}"]}`, want: "no text before the placeholder"},
		{handlers: `{"handler": "upload_progress", "id": "{http.request.uri.path.1}", "owner": "user_id"}`, want: "the same for every client"},
	} {
		t.Run(c.app+c.handlers, func(t *testing.T) {
			var config caddy.Config
			require.NoError(t, json.Unmarshal(fmt.Appendf(nil, `{"admin": {"disabled": true, "config": {"persist": false}}, "apps": {"filewallball": {%s},
				"http": {"servers": {"a": {"listen": ["localhost:9"], "routes": [{"handle": [%s]}]}}}}}`, c.app, c.handlers), &config))
			require.ErrorContains(t, caddy.Validate(&config), c.want)
		})
	}
}

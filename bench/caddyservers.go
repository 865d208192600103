// Caddy, in all configurations that are compared.

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// site is a route of a running server.
type site struct {
	process *process
	addr    string
	admin   string // address of Caddy's admin API; empty for other servers
	plugin  bool   // whether the configuration uses the plugin
}

// route is a site of a Caddyfile: a name to refer to it, and its directives.
type route struct{ name, directives string }

// buildCaddy builds Caddy with the plugin and returns its path.
func buildCaddy(ctx context.Context, dir string) (string, error) {
	path := filepath.Join(dir, "caddy")
	build := exec.CommandContext(ctx, "go", "build", "-o", path, "github.com/filewallball/caddy-filewallball/bench/caddy")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building Caddy: %w\n%s", err, out)
	}
	return path, nil
}

// startCaddy starts a Caddy with these global options and routes, each on a
// port of its own.
func (s *servers) startCaddy(ctx context.Context, name, options string, routes []route) error {
	admin, err := freeAddr()
	if err != nil {
		return err
	}
	sites := make(map[string]site)
	var blocks []string
	for _, r := range routes {
		addr, err := freeAddr()
		if err != nil {
			return err
		}
		sites[r.name] = site{addr: addr, admin: admin, plugin: options != ""}
		blocks = append(blocks, caddyBlock(addr, r.directives))
	}
	config := filepath.Join(s.dir, name+".Caddyfile")
	if err := os.WriteFile(config, []byte(caddyfile(admin, options, blocks...)), 0o600); err != nil {
		return fmt.Errorf("configuring Caddy: %w", err)
	}
	p, err := s.start(ctx, "Caddy ("+name+")", sites[routes[0].name].addr, s.caddy, "run", "--config", config)
	if err != nil {
		return err
	}
	for name, site := range sites {
		site.process = p
		s.sites[name] = site
	}
	return nil
}

func caddyfile(admin, options string, blocks ...string) string {
	return fmt.Sprintf("{\n\tadmin %s\n\tpersist_config off\n\tauto_https off\n\tlog {\n\t\tlevel WARN\n\t}\n%s\n}\n\n%s",
		admin, options, strings.Join(blocks, "\n"))
}

func caddyBlock(addr, directives string) string {
	host, port, _ := strings.Cut(addr, ":")
	return fmt.Sprintf(":%s {\n\tbind %s\n%s\n}\n", port, host, directives)
}

// startCaddies starts Caddy in all configurations. The one without the plugin runs
// the same program.
func (s *servers) startCaddies(ctx context.Context) error {
	files := "\troot " + s.files
	application := "http://" + s.application.addr + "/auth"
	forwardAuth := "\tforward_auth " + s.application.addr + " {\n\t\turi /auth\n\t\tcopy_headers X-User-Id\n\t}"
	session := "\tsession_lookup {cookie.session}"
	fromSource := "\tsession_lookup {cookie.session} {\n\t\tkey session:source:{id}\n\t\tsource http " + application + "\n\t}"
	fromSlowSource := strings.ReplaceAll(strings.ReplaceAll(fromSource, "session:source:", "session:slow:"), "/auth", "/slow")
	sourceOf := func(kind, path string) string {
		return strings.ReplaceAll(strings.ReplaceAll(fromSource, "session:source:", "session:"+kind+":"), "/auth", path)
	}
	tagged := strings.TrimSuffix(sourceOf("tagged", "/auth"), "\t}") + "\t\ttag user:{http.session.user_id} all\n\t}"
	metadata := "\tfile_metadata {\n\t\tsource file_system\n\t}"
	precompressed := "\tfile_server {\n\t\tprecompressed\n\t}"
	inMemory := "\tfile_metadata {\n\t\tsource file_system\n\t\tmemory 64KiB\n\t}"

	if err := s.startCaddy(ctx, "bare", "", []route{
		{bareFiles, lines(files, "\tfile_server")},
		{barePrecompressed, lines(files, precompressed)},
		{respond200, "\trespond 200"},
		{respond304, "\trespond 304"},
		{respond404, "\trespond 404"},
		{headers200, lines(headers(sameHeaders...), "\trespond 200")},
		{headers304, lines(headers(sameHeaders[:3]...), "\trespond 304")},
		{error404, lines(headers(sameHeaders[0]), "\terror 404")},
		{forwardAuthFiles, lines(forwardAuth, files, "\tfile_server")},
		{bareRequestFiles, lines("\troute {\n\t\tbare_requests "+application+" "+s.redis.addr+"\n\t}", files, "\tfile_server")},
	}); err != nil {
		return err
	}
	if err := s.startCaddy(ctx, "near copies", s.nearOption(), []route{
		{sessionFiles, lines(files, session, "\tfile_server")},
		{metadataFiles, lines(files, session, metadata, "\tfile_server")},
		{memoryFiles, lines(files, session, inMemory, "\tfile_server")},
		{metadataPrecompressed, lines(files, session, metadata, precompressed)},
		{memoryPrecompressed, lines(files, session, inMemory, precompressed)},
		{sourceFiles, lines(files, fromSource, "\tfile_server")},
		{taggedFiles, lines(files, tagged, "\tfile_server")},
		{absentFiles, lines(files, sourceOf("absent", "/absent"), "\tfile_server")},
		{deniedFiles, lines(files, sourceOf("denied", "/denied"), "\tfile_server")},
		{slowSourceFiles, lines(files, fromSlowSource, "\tfile_server")},
	}); err != nil {
		return err
	}
	off := "\tfilewallball {\n\t\tredis " + s.redis.addr + "\n\t\tnear_cache off\n\t}"
	if err := s.startCaddy(ctx, "near copies off", off, []route{
		{nearOffFiles, lines(files, session, "\tfile_server")},
	}); err != nil {
		return err
	}
	fileSystems := lines("\tfilesystem cached lookup_cache", "\tfilesystem slow slow 5ms",
		"\tfilesystem slow_cached lookup_cache {\n\t\tfs slow 5ms\n\t}")
	return s.startCaddy(ctx, "file systems", fileSystems, []route{
		{cachedFS, lines(files, "\tfs cached\n\tfile_server")},
		{slowFS, lines(files, "\tfs slow\n\tfile_server")},
		{slowCachedFS, lines(files, "\tfs slow_cached\n\tfile_server")},
	})
}

// nearOption is the global option with a near cache that drops no copy while the
// benchmark runs.
func (s *servers) nearOption() string {
	return "\tfilewallball {\n\t\tredis " + s.redis.addr + "\n\t\tnear_cache {\n\t\t\tttl 1h\n\t\t\tmax_size 1GiB\n\t\t}\n\t}"
}

// sameHeaders are the headers of file_metadata's response to HEAD. A 304 has the
// first three, a 404 the first one.
var sameHeaders = []string{
	`Cache-Status "session_lookup; hit; ttl=86399; detail=near, file_metadata; hit; ttl=3599; detail=near"`,
	`Etag "\"dkqf1i4vq8ow1kw\""`,
	`Vary Accept-Encoding`,
	`Accept-Ranges bytes`,
	`Content-Length 2048`,
	`Content-Type application/octet-stream`,
	`Last-Modified "Tue, 25 Nov 2025 09:00:00 GMT"`,
}

func headers(fields ...string) string {
	return "\theader {\n\t\t" + strings.Join(fields, "\n\t\t") + "\n\t}"
}

func lines(text ...string) string { return strings.Join(text, "\n") }

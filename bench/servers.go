package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// The sites that are measured, by name.
const (
	bareFiles             = "file_server"
	respond200            = "respond 200"
	respond304            = "respond 304"
	respond404            = "respond 404"
	headers200            = "respond 200 with the same headers"
	headers304            = "respond 304 with the same headers"
	error404              = "error 404 with the same headers"
	forwardAuthFiles      = "forward_auth + file_server"
	sessionFiles          = "session_lookup + file_server"
	metadataFiles         = "session_lookup + file_metadata + file_server"
	memoryFiles           = "the same with memory 64KiB"
	sourceFiles           = "session_lookup with source http + file_server"
	taggedFiles           = "session_lookup with source http and tags + file_server"
	absentFiles           = "session_lookup with source http, absent"
	deniedFiles           = "session_lookup with source http, denied"
	bareRequestFiles      = "bare requests to the application and Redis + file_server"
	slowSourceFiles       = "session_lookup with source http, slow for new sessions + file_server"
	nearOffFiles          = "session_lookup, near_cache off + file_server"
	cachedFS              = "file_server over lookup_cache"
	slowFS                = "file_server, 5 ms away"
	slowCachedFS          = "file_server over lookup_cache, 5 ms away"
	barePrecompressed     = "file_server, precompressed"
	metadataPrecompressed = "session_lookup + file_metadata + file_server, precompressed"
	memoryPrecompressed   = "the same with memory 64KiB, precompressed"
	nginxFiles            = "nginx, unprotected"
	nginxAuthFiles        = "nginx auth_request + proxy_cache"
	nginxLuaFiles         = "nginx + Lua + Redis"
)

// The paths that are requested.
const (
	small  = "/2KiB.bin"
	medium = "/100KiB.bin"
	large  = "/10MiB.bin"
	absent = "/absent.bin"
	// index files, and a file with precompressed files beside it
	indexed   = "/dir/"
	unindexed = "/empty/"
	style     = "/page.css"
)

// indexFile is the default index file of file_server.
const indexFile = "index.html"

// servers are all servers and their sites. What could not be started on this machine
// is not among the sites.
type servers struct {
	processes
	caddy       string // the path of the executable
	files       string // the directory that is served
	application site
	redis       *redisServer
	sites       map[string]site
}

// startServers starts all servers, but for those that are not installed, which it
// reports.
func startServers(ctx context.Context, dir string, workers int, say func(format string, args ...any)) (*servers, error) {
	s := &servers{processes: processes{dir: dir, workers: workers}, sites: make(map[string]site)}
	if err := s.startAll(ctx, say); err != nil {
		s.end()
		return nil, err
	}
	return s, nil
}

func (s *servers) startAll(ctx context.Context, say func(format string, args ...any)) (err error) {
	if s.files, err = writeFiles(s.dir); err != nil {
		return err
	}
	say("building Caddy with the plugin")
	if s.caddy, err = buildCaddy(ctx, s.dir); err != nil {
		return err
	}
	if err := s.startApplication(ctx); err != nil {
		return err
	}
	if s.redis, err = s.startRedis(ctx); err != nil {
		return err
	}
	if err := s.startCaddies(ctx); err != nil {
		return err
	}
	if _, err := exec.LookPath("nginx"); err != nil {
		say("missing: nginx; it is not compared")
		return nil
	}
	return s.startNginx(ctx, say)
}

// startApplication starts this program as the application.
func (s *servers) startApplication(ctx context.Context) error {
	addr, err := freeAddr()
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding this program: %w", err)
	}
	p, err := s.start(ctx, "the application", addr, self, "-application", addr)
	s.application = site{process: p, addr: addr}
	return err
}

// end closes the client of Redis and ends all servers.
func (s *servers) end() {
	if s.redis != nil {
		_ = s.redis.client.Close()
	}
	s.endAll()
}

// writeFiles writes the files that are served, and returns their directory.
func writeFiles(dir string) (string, error) {
	root := filepath.Join(dir, "files")
	var err error
	for name, size := range map[string]int{
		small: 2 << 10, medium: 100 << 10, large: 10 << 20,
		indexFile: 2 << 10, indexed + indexFile: 2 << 10, unindexed + "file.bin": 1,
		style: 8 << 10, style + ".gz": 2 << 10, style + ".br": 2 << 10, style + ".zst": 2 << 10,
	} {
		file := filepath.Join(root, name)
		err = errors.Join(err, os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, make([]byte, size), 0o644))
	}
	if err != nil {
		return "", fmt.Errorf("writing the files: %w", err)
	}
	return root, nil
}

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// startNginx starts nginx with an unprotected site, one protected by
// auth_request whose responses proxy_cache keeps, and, where nginx has Lua, one
// that reads from Redis on each request.
func (s *servers) startNginx(ctx context.Context, say func(format string, args ...any)) error {
	sites := map[string]site{nginxFiles: {}, nginxAuthFiles: {}}
	modules, err := luaModules()
	if err != nil {
		say("missing: %v; nginx + Lua + Redis is left out", err)
	} else {
		sites[nginxLuaFiles] = site{}
	}
	for name := range sites {
		addr, err := freeAddr()
		if err != nil {
			return err
		}
		sites[name] = site{addr: addr}
	}
	config := filepath.Join(s.dir, "nginx.conf")
	if err := os.WriteFile(config, []byte(s.nginxConfig(modules, sites)), 0o600); err != nil {
		return fmt.Errorf("configuring nginx: %w", err)
	}
	path, err := exec.LookPath("nginx")
	if err != nil {
		return fmt.Errorf("finding nginx: %w", err)
	}
	p, err := s.start(ctx, "nginx", sites[nginxFiles].addr, path, "-p", s.dir, "-c", config, "-e", "stderr")
	if err != nil {
		return err
	}
	for name, site := range sites {
		site.process = p
		s.sites[name] = site
	}
	return nil
}

// luaModules returns the directives that load Lua into nginx. The error names the
// module that is missing.
func luaModules() (string, error) {
	var directives []string
	for _, name := range []string{"ndk_http_module.so", "ngx_http_lua_module.so"} {
		found, _ := filepath.Glob("/usr/lib*/nginx/modules/" + name)
		if len(found) == 0 {
			return "", fmt.Errorf("%s (Debian: libnginx-mod-http-lua)", name)
		}
		directives = append(directives, "load_module "+found[0]+";")
	}
	return strings.Join(directives, "\n"), nil
}

func (s *servers) nginxConfig(modules string, sites map[string]site) string {
	user := ""
	if os.Getuid() == 0 {
		user = "user root;" // the files belong to the user who runs the benchmark
	}
	lua := ""
	if addr := sites[nginxLuaFiles].addr; addr != "" {
		lua = nginxLua(addr, s.files, s.redis.addr)
	}
	return fmt.Sprintf(`%[1]s
%[2]s
daemon off;
worker_processes %[3]d;
pid %[4]s/nginx.pid;
error_log stderr crit;
events { worker_connections 1024; }
http {
	access_log off;
	sendfile on;
	tcp_nopush on;
	keepalive_requests 1000000000;
	default_type application/octet-stream;
	client_body_temp_path %[4]s/nginx-body;
	proxy_temp_path %[4]s/nginx-proxy;
	fastcgi_temp_path %[4]s/nginx-fastcgi;
	uwsgi_temp_path %[4]s/nginx-uwsgi;
	scgi_temp_path %[4]s/nginx-scgi;
	proxy_cache_path %[4]s/nginx-cache keys_zone=sessions:64m max_size=1g inactive=1d use_temp_path=off;
	upstream application {
		server %[5]s;
		keepalive 64;
	}
	server {
		listen %[6]s backlog=1024;
		root %[7]s;
	}
	server {
		listen %[8]s backlog=1024;
		root %[7]s;
		location / { auth_request /auth; }
		location = /auth {
			internal;
			proxy_pass http://application/auth;
			proxy_http_version 1.1;
			proxy_set_header Connection "";
			proxy_pass_request_body off;
			proxy_set_header Content-Length "";
			proxy_cache sessions;
			proxy_cache_key $cookie_session;
			proxy_cache_valid 200 1d;
			proxy_cache_lock on;
		}
	}
%[9]s
}
`, modules, user, s.workers, s.dir, s.application.addr, sites[nginxFiles].addr, s.files, sites[nginxAuthFiles].addr, lua)
}

// nginxLua is a site that reads the session from Redis over connections that are
// kept. It does not parse the JSON, so it does less than session_lookup.
func nginxLua(addr, root, redis string) string {
	host, port, _ := strings.Cut(redis, ":")
	return fmt.Sprintf(`	server {
		listen %s backlog=1024;
		root %s;
		location / {
			access_by_lua_block {
				local id = ngx.var.cookie_session
				if not id then return ngx.exit(401) end
				local redis = ngx.socket.tcp()
				redis:settimeout(500)
				if not redis:connect("%s", %s) then return ngx.exit(503) end
				local key = "session:user:" .. id
				redis:send("*4\r\n$8\r\nGETRANGE\r\n$" .. #key .. "\r\n" .. key .. "\r\n$1\r\n0\r\n$2\r\n-1\r\n")
				local line = redis:receive()
				local size = line and tonumber(string.match(line, "^%%$(-?%%d+)$"))
				if not size then return ngx.exit(503) end
				local text = redis:receive(size + 2)
				local found = text and size > 0
				redis:setkeepalive(60000, 64)
				if not found then return ngx.exit(401) end
			}
		}
	}`, addr, root, host, port)
}

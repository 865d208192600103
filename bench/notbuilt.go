package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// knows tells whether this Caddy has what the options and directives name.
func (s *servers) knows(ctx context.Context, options, directives string) bool {
	config := filepath.Join(s.dir, "probe.Caddyfile")
	text := caddyfile("localhost:0", options, caddyBlock("127.0.0.1:1", directives))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return false
	}
	return exec.CommandContext(ctx, s.caddy, "adapt", "--config", config).Run() == nil
}

// left drops the routes that this Caddy cannot have, and says so.
func (s *servers) left(ctx context.Context, say func(string, ...any), routes []route) []route {
	var left []route
	for _, r := range routes {
		if s.knows(ctx, "", r.directives) {
			left = append(left, r)
		} else {
			say("not built: %s", fmt.Sprint(r.name))
		}
	}
	return left
}

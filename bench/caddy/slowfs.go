// A file system with the latency of one behind a network.

package main

import (
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// SlowFS is the file system of the operating system with a delay. Syntax:
//
//	filesystem <name> slow <delay>
type SlowFS struct {
	// Delay is the additional time of each Open and Stat.
	Delay caddy.Duration `json:"delay,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (SlowFS) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.fs.slow", New: func() caddy.Module { return new(SlowFS) }}
}

// Open opens a file after the delay.
func (s SlowFS) Open(name string) (fs.File, error) {
	time.Sleep(time.Duration(s.Delay))
	return os.Open(name)
}

// Stat returns the metadata of a file after the delay.
func (s SlowFS) Stat(name string) (fs.FileInfo, error) {
	time.Sleep(time.Duration(s.Delay))
	return os.Stat(name)
}

// UnmarshalCaddyfile reads the delay; see [SlowFS] for the syntax.
func (s *SlowFS) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	var delay string
	if !d.AllArgs(&delay) {
		return d.ArgErr()
	}
	parsed, err := caddy.ParseDuration(delay)
	if err != nil {
		return fmt.Errorf("parsing the delay: %w", err)
	}
	s.Delay = caddy.Duration(parsed)
	return nil
}

var (
	_ fs.StatFS             = SlowFS{}
	_ caddyfile.Unmarshaler = (*SlowFS)(nil)
)

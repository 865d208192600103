package filesystem

import (
	"io/fs"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/filewallball/caddy-filewallball/handlers/directive"
)

// UnmarshalCaddyfile reads, in the global options,
//
//	filesystem <name> lookup_cache {
//		fs <module> { … }              # another file system; default the server's disk
//		ttl <duration>                 # default 2s
//		max_size <size>                # default 16MiB
//	}
func (c *LookupCache) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if d.NextArg() {
		return d.Errf("lookup_cache takes no argument, but has '%s': its options go into its block", d.Val())
	}
	return c.Options().Unmarshal(d, "lookup_cache")
}

// Options are the lines of the file system's block.
func (c *LookupCache) Options() directive.Options {
	return directive.Options{
		{Name: "fs", Args: "<module> { … }", Read: c.unmarshalFileSystem},
		directive.Value("ttl", "<duration>", &c.TTL, directive.Duration),
		directive.Value("max_size", "<size>", &c.MaxSize, directive.Size),
	}
}

func (c *LookupCache) unmarshalFileSystem(d *caddyfile.Dispenser) error {
	if !d.NextArg() {
		return d.Err("fs takes the name of a file system module, caddy.fs.<name>, and its options")
	}
	name := d.Val()
	module, err := caddyfile.UnmarshalModule(d, "caddy.fs."+name)
	if err != nil {
		return err
	}
	if _, ok := module.(fs.FS); !ok {
		return d.Errf("fs: module caddy.fs.%s is not a file system", name)
	}
	c.FileSystemRaw = caddyconfig.JSONModuleObject(module, "backend", name, nil)
	return nil
}

// Interface guard
var _ caddyfile.Unmarshaler = (*LookupCache)(nil)

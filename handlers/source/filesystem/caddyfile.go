// Package filesource is the source file_system: records of files.
package filesource

import (
	"slices"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/filewallball/caddy-filewallball/handlers/directive"
)

// UnmarshalCaddyfile reads
//
//	source file_system {
//		root <dir>
//		fs <name>
//		hide <pattern...>              # repeatable
//		hash sha256
//		revalidate <duration>          # default 2s
//	}
func (s *Source) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if d.NextArg() {
		return d.Errf("source file_system takes no argument, but has '%s': root goes into its block", d.Val())
	}
	once := make(directive.Once)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if err := s.unmarshalLine(d, once); err != nil {
			return err
		}
	}
	return nil
}

func (s *Source) unmarshalLine(d *caddyfile.Dispenser, once directive.Once) (err error) {
	name := d.Val()
	if name != "hide" {
		if err := once.Check(d); err != nil {
			return err
		}
	}
	switch name {
	case "root":
		s.Root, err = directive.OneArg(d)
	case "fs":
		s.FS, err = directive.OneArg(d)
	case "hide":
		args := d.RemainingArgs()
		if len(args) == 0 {
			return d.Err("hide takes at least one file name, path or pattern")
		}
		s.Hide = append(s.Hide, args...)
	case "hash":
		s.Hash, err = directive.OneArg(d)
		if err == nil && s.Hash != hashSHA256 {
			err = d.Errf("hash '%s' is not right: want %s", s.Hash, hashSHA256)
		}
	case "revalidate":
		s.Revalidate, err = directive.Duration(d)
	default:
		return d.Errf("unknown subdirective '%s': source file_system takes root, fs, hide, hash and revalidate", name)
	}
	return err
}

// HideFiles hides these files too, by their paths. It is for the Caddyfiles
// that the configuration comes from.
func (s *Source) HideFiles(files []string) {
	s.Hide = hideFiles(s.Hide, files)
}

// HideAlso hides what a file_server behind the lookup hides. It must be called
// before the first request.
func (s *Source) HideAlso(patterns []string) {
	for _, pattern := range patterns {
		if !slices.Contains(s.Hide, pattern) {
			s.Hide = append(s.Hide, pattern)
		}
	}
	s.hidden = newHideList(s.Hide)
}

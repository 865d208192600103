package filesource

import (
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/filewallball/caddy-filewallball/handlers/directive"
)

// UnmarshalCaddyfile reads
//
//	source file_system {
//		root <dir>
//		fs <name>
//		hide <pattern...>              # repeatable
//		index <file...>                # default index.html index.txt
//		hash sha256 [<max size>]
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
		err = s.unmarshalHash(d)
	case "index":
		if s.Index = d.RemainingArgs(); len(s.Index) == 0 {
			return d.Err("index takes at least one file name")
		}
	case "revalidate":
		s.Revalidate, err = directive.Duration(d)
	default:
		return d.Errf("unknown subdirective '%s': source file_system takes root, fs, hide, index, hash and revalidate", name)
	}
	return err
}

func (s *Source) unmarshalHash(d *caddyfile.Dispenser) (err error) {
	args := d.RemainingArgs()
	if len(args) == 0 || len(args) > 2 {
		return d.Errf("hash takes %s and, if not all files are to be hashed, the size of the largest", hashSHA256)
	}
	if s.Hash = args[0]; s.Hash != hashSHA256 {
		return d.Errf("hash '%s' is not right: want %s", s.Hash, hashSHA256)
	}
	if len(args) == 2 {
		s.MaxHashSize, err = directive.ParseSize(d, "hash", args[1])
	}
	return err
}

// HideFiles hides these files too, by their paths. It is for the Caddyfiles
// that the configuration comes from.
func (s *Source) HideFiles(files []string) {
	s.Hide = hideFiles(s.Hide, files)
}

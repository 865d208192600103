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
	return s.Options().Unmarshal(d, "source file_system")
}

// Options are the lines of the source's block.
func (s *Source) Options() directive.Options {
	return directive.Options{
		directive.Text("root", "<dir>", &s.Root),
		directive.Text("fs", "<name>", &s.FS),
		{Name: "hide", Args: "<pattern...>", Repeatable: true, Read: func(d *caddyfile.Dispenser) error {
			args := d.RemainingArgs()
			if len(args) == 0 {
				return d.Err("hide takes at least one file name, path or pattern")
			}
			s.Hide = append(s.Hide, args...)
			return nil
		}},
		{Name: "index", Args: "<file...>", Read: func(d *caddyfile.Dispenser) error {
			if s.Index = d.RemainingArgs(); len(s.Index) == 0 {
				return d.Err("index takes at least one file name")
			}
			return nil
		}},
		{Name: "hash", Args: "sha256 [<max size>]", Read: s.unmarshalHash},
		directive.Value("revalidate", "<duration>", &s.Revalidate, directive.Duration),
	}
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

package metadata

import (
	"encoding/json"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/filewallball/caddy-filewallball/handlers/directive"
	"github.com/filewallball/caddy-filewallball/handlers/lookup"
	filesource "github.com/filewallball/caddy-filewallball/handlers/source/filesystem"
)

// fileSystemSource is the name of the source that needs no identity.
const fileSystemSource = "file_system"

// Parse reads the file_metadata directive. As file_server does,
// it hides the Caddyfile and what it imports.
func Parse(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	m := new(Handler)
	if err := m.UnmarshalCaddyfile(h.Dispenser); err != nil {
		return nil, err
	}
	if m.Name == "" {
		m.Name = lookup.PositionName(h, metadataDirective)
	}
	if !isFileSystem(m.SourceRaw) {
		return m, nil
	}
	files := new(filesource.Source)
	if err := json.Unmarshal(m.SourceRaw, files); err != nil {
		return nil, h.Errf("reading source file_system: %v", err)
	}
	files.HideFiles(h.Caddyfiles())
	m.SourceRaw = caddyconfig.JSONModuleObject(files, "source", fileSystemSource, nil)
	return m, nil
}

// UnmarshalCaddyfile reads the handler from Caddyfile tokens:
//
//	file_metadata [<matcher>] [<id>] {
//		key <template>
//		hash_id [on|off]
//		ttl <duration>
//		negative_ttl <duration>
//		source none | http <url> { … } | file_system { … }
//		rewrite <uri template>
//		disposition <attachment|inline|off>
//		answer <on|off>
//		on_missing <status> | continue
//		on_denied <status> | continue
//		on_error <status> | continue
//		stale_if_error <duration>
//		tag <template...>
//		memory <file size> [<size of all>]
//		name <name>
//	}
//
// The identity may be left out with source file_system: it is the request
// path then.
func (m *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the directive's name
	args := d.RemainingArgs()
	if len(args) > 1 {
		return d.Errf("file_metadata takes one identity, and has %d: quote one that has spaces", len(args))
	}
	if len(args) == 1 {
		if m.ID = args[0]; m.ID == "" {
			return d.Err("file_metadata: the identity is empty")
		}
	}
	start := d.Token()
	once := make(directive.Once)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		known, err := m.Lookup.UnmarshalOption(d, once, false)
		if !known {
			err = m.unmarshalOwn(d, once)
		}
		if err != nil {
			return err
		}
	}
	if m.ID == "" && !isFileSystem(m.SourceRaw) {
		return d.Errf("file_metadata in line %d takes an identity, like {path}, unless it has source file_system", start.Line)
	}
	return nil
}

// unmarshalOwn reads what only this lookup has.
func (m *Handler) unmarshalOwn(d *caddyfile.Dispenser, once directive.Once) (err error) {
	name := d.Val()
	switch name {
	case "rewrite", "disposition", "answer", "memory":
		if err := once.Check(d); err != nil {
			return err
		}
	default:
		return d.Errf("unknown subdirective '%s': file_metadata takes key, hash_id, ttl, negative_ttl, source, "+
			"rewrite, disposition, answer, memory, on_missing, on_denied, on_error, stale_if_error, tag and name", name)
	}
	switch name {
	case "rewrite":
		m.Rewrite, err = directive.OneArg(d)
		if err == nil && m.Rewrite == "" {
			err = d.Err("rewrite: the URI is empty")
		}
	case "disposition":
		m.Disposition, err = directive.OneArg(d)
		if err == nil && !knownDisposition(m.Disposition) {
			err = d.Errf("disposition '%s' is not right: want attachment, inline or off", m.Disposition)
		}
	case "answer":
		if d.CountRemainingArgs() != 1 {
			return d.Err("answer takes on or off")
		}
		var on bool
		on, err = directive.OnOff(d)
		m.Answer = &on
	case "memory":
		m.Memory = new(FileMemory)
		m.Memory.MaxFileSize, m.Memory.MaxSize, err = directive.SizeAndTotal(d)
	}
	return err
}

func knownDisposition(name string) bool {
	return name == "attachment" || name == "inline" || name == "off"
}

func isFileSystem(raw json.RawMessage) bool {
	var named struct{ Source string }
	return len(raw) > 0 && json.Unmarshal(raw, &named) == nil && named.Source == fileSystemSource
}

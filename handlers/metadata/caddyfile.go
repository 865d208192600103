package metadata

import (
	"encoding/json"
	"slices"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/filewallball/caddy-filewallball/cache"
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
		return m, m.CheckPlace(h, lookup.Kind{Directive: metadataDirective, Family: cache.FileMeta}, "")
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
//	file_metadata [<matcher>] [<id...>] {
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
	m.ID = d.RemainingArgs()
	if slices.Contains(m.ID, "") {
		return d.Err("file_metadata: the identity is empty")
	}
	start := d.Token()
	if err := m.Options().Unmarshal(d, metadataDirective); err != nil {
		return err
	}
	if len(m.ID) == 0 && !isFileSystem(m.SourceRaw) {
		return d.Errf("file_metadata in line %d takes an identity, like {path}, unless it has source file_system", start.Line)
	}
	return nil
}

// Options are the lines of the directive's block.
func (m *Handler) Options() directive.Options {
	options := append(m.RecordOptions(), m.SourceOption("none | http <url> { … } | file_system { … }"),
		directive.Value("rewrite", "<uri template>", &m.Rewrite, unmarshalRewrite),
		directive.Value("disposition", "<attachment|inline|off>", &m.Disposition, unmarshalDisposition),
		directive.Pointer("answer", "<on|off>", &m.Answer, unmarshalAnswer))
	options = append(options, m.ReactionOptions(lookup.Reactions{}, lookup.Reactions{})...)
	options = append(options, directive.Option{Name: "memory", Args: "<size> [<size of all>]", Read: func(d *caddyfile.Dispenser) (err error) {
		m.Memory = new(FileMemory)
		m.Memory.MaxFileSize, m.Memory.MaxSize, err = directive.SizeAndTotal(d)
		return err
	}})
	return append(options, m.NameOptions()...)
}

func unmarshalRewrite(d *caddyfile.Dispenser) (string, error) {
	uri, err := directive.OneArg(d)
	if err == nil && uri == "" {
		err = d.Err("rewrite: the URI is empty")
	}
	return uri, err
}

func unmarshalDisposition(d *caddyfile.Dispenser) (string, error) {
	name, err := directive.OneArg(d)
	if err == nil && !knownDisposition(name) {
		err = d.Errf("disposition '%s' is not right: want attachment, inline or off", name)
	}
	return name, err
}

func unmarshalAnswer(d *caddyfile.Dispenser) (bool, error) {
	if d.CountRemainingArgs() != 1 {
		return false, d.Err("answer takes on or off")
	}
	return directive.OnOff(d)
}

func knownDisposition(name string) bool {
	return name == "attachment" || name == "inline" || name == "off"
}

func isFileSystem(raw json.RawMessage) bool {
	var named struct{ Source string }
	return len(raw) > 0 && json.Unmarshal(raw, &named) == nil && named.Source == fileSystemSource
}

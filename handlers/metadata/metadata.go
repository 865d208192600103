package metadata

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/handlers/lookup"
	filesource "github.com/filewallball/caddy-filewallball/handlers/source/filesystem"
	"github.com/filewallball/caddy-filewallball/handlers/template"
)

const (
	metadataDirective = "file_metadata"
)

// Handler finds the metadata of the requested file. With it, it answers requests that
// need no content (HEAD, 304, 412, 404) without opening the file, and adds headers to
// the next handler's response. A request without a usable identity, and by default one
// whose lookup fails, goes to the next handler as if there were no lookup.
//
// Fields of a record, all optional: name, size (bytes), content_type or
// mime_type, etag or else sha256 or hash (quoted as a strong validator),
// modified (RFC 3339, HTTP date or Unix seconds), path, cache_control. A value
// that cannot stand in a header is ignored. A response header that an earlier
// handler has set stays as it is.
//
// It must stand after encode, as it does by default, because it cannot see the encoding
// otherwise. It must not stand before handlers that change the content of a file, such
// as templates, unless answer is off.
//
// Placeholders for the handlers that follow:
//
// Placeholder | Description
// ------------|---------------
// `{http.file_metadata.outcome}` | The outcome of the lookup: `hit`, `stale`, `miss`, `absent`, `denied`, `error`, or `none` where there was no usable identity
// `{http.file_metadata.id}` | The identity
// `{http.file_metadata.<path>}` | A field of the record; dots descend
type Handler struct {
	lookup.Lookup

	// The URI of the request for the next handler, if there is a record, with
	// placeholders. The values of a record's fields are escaped and cannot leave their
	// place in the path, but they can name any file of the site, even one that a matcher
	// hides under the original path: let file_server hide such files. Without a query,
	// that of the request is kept. A record without a needed field is an error of the
	// lookup. Default: no rewrite.
	Rewrite string `json:"rewrite,omitempty"`

	// How Content-Disposition (RFC 6266) proposes the record's name to the
	// client: "attachment" or "inline". Default: no such header.
	Disposition string `json:"disposition,omitempty"`

	// Whether HEAD, 304, 412 and 404 are answered from the record. Default: true.
	Answer *bool `json:"answer,omitempty"`

	// Small files that are answered from memory, without the next handler, which
	// must serve the files unchanged. Needs source file_system. Default: none.
	Memory *FileMemory `json:"memory,omitempty"`

	rewrite  *uriTemplate
	answers  bool
	files    *filesource.Source // the source, where it is source file_system
	inMemory bool               // whether files are answered from memory
	// onlyDescribes reports that another handler than file_server may answer, or may
	// change its response.
	onlyDescribes bool

	// othersAnswer reports that another handler than file_server may answer.
	othersAnswer bool

	// precompressed describes which precompressed files the next file_server serves;
	// nil if that cannot be known.
	precompressed *precompression

	// elsewhere are the settings of following file_servers that may have another root
	// or file system than the source.
	elsewhere []fileServer
	otherRoot *sync.Once // logs that once
	logger    *zap.Logger
}

// FileMemory limits which files are kept in memory, and their total size.
type FileMemory struct {
	// The largest file that is kept, in bytes. Required.
	MaxFileSize int64 `json:"max_file_size"`

	// The size of all files that are kept, in bytes. Default: 64MiB.
	MaxSize int64 `json:"max_size,omitempty"`
}

// defaultFileMemory is the default of max_size, in bytes.
const defaultFileMemory = 64 << 20

// CaddyModule returns the Caddy module information.
func (Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers." + metadataDirective,
		New: func() caddy.Module { return new(Handler) },
	}
}

// Provision resolves placeholders and defaults, and sets up the lookup. Its
// errors name the route.
func (m *Handler) Provision(ctx caddy.Context) error {
	return m.NameError(m.provision(ctx))
}

func (m *Handler) provision(ctx caddy.Context) error {
	m.answers = m.Answer == nil || *m.Answer
	if m.Rewrite != "" {
		if err := template.Check(ctx.Logger(), "rewrite", m.Rewrite); err != nil {
			return err
		}
		if err := template.CheckFilled(m.Rewrite); err != nil {
			return fmt.Errorf("rewrite '%s': %w", m.Rewrite, err)
		}
		m.rewrite = parseURITemplate(m.Rewrite, lookup.MetadataPrefix)
	}
	m.logger, m.otherRoot = ctx.Logger(), new(sync.Once)
	next := followingOf(ctx)
	fromFiles := isFileSystem(m.SourceRaw)
	m.onlyDescribes = fromFiles && next.known && !next.alone
	m.othersAnswer = m.onlyDescribes && next.others
	kind := lookup.Kind{
		Directive:    metadataDirective,
		RecordName:   "file metadata",
		Prefix:       lookup.MetadataPrefix,
		Family:       cache.FileMeta,
		NegativeTTL:  cache.DefaultNegativeTTL,
		Memos:        true,
		StaleIfError: 5 * time.Minute,
		OnMissing:    lookup.Reaction{Status: http.StatusNotFound},
		OnDenied:     lookup.Reaction{Status: http.StatusForbidden},
		OnError:      lookup.Reaction{Continue: true},
	}
	if m.rewrite != nil {
		kind.OnError = lookup.Reaction{Status: http.StatusServiceUnavailable} // the path alone leads to no file
	}
	if !m.answers || m.onlyDescribes || fromFiles && next.passThru() {
		kind.OnMissing = lookup.Reaction{Continue: true}
	}
	if err := m.ProvisionLookup(ctx, kind); err != nil {
		return err
	}
	if m.files, _ = m.Source().(*filesource.Source); m.files != nil {
		if err := m.follow(next); err != nil {
			return err
		}
	}
	if err := m.provisionMemory(); err != nil {
		return err
	}
	if m.onlyDescribes {
		m.logger.Warn("answers are left to the next handler: file_metadata answers only if each request reaches file_server, and nothing else that answers, after it")
		m.answers, m.inMemory = false, false
	}
	return nil
}

func (m *Handler) provisionMemory() error {
	if m.Memory == nil {
		return nil
	}
	if m.Memory.MaxSize == 0 {
		m.Memory.MaxSize = defaultFileMemory
	}
	switch {
	case m.files == nil:
		return errors.New("memory needs source file_system, which reads the files and notices changes")
	case m.rewrite != nil:
		return errors.New("memory and rewrite exclude each other: the file that is served would not be the one that was looked up")
	case !m.answers:
		return errors.New("memory needs answer on: a file in memory is answered in place of the next handler")
	case m.Memory.MaxFileSize <= 0 || m.Memory.MaxFileSize > m.Memory.MaxSize:
		return fmt.Errorf("memory: want files of at least a byte, and no larger than the %d bytes for all of them", m.Memory.MaxSize)
	}
	m.inMemory = true
	return m.files.KeepContent(m.Memory.MaxFileSize, m.Memory.MaxSize)
}

// Validate checks what Provision only reads.
func (m *Handler) Validate() error {
	if len(m.ID) == 0 {
		return errors.New("there is no identity: want one like {http.request.uri.path}, " +
			"or source file_system, where it is the default")
	}
	if m.Disposition != "" && !knownDisposition(m.Disposition) {
		return fmt.Errorf("disposition is '%s': want attachment, inline or off", m.Disposition)
	}
	if m.OnMissing.Redirect != "" || m.OnDenied.Redirect != "" || m.OnError.Redirect != "" {
		return errors.New("on_missing, on_denied and on_error take no redirect here: want a status or continue")
	}
	return m.ValidateReactions()
}

// Causes of error responses, for the log and handle_errors.
var (
	errNoFile          = errors.New("there is no such file")
	errFileDenied      = errors.New("file is refused")
	errFileUnknown     = errors.New("file metadata lookup failed")
	errUnknownResponse = errors.New("source gave an answer that cannot be served")
)

// ServeHTTP implements [caddyhttp.MiddlewareHandler].
func (m *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	f := lookup.FindingsOf(repl)
	id := m.Identify(r, repl)
	var req cache.Request
	var err error
	if len(m.elsewhere) > 0 && !m.sameFiles(repl) {
		id = lookup.Identified{}
	}
	if id.ID != "" {
		req, err = m.Request(r, repl, id)
	}
	if id.ID == "" || err != nil {
		f.File = lookup.Found{Outcome: cache.OutcomeNone}
		if errors.Is(err, cache.ErrMalformedIdentity) && m.files == nil {
			return caddyhttp.Error(http.StatusBadRequest, err)
		}
		return next.ServeHTTP(w, r)
	}

	result := m.Find(r.Context(), req)
	if result.Outcome == cache.OutcomeError && errors.Is(r.Context().Err(), context.Canceled) {
		return caddyhttp.Error(lookup.StatusClientClosed, context.Canceled)
	}
	m.Publish(w.Header(), f, &f.File, id.ID, &result)
	response, _ := result.Response.(lookup.Responder)
	switch {
	case result.Response != nil && result.Record == nil && result.Err == nil:
		if response == nil {
			return m.OnError.Serve(w, r, repl, next, errUnknownResponse)
		}
		response.Serve(w) // a redirect of the source
		return nil
	case result.OK():
		return m.serveFile(w, r, repl, next, id.ID, req, result.Record)
	case result.Outcome == cache.OutcomeAbsent:
		if !safeMethod(r) {
			return next.ServeHTTP(w, r) // the request may create the file
		}
		if m.files != nil && filesource.IsIndex(id.ID, req) {
			m.files.Forget(id.ID) // there may be another index file
			return next.ServeHTTP(w, r)
		}
		forward(w, m.OnMissing, response)
		cause := errNoFile
		if m.files != nil {
			cause = nil // as file_server has it
		}
		return m.OnMissing.Serve(w, r, repl, next, cause)
	case result.Outcome == cache.OutcomeDenied:
		forward(w, m.OnDenied, response)
		return m.OnDenied.Serve(w, r, repl, next, errFileDenied)
	}
	if result.Err == nil {
		result.Err = errFileUnknown
	}
	forward(w, m.OnError, response)
	return m.OnError.Serve(w, r, repl, next, result.Err)
}

// forward adds headers of the source's answer to an error response, if the source
// answered this request.
func forward(w http.ResponseWriter, reaction *lookup.Reaction, response lookup.Responder) {
	if response != nil && !reaction.Continue {
		response.Forward(w.Header())
	}
}

// serveFile answers from the record, or lets the next handler serve the file.
func (m *Handler) serveFile(w http.ResponseWriter, r *http.Request, repl *caddy.Replacer, next caddyhttp.Handler, id string, req cache.Request, record *cache.Record) error {
	rep := representationOf(record)
	// a coding that an earlier handler has set is not one that file_server selects
	if m.files != nil && (rep.notRegular || w.Header()["Content-Encoding"] != nil) {
		return next.ServeHTTP(w, r)
	}
	var uri string
	if m.rewrite != nil {
		var err error
		if uri, err = m.rewrite.expand(repl); err != nil {
			return m.OnError.Serve(w, r, repl, next, err)
		}
	}
	// an error page has the status of the error, whatever the preconditions of the
	// request are
	_, inError := r.Context().Value(caddyhttp.ErrorCtxKey).(error)
	if !safeMethod(r) || inError {
		m.rewrite.apply(r, repl, uri)
		return next.ServeHTTP(w, r)
	}

	d := &describer{handler: m, request: r, repl: repl, id: id, req: req, record: record, rep: rep, known: &rep.validators}
	d.ResponseWriter = w
	if m.Disposition != "" && m.Disposition != "off" {
		d.disposition = m.Disposition + rep.dispositionParams
	}
	// file_server is to decide by the tag of what it serves
	if m.othersAnswer && r.Header["If-Range"] != nil && !d.isFresh() {
		m.rewrite.apply(r, repl, uri)
		return d.serveUndescribed(r, next)
	}
	chosen := m.files != nil && d.choose(r)
	tag := etag.in(w.Header()) // a tag that an earlier handler has set counts, as in file_server
	switch {
	case tag != "":
		known := *d.known
		known.etag = tag
		d.known = &known
	case d.known.etag == "" && m.hashes():
		d.hidesTag = true
	}
	if r.Method == http.MethodGet && conditional(r.Header) {
		d.asked = r.Header.Clone() // for serving the request anew if another file is served
	}
	if !chosen {
		d.expect(r, tag)
	}
	if m.inMemory && r.Method == http.MethodGet && !d.encoded {
		file, of := d.chosen()
		if data, ok := m.files.Content(r.Context(), file, of); ok {
			d.content = data
		}
	}
	if m.answers && !d.encoded && d.answer(r) {
		return nil
	}
	m.rewrite.apply(r, repl, uri)
	return d.serve(r, next)
}

// safeMethod reports whether a request only reads a file.
func safeMethod(r *http.Request) bool {
	return r.Method == http.MethodGet || r.Method == http.MethodHead
}

// Interface guards
var (
	_ caddy.Module                = (*Handler)(nil)
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.Validator             = (*Handler)(nil)
	_ caddyfile.Unmarshaler       = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)

// Precompressed files: which representation of a file the file_server behind the
// handler selects.

package metadata

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/encode"
)

// precompression are the settings of file_server that decide which
// precompressed file it serves.
type precompression struct {
	// suffixes are those of the precompressed files, by content coding.
	suffixes map[string]string
	// order is the server's own order of codings.
	order []string
	// accepted has the codings by the value of Accept-Encoding, in the order in which
	// file_server tries them. The map is immutable.
	accepted atomic.Pointer[map[string][]string]
}

// Limits of accepted, because Accept-Encoding is client input: the number of values, and
// the length of one in bytes.
const (
	maxAccepted       = 64
	maxAcceptedLength = 128
)

// acceptedBy returns the codings that a client accepts, the first choice first.
func (p *precompression) acceptedBy(r *http.Request) []string {
	values := r.Header["Accept-Encoding"]
	if len(values) == 0 {
		return nil
	}
	if len(values) > 1 || len(values[0]) > maxAcceptedLength || r.Header["Sec-Websocket-Key"] != nil {
		return encode.AcceptedEncodings(r, p.order)
	}
	known := p.accepted.Load()
	if known != nil {
		if codings, ok := (*known)[values[0]]; ok {
			return codings
		}
	}
	codings := encode.AcceptedEncodings(r, p.order)
	more := map[string][]string{values[0]: codings}
	if known != nil {
		if len(*known) >= maxAccepted {
			return codings
		}
		maps.Copy(more, *known)
	}
	p.accepted.CompareAndSwap(known, &more) // otherwise the next request stores it
	return codings
}

// precompressionOf returns the settings of file_servers, or nil if they differ or have
// formats whose codings cannot be known.
func precompressionOf(servers []fileServer) (common *precompression) {
	for _, server := range servers {
		p := server.precompression()
		if p == nil || common != nil && !p.equals(common) {
			return nil
		}
		common = p
	}
	return common
}

func (p *precompression) equals(other *precompression) bool {
	return maps.Equal(p.suffixes, other.suffixes) && slices.Equal(p.order, other.order)
}

func (s *fileServer) precompression() *precompression {
	p := &precompression{suffixes: make(map[string]string)}
	for format, config := range s.Precompressed {
		module, err := caddy.GetModule("http.precompressed." + format)
		if err != nil {
			return nil
		}
		instance, ok := module.New().(encode.Precompressed)
		// the options of a format may change its coding and suffix
		if !ok || !slices.Contains([]string{"br", "gzip", "zstd"}, format) && !hasNoOptions(config) {
			return nil
		}
		p.suffixes[instance.AcceptEncoding()] = instance.Suffix()
	}
	if len(p.suffixes) > 0 {
		p.order = s.PrecompressedOrder
	}
	return p
}

func hasNoOptions(config json.RawMessage) bool {
	var options map[string]json.RawMessage
	return json.Unmarshal(config, &options) == nil && len(options) == 0
}

// choose determines which representation of the file the next handler selects: the file
// itself, or a precompressed one, which becomes d.selected. ok is false if that cannot
// be known.
func (d *describer) choose(r *http.Request) (ok bool) {
	p := d.handler.precompressed
	if p == nil {
		return len(d.rep.encodings) == 0 && !d.handler.onlyDescribes
	}
	if len(d.rep.encodings) == 0 || len(p.suffixes) == 0 {
		return true
	}
	for _, coding := range p.acceptedBy(r) {
		if p.suffixes[coding] == "" || !slices.Contains(d.rep.encodings, coding) {
			continue
		}
		side := d.sidecarFor(coding)
		if side.absent {
			continue
		}
		if side.record == nil || representationOf(side.record).size < 0 {
			return false
		}
		d.selected = coding
		d.selectedKnown = validators{etag: side.etag, modified: d.rep.modified, lastModified: d.rep.lastModified}
		d.known = &d.selectedKnown
		return true
	}
	return true
}

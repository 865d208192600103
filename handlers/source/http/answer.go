// How an application's answer becomes a record.

package httpsource

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/filewallball/caddy-filewallball/cache"
)

// read converts an answer to a record, and to the response for the client whose
// request caused the load.
func (h *Source) read(resp *http.Response) (loaded cache.Loaded, err error) {
	status := resp.StatusCode
	switch {
	case status < 200: // not a final answer, and no server could send it
		return cache.Loaded{}, fmt.Errorf("status %d", status)
	case status >= 200 && status <= 299:
		loaded.Record, err = h.record(resp)
	case status >= 300 && status <= 399 && status != http.StatusNotModified:
		loaded.Response = h.redirectOf(resp)
		loaded.Private = h.isPrivate(resp)
		return loaded, nil
	default:
		loaded.Response = h.responseOf(resp)
		loaded.Private = h.isPrivate(resp)
		loaded.Record, err = refusal(status)
	}
	if err != nil {
		return cache.Loaded{Response: loaded.Response, Private: loaded.Private}, err
	}
	if !h.IgnoresCacheControl() {
		if loaded.MaxTTL, loaded.NoStore = cacheLimits(resp.Header); loaded.NoStore {
			loaded.NoStoreReason = "no-store"
		}
	}
	return loaded, nil
}

// isPrivate reports whether an answer is for that client alone, and not for
// other requests that waited for the same load: it sets a cookie, or redirects
// to a URI that is not part of the key.
func (h *Source) isPrivate(resp *http.Response) bool {
	return len(resp.Header.Values("Set-Cookie")) > 0 || len(h.IgnoreInKey) > 0 && resp.StatusCode < 500
}

// refusal is the record of a status that is neither success nor redirect.
func refusal(status int) (*cache.Record, error) {
	switch status {
	case http.StatusUnauthorized, http.StatusNotFound, http.StatusGone:
		return cache.Encode(map[string]any{"absent": true, "status": status}, cache.DefaultMaxValueSize)
	case http.StatusForbidden:
		return cache.DeniedRecord(status), nil
	}
	return nil, fmt.Errorf("status %d", status)
}

var errNoObject = fmt.Errorf("%w: body is not a JSON object or null, though it says that it is JSON or begins like it", cache.ErrInvalidRecord)

// record returns the record of a 2xx answer. An answer that is JSON, or looks
// like it, must be an object or null; any other is an error, so that it cannot
// grant access.
func (h *Source) record(resp *http.Response) (*cache.Record, error) {
	if h.Method == http.MethodHead {
		return h.statusRecord(resp)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, h.MaxBody+1))
	if err != nil {
		return nil, fmt.Errorf("reading body: %w", withoutAnswer(err)) // of a trailer
	}
	text := bytes.Trim(body, " \t\r\n")
	tooLarge := int64(len(body)) > h.MaxBody
	switch {
	// what is invisible may have JSON behind it, which was not read
	case !isJSON(resp.Header, text) && !(tooLarge && isBlank(text)):
		return h.statusRecord(resp)
	case tooLarge:
		return nil, fmt.Errorf("%w: body is larger than %d bytes", cache.ErrInvalidRecord, h.MaxBody)
	case string(text) == "null":
		return cache.AbsentRecord(), nil
	case len(text) == 0 || text[0] != '{':
		return nil, errNoObject
	}
	record, err := cache.Decode(string(text), int(h.MaxBody))
	switch {
	case err != nil && !json.Valid(text):
		return nil, errNoObject
	case err != nil:
		return nil, err
	case h.asker.Session && record.Empty():
		return cache.AbsentRecord(), nil // a session without fields
	case record.State() != cache.Found || len(h.CopyHeaders) == 0:
		return record, nil
	}
	return h.withHeaders(record, resp.Header)
}

// statusRecord returns the record of a 2xx answer without a JSON object.
func (h *Source) statusRecord(resp *http.Response) (*cache.Record, error) {
	headers, err := h.copied(resp.Header)
	if err != nil {
		return nil, err
	}
	return cache.Encode(map[string]any{"status": resp.StatusCode, "headers": headers}, int(h.MaxBody))
}

// withHeaders adds the copied headers to a record. They replace its own field
// "headers", because readers rely on it holding headers.
func (h *Source) withHeaders(record *cache.Record, header http.Header) (*cache.Record, error) {
	headers, err := h.copied(header)
	if err != nil {
		return nil, err
	}
	// raw values keep numbers as they were written
	var fields map[string]json.RawMessage
	if err := json.Unmarshal([]byte(record.Text()), &fields); err != nil {
		return nil, fmt.Errorf("decoding body: %w", err)
	}
	if fields["headers"], err = json.Marshal(headers); err != nil {
		return nil, fmt.Errorf("encoding headers: %w", err)
	}
	return cache.Encode(fields, int(h.MaxBody))
}

// copied are the response headers of copy_headers that the answer has.
func (h *Source) copied(header http.Header) (map[string]string, error) {
	headers := make(map[string]string, len(h.CopyHeaders))
	for _, name := range h.CopyHeaders {
		values := header.Values(name)
		if len(values) == 0 {
			continue
		}
		value := strings.Join(values, ",") // as Caddy does
		if !utf8.ValidString(value) {
			return nil, fmt.Errorf("%w: response header %s is not valid UTF-8", cache.ErrInvalidRecord, name)
		}
		headers[name] = value
	}
	return headers, nil
}

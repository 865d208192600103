// Package httpsource is the source http: an application that is asked for
// records. This file reads its answers.
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

// read makes a record or a response for the client of an answer.
func (h *Source) read(resp *http.Response) (loaded cache.Loaded, err error) {
	switch status := resp.StatusCode; {
	case status >= 200 && status <= 299:
		loaded.Record, err = h.record(resp)
	case status == http.StatusUnauthorized, status == http.StatusNotFound, status == http.StatusGone:
		loaded.Record = cache.AbsentRecord()
	case status == http.StatusForbidden:
		loaded.Record = cache.DeniedRecord(status)
	case status >= 300 && status <= 399 && status != http.StatusNotModified:
		loaded.Response = responseOf(resp)
		return loaded, nil
	default:
		err = fmt.Errorf("status %d", status)
	}
	if err != nil {
		return cache.Loaded{}, err
	}
	loaded.MaxTTL, loaded.NoStore = cacheLimits(resp.Header)
	return loaded, nil
}

func responseOf(resp *http.Response) *Response {
	r := &Response{Status: resp.StatusCode, Header: make(http.Header)}
	for _, name := range []string{"Location", "Set-Cookie"} {
		if values := resp.Header.Values(name); len(values) > 0 {
			r.Header[name] = values
		}
	}
	return r
}

// record is what a 2xx answer says.
func (h *Source) record(resp *http.Response) (*cache.Record, error) {
	body, err := io.ReadAll(io.LimitReader(resp.Body, h.MaxBody+1))
	if err != nil {
		return nil, fmt.Errorf("reading body: %w", err)
	}
	text := bytes.Trim(body, " \t\r\n")
	object := len(text) > 0 && text[0] == '{'
	switch {
	case object && int64(len(body)) > h.MaxBody:
		return nil, fmt.Errorf("body is larger than %d bytes", h.MaxBody)
	case object && json.Valid(text), string(text) == "null":
	default:
		return h.statusRecord(resp)
	}
	record, err := cache.Decode(string(text), int(h.MaxBody))
	if err != nil || record.State() != cache.Found || len(h.CopyHeaders) == 0 {
		return record, err
	}
	return h.withHeaders(record, resp.Header)
}

// statusRecord is the record of an answer that says no more than yes.
func (h *Source) statusRecord(resp *http.Response) (*cache.Record, error) {
	headers, err := h.copied(resp.Header)
	if err != nil {
		return nil, err
	}
	return cache.Encode(map[string]any{"status": resp.StatusCode, "headers": headers}, int(h.MaxBody))
}

// withHeaders puts the copied headers into a record. Its own "headers" give
// way: readers count on what stands there being headers.
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

// copied are the response headers that the record keeps, those there are.
func (h *Source) copied(header http.Header) (map[string]string, error) {
	headers := make(map[string]string, len(h.CopyHeaders))
	for _, name := range h.CopyHeaders {
		values := header.Values(name)
		if len(values) == 0 {
			continue
		}
		value := strings.Join(values, ", ")
		if !utf8.ValidString(value) {
			return nil, fmt.Errorf("response header %s is not valid UTF-8", name)
		}
		headers[name] = value
	}
	return headers, nil
}

package httpsource

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
)

// FuzzNoUnreadableAnswerAdmits holds answers against a judgement of its own: who is
// let in has an object that does not refuse, or an answer that neither says that
// it is JSON nor looks like it.
func FuzzNoUnreadableAnswerAdmits(f *testing.F) {
	bodies := []string{
		``, ` `, `{}`, `null`, `{"a":1}`, `{"denied":true}`, `{"denied":false,"a":1}`, `{"denied":true,"denied":false}`, `{"Denied":true,"a":1}`,
		`{"DENIED":403}`, `{"\u0064enied":true}`, `{"absent":true}`, `{"a":{"denied":true}}`, `[{"a":1}]`, `{"a":1}{"a":1}`, `{"a":1} x`,
		`{"denied": true, "risk": NaN}`, `{"a":Infinity}`, `{"a":1,}`, `{'a':1}`, `{a:1}`, `{"a":1`, `{"a":"`, `{"a":01}`, `{"a":1e999999}`,
		"\xef\xbb\xbf{\"a\":1}", "\xff\xfe{\x00}\x00", "\x00{\x00}", "\x00\x00\x00{", "{\x00\"\x00", "{\"a\":\"\xff\"}", "\u200b{\"denied\":true}", "\u00a0{}",
		"// no\n{\"a\":1}", "/* */{\"a\":1}", ")]}',\n{\"a\":1}", "while(1);{}", `"yes"`, `true`, `0`, `-1`, `1.5`, `nul`, `NaN`, `-Infinity`, `undefined`,
		strings.Repeat(`{"a":`, 2000) + `1` + strings.Repeat(`}`, 2000), strings.Repeat(`[`, 11000), `{"_source":"0123456789abcdef"}`, `{"_a":1,"b":2}`,
		`<html>`, `OK`, `nope {"denied":true}`, "\n\n{\"denied\":true}\n", "\v{\"a\":1}", "\x1e{\"a\":1}", "+ADw-", `data: {"denied":true}`,
		"/ *", "false,", "0,", "null\nnull", "f\x00a\x00l\x00s\x00e\x00", `callback({"a":1})`, "'a'", "x\x9c\xab",
	}
	types := []string{"", "application/json", "text/plain", "application/problem+json; charset=utf-8", "text/html", "TEXT/JSON", "application/x-ndjson", "x; json"}
	for i, body := range bodies {
		f.Add([]byte(body), types[i%len(types)], "", uint8(i))
		f.Add([]byte(body), "", "", uint8(0))
		f.Add([]byte(body), "text/plain", "br", uint8(1))
	}
	h := provisioned(f, &Source{URL: "http://app.internal/{id}", MaxBody: 1 << 16}, "")
	f.Fuzz(func(t *testing.T, body []byte, contentType, encoding string, framing uint8) {
		resp := &http.Response{
			StatusCode: 200 + int(framing>>2)%100, Header: make(http.Header), ContentLength: int64(len(body)),
			Body: io.NopCloser(bytes.NewReader(body)),
		}
		cutOff := false
		switch framing % 4 {
		case 1: // of an unknown length
			resp.ContentLength = -1
		case 2: // it ends before its length
			cutOff = true
			resp.ContentLength++
			resp.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body), failing{}))
		case 3:
			resp.Header.Add("Content-Type", "text/plain")
		}
		if contentType != "" {
			resp.Header.Add("Content-Type", contentType)
		}
		if encoding != "" {
			resp.Header.Set("Content-Encoding", encoding)
		}
		loaded, err := h.read(resp)
		if err != nil {
			require.Nil(t, loaded.Record)
			return
		}
		if loaded.Record.State() != cache.Found {
			return
		}
		require.False(t, cutOff, "admitted by a body that was cut off")
		if isPermission(body) {
			return
		}
		require.False(t, declaresJSON(resp.Header), "admitted by %q, which says that it is JSON", body)
		require.False(t, looksLikeJSON(body), "admitted by %q, which looks like JSON", body)
		require.JSONEq(t, `{"status":`+strconv.Itoa(resp.StatusCode)+`,"headers":{}}`, loaded.Record.Text(), "nothing of it is taken for fields")
	})
}

// failing is what a connection that broke reads.
type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("connection broke") }

// isPermission reports whether a body is one JSON object with a field, none of
// which refuses, whatever its case and however often it is there.
func isPermission(body []byte) bool {
	if !utf8.Valid(body) {
		return false
	}
	d := json.NewDecoder(bytes.NewReader(body))
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return false
	}
	some := false
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return false
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return false
		}
		switch lower := strings.ToLower(name.(string)); {
		case strings.HasPrefix(name.(string), "_"):
			continue
		case (lower == "denied" || lower == "absent") && string(value) != "false" && string(value) != "null":
			return false
		}
		some = true
	}
	if _, err := d.Token(); err != nil { // the closing brace
		return false
	}
	_, err := d.Token()
	return some && errors.Is(err, io.EOF)
}

// declaresJSON reports whether one of the content types is of JSON.
func declaresJSON(header http.Header) bool {
	for _, value := range header["Content-Type"] {
		kind, _, err := mime.ParseMediaType(value)
		if err != nil {
			kind = strings.ToLower(value)
		}
		if _, subtype, ok := strings.Cut(kind, "/"); ok && (subtype == "json" || strings.HasSuffix(subtype, "+json") || strings.HasSuffix(subtype, "ndjson")) {
			return true
		}
	}
	return false
}

// looksLikeJSON reports whether a lenient reader could take a body for JSON.
func looksLikeJSON(body []byte) bool {
	text := strings.TrimLeftFunc(string(body), func(c rune) bool {
		return c <= ' ' || c == 0x7f || c == 0xfeff || c == 0x200b || c == 0xa0 || c == utf8.RuneError
	})
	if text == "" {
		return false
	}
	var scalar any
	body = bytes.TrimRight(bytes.ReplaceAll(body, []byte{0}, nil), " \t\r\n,;")
	return strings.ContainsAny(text[:1], `{["`) || strings.HasPrefix(text, "//") || strings.HasPrefix(text, "/*") ||
		json.Unmarshal(body, &scalar) == nil
}

package handlers

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"unicode/utf8"

	"github.com/caddyserver/caddy/v2"
)

// maxPurgeBody is the longest list of keys that is dropped at once, in bytes.
const maxPurgeBody = 1 << 20

// purge drops the records that {"keys": […]} or {"prefix": "…"} names, on
// every node, and answers {"purged": n}: how many there were. A prefix of
// many keys takes its time; when the client leaves, what is left stays.
func purge(w http.ResponseWriter, r *http.Request, app App) error {
	body, err := readBody(w, r, maxPurgeBody)
	if err != nil {
		return err
	}
	keys, prefix, err := whatToPurge(body)
	if err != nil {
		return err
	}
	var purged int
	if prefix != "" {
		purged, err = app.Cache().DeletePrefix(r.Context(), prefix)
	} else if len(keys) > 0 {
		ctx, cancel := bounded(r)
		defer cancel()
		purged, err = app.Cache().Delete(ctx, keys...)
	}
	if err != nil {
		return storeError(err)
	}
	return writeJSON(w, map[string]int{"purged": purged})
}

const purgeWants = `want either {"keys": ["…"]} or {"prefix": "…"}`

// whatToPurge reads the body of a purge: keys, or a prefix that is not empty.
func whatToPurge(body []byte) (keys []string, prefix string, err error) {
	var fields map[string]json.RawMessage
	// the decoder would replace invalid UTF-8, and so name other keys
	if !utf8.Valid(body) || json.Unmarshal(body, &fields) != nil {
		return nil, "", refuse(http.StatusBadRequest, "body is not a JSON object: "+purgeWants)
	}
	for name := range fields {
		if name != "keys" && name != "prefix" {
			return nil, "", unknownField(name)
		}
	}
	if len(fields) != 1 {
		return nil, "", refuse(http.StatusBadRequest, purgeWants)
	}
	if raw, ok := fields["keys"]; ok {
		if json.Unmarshal(raw, &keys) != nil || keys == nil {
			return nil, "", refuse(http.StatusBadRequest, "keys is not a list of strings: "+purgeWants)
		}
		for _, key := range keys {
			if err := checkKey(key); err != nil {
				return nil, "", err
			}
		}
		return keys, "", nil
	}
	if json.Unmarshal(fields["prefix"], &prefix) != nil || prefix == "" {
		return nil, "", refuse(http.StatusBadRequest, "prefix is not a string, or empty, which would drop everything: "+purgeWants)
	}
	return nil, prefix, checkKey(prefix)
}

// unknownField names the field to the client, but not to the log.
func unknownField(name string) error {
	return caddy.APIError{
		HTTPStatus: http.StatusBadRequest,
		Err:        errors.New("unknown field in the body of a purge"),
		Message:    fmt.Sprintf("unknown field %.64q: %s", name, purgeWants),
	}
}

package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"unicode/utf8"

	"github.com/caddyserver/caddy/v2"

	"github.com/filewallball/caddy-filewallball/handlers/lookup"
)

// maxPurgeBody is the longest list of keys that is dropped at once, in bytes.
const maxPurgeBody = 1 << 20

// purge drops the records that {"keys": […]}, {"prefix": "…"} or {"tag": "…"}
// names, on every node, and answers {"purged": n}: how many there were. What
// names many keys takes its time; when the client leaves, what is left stays.
func purge(w http.ResponseWriter, r *http.Request, app lookup.App) error {
	body, err := readBody(w, r, maxPurgeBody)
	if err != nil {
		return err
	}
	what, err := whatToPurge(body)
	if err != nil {
		return err
	}
	var purged int
	switch {
	case what.prefix != "":
		purged, err = app.Cache().DeletePrefix(r.Context(), what.prefix)
	case what.tag != "":
		purged, err = 1, app.Cache().DropTag(r.Context(), what.tag)
	case len(what.keys) > 0:
		ctx, cancel := bounded(r)
		defer cancel()
		purged, err = app.Cache().Delete(ctx, what.keys...)
	}
	if err != nil {
		return storeError(err)
	}
	return writeJSON(w, map[string]int{"purged": purged})
}

const purgeWants = `want one of {"keys": ["…"]}, {"prefix": "…"} and {"tag": "…"}`

// purged is what a purge names: one of these.
type purged struct {
	keys        []string
	prefix, tag string
}

// whatToPurge reads the body of a purge.
func whatToPurge(body []byte) (what purged, err error) {
	var fields map[string]json.RawMessage
	// the decoder would replace invalid UTF-8, and so name other keys
	if !utf8.Valid(body) || json.Unmarshal(body, &fields) != nil {
		return purged{}, refuse(http.StatusBadRequest, "body is not a JSON object: "+purgeWants)
	}
	for name := range fields {
		if name != "keys" && name != "prefix" && name != "tag" {
			return purged{}, unknownField(name)
		}
	}
	if len(fields) != 1 {
		return purged{}, refuse(http.StatusBadRequest, purgeWants)
	}
	if raw, ok := fields["keys"]; ok {
		if json.Unmarshal(raw, &what.keys) != nil || what.keys == nil {
			return purged{}, refuse(http.StatusBadRequest, "keys is not a list of strings: "+purgeWants)
		}
		for _, key := range what.keys {
			if err := checkKey(key); err != nil {
				return purged{}, err
			}
		}
		return what, nil
	}
	if raw, ok := fields["tag"]; ok {
		if json.Unmarshal(raw, &what.tag) != nil || what.tag == "" {
			return purged{}, refuse(http.StatusBadRequest, "tag is not a string, or empty: "+purgeWants)
		}
		return what, checkKey(what.tag)
	}
	if json.Unmarshal(fields["prefix"], &what.prefix) != nil || what.prefix == "" {
		return purged{}, refuse(http.StatusBadRequest, "prefix is not a string, or empty, which would drop everything: "+purgeWants)
	}
	return what, checkKey(what.prefix)
}

// unknownField names the field to the client, but not to the log.
func unknownField(name string) error {
	return caddy.APIError{
		HTTPStatus: http.StatusBadRequest,
		Err:        errors.New("unknown field in the body of a purge"),
		Message:    fmt.Sprintf("unknown field %.64q: %s", name, purgeWants),
	}
}

// The endpoints of one record with the key in the body, which keeps it out of
// access logs: the key of a session often contains its cookie.

package admin

import (
	"encoding/json"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/filewallball/caddy-filewallball/handlers/admin/wire"
	"github.com/filewallball/caddy-filewallball/handlers/lookup"
)

const (
	recordWants = `want {"key": "…"} or {"route": "<name>", "id": "…"}`
	setWants    = `want {"key": "…", "value": {…}}, and optionally "ttl": "1h"`
)

// postGet is getKey with the key in the body, or the identity of a lookup.
func postGet(w http.ResponseWriter, r *http.Request, app lookup.App) error {
	keys, err := keysInBody(r, app)
	if err != nil {
		return err
	}
	return writeRecord(w, r, app, keys...)
}

// postDelete is deleteKey with the key in the body, or the identity of a lookup.
func postDelete(w http.ResponseWriter, r *http.Request, app lookup.App) error {
	keys, err := keysInBody(r, app)
	if err != nil {
		return err
	}
	return dropRecords(w, r, app, keys...)
}

// postSet is putKey with the key, the TTL and the value in the body.
func postSet(w http.ResponseWriter, r *http.Request, app lookup.App) error {
	what, err := recordInBody(r, app.Policy().MaxValueSize, setWants)
	if err != nil {
		return err
	}
	if what.Identity != (wire.Identity{}) {
		return refuse(http.StatusBadRequest, "body has a field that only get and delete take: "+setWants)
	}
	if err := CheckScope("key", what.Key, app.Policy()); err != nil {
		return badRequest(err)
	}
	if what.Value == nil {
		return refuse(http.StatusBadRequest, "value is missing: "+setWants)
	}
	return storeRecord(w, r, app, what.Key, what.TTL, string(what.Value))
}

// keysInBody returns the key in the body, or the keys of the identity in it.
func keysInBody(r *http.Request, app lookup.App) ([]string, error) {
	what, err := recordInBody(r, 0, recordWants)
	switch {
	case err != nil:
		return nil, err
	case what.TTL != nil || what.Value != nil:
		return nil, refuse(http.StatusBadRequest, "body has a field that only set takes: "+recordWants)
	case what.Identity == (wire.Identity{}):
		return []string{what.Key}, badRequest(CheckScope("key", what.Key, app.Policy()))
	case what.Key != "":
		return nil, refuse(http.StatusBadRequest, "body has a key and an identity: "+recordWants)
	}
	return identityKeys(app, &what.Identity)
}

// recordInBody reads a body with a value of at most maxValueSize bytes.
func recordInBody(r *http.Request, maxValueSize int, wants string) (what wire.RecordRequest, err error) {
	// an escaped byte of a key or an identity may take six
	body, err := readBody(r, 6*lookup.MaxIdentity+maxValueSize+16<<10)
	if err != nil {
		return what, err
	}
	// the decoder would replace invalid UTF-8, which would make another key
	if !utf8.Valid(body) || decodeStrictly(body, &what) != nil || namesHaveHalfPairs(body) {
		return what, refuse(http.StatusBadRequest, "body is not a JSON object with the right fields: "+wants)
	}
	return what, nil
}

// namesHaveHalfPairs is hasHalfPair for all fields of an object except value, whose text
// is kept unchanged.
func namesHaveHalfPairs(body []byte) bool {
	var fields map[string]json.RawMessage
	if json.Unmarshal(body, &fields) != nil {
		return true
	}
	for name, raw := range fields {
		if !strings.EqualFold(name, "value") && hasHalfPair(raw) {
			return true
		}
	}
	return false
}

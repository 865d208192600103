// The endpoints of one record whose key is in the body, so that it stands in no
// log of requests: the key of a session is often what its cookie says.

package admin

import (
	"net/http"
	"unicode/utf8"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/handlers/admin/wire"
	"github.com/filewallball/caddy-filewallball/handlers/lookup"
)

const (
	recordWants = `want {"key": "…"}`
	setWants    = `want {"key": "…", "value": {…}}, and as you like "ttl": "1h"`
)

// postGet is getKey with the key in the body.
func postGet(w http.ResponseWriter, r *http.Request, app lookup.App) error {
	key, err := keyInBody(w, r, app.Policy())
	if err != nil {
		return err
	}
	return writeRecord(w, r, app, key)
}

// postDelete is deleteKey with the key in the body.
func postDelete(w http.ResponseWriter, r *http.Request, app lookup.App) error {
	key, err := keyInBody(w, r, app.Policy())
	if err != nil {
		return err
	}
	return dropRecord(w, r, app, key)
}

// postSet is putKey with the key, the TTL and the value in the body.
func postSet(w http.ResponseWriter, r *http.Request, app lookup.App) error {
	what, err := recordInBody(w, r, app.Policy(), app.Policy().MaxValueSize, setWants)
	if err != nil {
		return err
	}
	if what.Value == nil {
		return refuse(http.StatusBadRequest, "value is missing: "+setWants)
	}
	return storeRecord(w, r, app, what.Key, what.TTL, string(what.Value))
}

func keyInBody(w http.ResponseWriter, r *http.Request, policy *lookup.Policy) (string, error) {
	what, err := recordInBody(w, r, policy, 0, recordWants)
	if err != nil {
		return "", err
	}
	if what.TTL != nil || what.Value != nil {
		return "", refuse(http.StatusBadRequest, "body has a field that only set takes: "+recordWants)
	}
	return what.Key, nil
}

// recordInBody reads a body with a value of at most maxValueSize bytes.
func recordInBody(w http.ResponseWriter, r *http.Request, policy *lookup.Policy, maxValueSize int, wants string) (what wire.RecordRequest, err error) {
	// escaped, a byte of the key may become six
	body, err := readBody(w, r, 6*cache.MaxIdentity+maxValueSize+1<<10)
	if err != nil {
		return what, err
	}
	// the decoder would replace invalid UTF-8, and so name other keys
	if !utf8.Valid(body) || decodeStrictly(body, &what) != nil {
		return what, refuse(http.StatusBadRequest, "body is not a JSON object with the right fields: "+wants)
	}
	return what, badRequest(checkScope("key", what.Key, policy))
}

package admin

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"
	"unicode/utf8"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/handlers/admin/wire"
	"github.com/filewallball/caddy-filewallball/handlers/lookup"
)

// maxPurgeBody is the longest list of keys that is dropped at once, in bytes.
const maxPurgeBody = 1 << 20

// purge drops the records that {"keys": […]}, {"prefix": "…"} or {"tag": "…"} names, on
// every node, and answers {"purged": n}: the number of records, or of tags. What was not
// dropped within lookup_timeout is pending, and the answer is 503: {"error": "…",
// "purged": n, "pending": n}. A prefix has no time limit; if the client leaves, it is
// pending as well.
func purge(w http.ResponseWriter, r *http.Request, app lookup.App) error {
	body, err := readBody(r, maxPurgeBody)
	if err != nil {
		return err
	}
	what, err := whatToPurge(body, app.Policy())
	if err != nil {
		return err
	}
	ctx, cancel := invalidationContext(r, app, len(what.Keys))
	defer cancel()
	var purged int
	switch {
	case what.Prefix != "":
		purged, err = app.Cache().DeletePrefix(r.Context(), what.Prefix)
	case what.Tag != "":
		if err = app.Cache().DropTag(ctx, what.Tag); err == nil {
			purged = 1
		}
	case len(what.Keys) > 0:
		purged, err = app.Cache().Delete(ctx, what.Keys...)
	}
	if err != nil {
		return notDone(w, purged, err)
	}
	return writeJSON(w, wire.PurgeReport{Purged: purged})
}

// invalidationContext returns the context of an invalidation of some keys. What
// is not done by its deadline is pending, so a longer wait would gain nothing.
func invalidationContext(r *http.Request, app lookup.App, keys int) (context.Context, context.CancelFunc) {
	wait := cmp.Or(app.Policy().LookupTimeout, cache.DefaultLookupTimeout)
	return context.WithTimeout(r.Context(), min(adminTimeout, wait*time.Duration(1+keys/keysPerWait)))
}

// keysPerWait is the number of keys that one lookup_timeout is enough for.
const keysPerWait = 1000

const logPending = "invalidations are pending"

// notDone answers an invalidation that was not carried out, or only partly.
func notDone(w http.ResponseWriter, purged int, err error) error {
	var pending *cache.PendingError
	if !errors.As(err, &pending) {
		return storeError(err)
	}
	caddy.Log().Named("admin.api").Error(logPending, zap.Int("pending", pending.Undone), zap.Error(pending.Err))
	return writeJSONAs(w, http.StatusServiceUnavailable, "application/json", wire.PendingReport{
		Error: fmt.Sprintf("the store did not drop everything: %d dropped, %d pending. This node uses none of the pending "+
			"records and retries until they are dropped; the log says why", purged, pending.Undone),
		Purged: purged, Pending: pending.Undone,
	})
}

const purgeWants = `want one of {"keys": ["…"]}, {"prefix": "…"} and {"tag": "…"}`

// whatToPurge reads the body of a purge.
func whatToPurge(body []byte, policy *lookup.Policy) (what wire.PurgeRequest, err error) {
	var fields map[string]json.RawMessage
	// the decoder would replace invalid UTF-8, which would make other keys
	if !utf8.Valid(body) || json.Unmarshal(body, &fields) != nil {
		return wire.PurgeRequest{}, refuse(http.StatusBadRequest, "body is not a JSON object: "+purgeWants)
	}
	if fieldsOnce(body) != nil {
		return wire.PurgeRequest{}, refuse(http.StatusBadRequest, "a field is given twice: "+purgeWants)
	}
	for name := range fields {
		if name != "keys" && name != "prefix" && name != "tag" {
			return wire.PurgeRequest{}, unknownField(name)
		}
	}
	if len(fields) != 1 {
		return wire.PurgeRequest{}, refuse(http.StatusBadRequest, purgeWants)
	}
	if raw, ok := fields["keys"]; ok {
		if json.Unmarshal(raw, &what.Keys) != nil || what.Keys == nil || hasHalfPair(raw) {
			return wire.PurgeRequest{}, refuse(http.StatusBadRequest, "keys is not a list of strings: "+purgeWants)
		}
		for _, key := range what.Keys {
			if err := CheckScope("key", key, policy); err != nil {
				return wire.PurgeRequest{}, badRequest(err)
			}
		}
		return what, nil
	}
	if raw, ok := fields["tag"]; ok {
		if json.Unmarshal(raw, &what.Tag) != nil || what.Tag == "" || hasHalfPair(raw) {
			return wire.PurgeRequest{}, refuse(http.StatusBadRequest, "tag is not a string, or empty: "+purgeWants)
		}
		return what, badRequest(checkText("tag", what.Tag))
	}
	if json.Unmarshal(fields["prefix"], &what.Prefix) != nil || what.Prefix == "" || hasHalfPair(fields["prefix"]) {
		return wire.PurgeRequest{}, refuse(http.StatusBadRequest, "prefix is not a string, or empty, which would drop everything: "+purgeWants)
	}
	return what, badRequest(CheckScope("prefix", what.Prefix, policy))
}

// unknownField names the field to the client, but not to the log.
func unknownField(name string) error {
	return caddy.APIError{
		HTTPStatus: http.StatusBadRequest,
		Err:        errors.New("unknown field in the body of a purge"),
		Message:    fmt.Sprintf("unknown field %.64q: %s", name, purgeWants),
	}
}

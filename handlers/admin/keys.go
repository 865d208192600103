// The admin endpoints that list, read, write and drop records.
//
// Keys are complete: they begin with the configured key_prefix. In a path they
// are percent-encoded where that is necessary: % ? # and the space as in any
// URL, and a / beside another one or beside a segment of dots, because Caddy
// redirects // and .. to a shorter path, which would be another key.

package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/handlers/admin/wire"
	"github.com/filewallball/caddy-filewallball/handlers/lookup"
)

const (
	// adminKey is the pattern of the endpoints of one key.
	adminKey = adminBase + "keys/"

	defaultListLimit = 100
	maxListLimit     = 1000
)

// listKeys answers {"keys": [...], "cursor": "…"}: about limit keys with the prefix
// (default: all under key_prefix; limit 100, at most 1000), and the cursor that continues
// the list, empty at the end. Before the end there may be fewer keys, or none.
func listKeys(w http.ResponseWriter, r *http.Request, app lookup.App) error {
	query, err := parameters(r, "prefix", "limit", "cursor")
	if err != nil {
		return err
	}
	prefix, err := scopeOf(query.Get("prefix"), app.Policy())
	if err != nil {
		return err
	}
	limit := defaultListLimit
	if query.Has("limit") {
		limit, err = strconv.Atoi(query.Get("limit"))
		if err != nil || limit < 1 || limit > maxListLimit {
			return refuse(http.StatusBadRequest, fmt.Sprintf("limit is not right: want a number from 1 to %d", maxListLimit))
		}
	}
	ctx, cancel := withTimeout(r)
	defer cancel()
	keys, next, err := app.Cache().Store().Scan(ctx, prefix, query.Get("cursor"), limit)
	switch {
	case err != nil && unavailable(err):
		return storeError(err)
	case err != nil:
		return refuse(http.StatusBadRequest, "cursor is not right: want one that an earlier answer gave")
	}
	keys = slices.DeleteFunc(keys, app.Policy().IsOwn)
	if keys == nil {
		keys = []string{}
	}
	return writeJSON(w, wire.KeyList{Keys: keys, Cursor: next})
}

// getKey answers {"key": …, "ttl_seconds": …, "value": …}, the value as it is
// stored, or as a lookup decodes it where an application stored it in its own format. The TTL is rounded up; -1 is a record that never expires.
func getKey(w http.ResponseWriter, r *http.Request, app lookup.App) error {
	key, err := keyOf(r, app.Policy())
	if err != nil {
		return err
	}
	return writeRecord(w, r, app, key)
}

// writeRecord answers with the first record that is stored under one of these keys.
func writeRecord(w http.ResponseWriter, r *http.Request, app lookup.App, keys ...string) error {
	ctx, cancel := withTimeout(r)
	defer cancel()
	var key string
	var entry cache.Entry
	for _, key = range keys {
		var err error
		if entry, err = app.Cache().Get(ctx, key); errors.Is(err, cache.ErrInvalidRecord) {
			if l := app.Lookups().Decoding(key); l != nil {
				entry, err = l.Records().Get(ctx, key)
			}
		}
		if err != nil {
			return storeError(err)
		}
		if entry.Record != nil {
			break
		}
	}
	if entry.Record == nil {
		return refuse(http.StatusNotFound, "there is no such key")
	}
	ttl := int64(-1)
	if left := entry.TTL(time.Now()); left != cache.NoExpiry {
		ttl = int64((left + time.Second - 1) / time.Second)
	}
	name, err := json.Marshal(key)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	// without the encoder, which would rewrite the value
	_, _ = fmt.Fprintf(w, `{"key":%s,"ttl_seconds":%d,"value":%s}`+"\n", name, ttl, entry.Record.Text())
	return nil
}

// putKey stores the body, a JSON object or null ("known to be absent"), for ttl, by
// default the TTL of the key's family.
func putKey(w http.ResponseWriter, r *http.Request, app lookup.App) error {
	key, err := keyOf(r, app.Policy())
	if err != nil {
		return err
	}
	query, err := parameters(r, "ttl")
	if err != nil {
		return err
	}
	var ttl *string
	if query.Has("ttl") {
		ttl = new(query.Get("ttl"))
	}
	body, err := readBody(r, app.Policy().MaxValueSize)
	if err != nil {
		return err
	}
	return storeRecord(w, r, app, key, ttl, string(body))
}

// storeRecord stores a text under a key, for ttl or, if that is nil, the TTL of the key's
// family.
func storeRecord(w http.ResponseWriter, r *http.Request, app lookup.App, key string, ttl *string, text string) error {
	lives, err := ttlOf(ttl, app.Policy(), key)
	if err != nil {
		return err
	}
	record, err := cache.Decode(text, app.Policy().MaxValueSize)
	if err != nil {
		return caddy.APIError{HTTPStatus: http.StatusBadRequest, Err: err}
	}
	ctx, cancel := withTimeout(r)
	defer cancel()
	if err := app.Cache().Set(ctx, key, record, lives); err != nil {
		return storeError(err)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// deleteKey drops a record on every node, if there is one. See [purge] for the answer
// when the store fails.
func deleteKey(w http.ResponseWriter, r *http.Request, app lookup.App) error {
	key, err := keyOf(r, app.Policy())
	if err != nil {
		return err
	}
	return dropRecords(w, r, app, key)
}

func dropRecords(w http.ResponseWriter, r *http.Request, app lookup.App, keys ...string) error {
	ctx, cancel := invalidationContext(r, app, len(keys))
	defer cancel()
	if n, err := app.Cache().Delete(ctx, keys...); err != nil {
		return notDone(w, n, err)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// keyOf is the key in the request's path.
func keyOf(r *http.Request, policy *lookup.Policy) (string, error) {
	key := strings.TrimPrefix(r.URL.Path, adminKey)
	return key, badRequest(CheckScope("key", key, policy))
}

// ttlOf returns the requested TTL, or else that of the key's family.
func ttlOf(asked *string, policy *lookup.Policy, key string) (time.Duration, error) {
	if asked == nil {
		family, ok := cache.FamilyOf(policy.Families, policy.KeyPrefix, key)
		if !ok {
			return 0, refuse(http.StatusBadRequest, wire.NoFamily)
		}
		return family.TTL, nil
	}
	ttl, err := caddy.ParseDuration(*asked)
	if err != nil || ttl < cache.MinTTL {
		return 0, refuse(http.StatusBadRequest, "ttl is not right: want a duration of at least 1ms, like 500ms, 30s or 1h")
	}
	return ttl, nil
}

// parameters returns the query, which may have only these parameters. An unknown one is
// probably part of a key with a ? that was not encoded.
func parameters(r *http.Request, known ...string) (url.Values, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "query is malformed: want name=value, percent-encoded")
	}
	for name, values := range query {
		if !slices.Contains(known, name) {
			return nil, refuse(http.StatusBadRequest, "unknown parameter: want "+strings.Join(known, ", ")+"; a ? in a key is %3F")
		}
		if len(values) > 1 {
			return nil, refuse(http.StatusBadRequest, name+" is given twice: give it once")
		}
	}
	return query, nil
}

// boolOf returns a parameter that is true or false. Default false.
func boolOf(query url.Values, name string) (bool, error) {
	switch query.Get(name) {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	if query.Has(name) {
		return false, refuse(http.StatusBadRequest, name+" is not right: want true or false")
	}
	return false, nil
}

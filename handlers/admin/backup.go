package admin

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/handlers/lookup"
)

// Trailers of a backup. They show that it is complete.
const (
	trailerKeys    = "X-Keys"    // how many records it has
	trailerTags    = "X-Tags"    // how many lines of tags
	trailerSkipped = "X-Skipped" // how many values were left out, because they are no records
)

const logBackupFailed = "backup ended early"

// backup answers NDJSON: {"key": …, "ttl_ms": …, "expires_at": …, "value": …}
// for each record whose key has the prefix, and with tags=true before them
// {"tag": …, "key": …, "ttl_ms": …, "expires_at": …} for each tag of a record. The value
// is the stored text. A text with line breaks or surrounding space is in the string
// value_text instead, which keeps it unchanged. expires_at is in milliseconds of Unix
// time; a record without it never expires. Records are in no order, and a key may rarely
// occur twice.
//
// A backup that ends early has no trailers and an incomplete encoding, so that clients
// notice it.
func backup(w http.ResponseWriter, r *http.Request, app lookup.App) error {
	query, err := parameters(r, "prefix", "tags")
	if err != nil {
		return err
	}
	prefix, err := scopeOf(query.Get("prefix"), app.Policy())
	if err != nil {
		return err
	}
	tags, err := boolOf(query, "tags")
	if err != nil {
		return err
	}
	// later, the status can no longer be changed
	if err := ping(r, app); err != nil {
		return err
	}
	for _, name := range []string{trailerKeys, trailerTags, trailerSkipped} {
		w.Header().Add("Trailer", name)
	}
	b := backupWriter{lines: startLines(w), policy: app.Policy(), prefix: prefix}
	b.withTags = tags
	err = b.records(r, app.Cache().Store())
	if err == nil {
		err = b.flush()
	}
	if err != nil {
		if r.Context().Err() == nil {
			caddy.Log().Named("admin.api").Error(logBackupFailed, zap.Error(err))
		}
		panic(http.ErrAbortHandler) // which leaves the answer incomplete
	}
	w.Header().Set(trailerKeys, strconv.Itoa(b.keysWritten))
	w.Header().Set(trailerTags, strconv.Itoa(b.tagsWritten))
	w.Header().Set(trailerSkipped, strconv.Itoa(b.skipped))
	return nil
}

// backupWriter writes the lines of a backup.
type backupWriter struct {
	lines
	policy *lookup.Policy
	prefix string
	// withTags writes a line for each tag of a record before the record.
	withTags bool

	keysWritten, tagsWritten, skipped int
}

func (b *backupWriter) records(r *http.Request, store cache.Store) error {
	for listed, err := range store.Records(r.Context(), b.prefix) {
		switch {
		case err != nil:
			return err
		case b.policy.IsOwn(listed.Key):
			continue
		case listed.Err != nil, !utf8.ValidString(listed.Key): // JSON cannot express such a key
			b.skipped++
			continue
		}
		ttl, ok := backupTTL(listed.Expires)
		if !ok {
			continue
		}
		key, err := json.Marshal(listed.Key)
		if err != nil {
			return err
		}
		if err := b.tags(listed.Record, key, ttl); err != nil {
			return err
		}
		name, value := "value", listed.Record.Text()
		if !oneLine(value) {
			text, err := json.Marshal(value)
			if err != nil {
				return err
			}
			name, value = "value_text", string(text)
		}
		// by hand, because the encoder would rewrite the value
		if _, err := fmt.Fprintf(b, `{"key":%s,%s,"%s":%s}`+"\n", key, ttl, name, value); err != nil {
			return err
		}
		b.keysWritten++
	}
	return nil
}

func (b *backupWriter) tags(record *cache.Record, key []byte, ttl string) error {
	if !b.withTags {
		return nil
	}
	for _, tag := range record.Tags() {
		name, err := json.Marshal(tag.Name)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(b, `{"tag":%s,"key":%s,%s}`+"\n", name, key, ttl); err != nil {
			return err
		}
		b.tagsWritten++
	}
	return nil
}

// backupTTL returns the fields with the expiry of a record; ok is false if it has
// expired.
func backupTTL(expires int64) (fields string, ok bool) {
	if expires == 0 {
		return `"ttl_ms":-1`, true
	}
	left := time.Until(time.Unix(0, expires))
	if left <= 0 {
		return "", false
	}
	return fmt.Sprintf(`"ttl_ms":%d,"expires_at":%d`, inMilliseconds(int64(left)), inMilliseconds(expires)), true
}

// inMilliseconds rounds nanoseconds up.
func inMilliseconds(ns int64) int64 {
	ms := ns / int64(time.Millisecond)
	if ns%int64(time.Millisecond) > 0 {
		ms++
	}
	return ms
}

// oneLine reports whether a record's text can be part of a line of JSON unchanged.
func oneLine(text string) bool {
	return !strings.ContainsAny(text, "\r\n") && strings.Trim(text, " \t") == text
}

// Tags of records: names under which many records are dropped together.
//
// A tag is one small value in the store, its version: a random text. A record
// notes the version that each of its tags had when it was filled, in the
// reserved field "_tags". The record counts as long as all of these are
// current. So dropping a tag is one write, whatever number of records bear it.

package cache

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/tidwall/gjson"
)

// tagsField holds the versions of a record's tags: {"user:1": "X3…"}.
const tagsField = "_tags"

// RecordTag is a tag that a record bears, with the version it was filled under.
type RecordTag struct {
	// Name is what [TagName] makes of the tag.
	Name    string
	Version string
}

// longTag is the length in bytes above which a tag's hash stands for it.
const longTag = 256

// TagName is what stands for a tag in records and in the store: the tag, or a
// hash of one that is long, has a brace in it or is no valid UTF-8. The name of
// a name is the name.
func TagName(tag string) string {
	if len(tag) <= longTag && !strings.ContainsAny(tag, "{}") && utf8.ValidString(tag) {
		return tag
	}
	sum := sha256.Sum256([]byte(tag))
	return hex.EncodeToString(sum[:])
}

// Tags are the tags that the record bears. A record whose tags cannot be read
// has one that is never current.
func (r *Record) Tags() []RecordTag { return r.tags }

// unreadableTags is what a record bears whose tags cannot be read: no version
// is ever "".
var unreadableTags = []RecordTag{{}}

// readTags finds the tags in the text of a JSON object.
func readTags(text string) []RecordTag {
	value := member(gjson.Parse(text), tagsField)
	if !value.Exists() {
		return nil
	}
	if !value.IsObject() {
		return unreadableTags
	}
	var tags []RecordTag
	readable := true
	value.ForEach(func(name, version gjson.Result) bool {
		readable = version.Type == gjson.String && version.Str != ""
		tags = append(tags, RecordTag{name.Str, version.Str})
		return readable
	})
	if !readable {
		return unreadableTags
	}
	return tags
}

// WithTags returns the record with the versions of tags, by their names.
func (r *Record) WithTags(versions map[string]string) *Record {
	if len(versions) == 0 {
		return r
	}
	text := r.text
	if strings.Trim(text, blanks) == "null" {
		text = `{"absent":true}`
	}
	value, _ := json.Marshal(versions) // a map of strings
	tagged := &Record{
		text: withField(text, tagsField, string(value)), state: r.state, status: r.status, expires: r.expires,
		origin: r.origin, sourceID: r.sourceID, ttl: r.ttl,
	}
	for _, name := range slices.Sorted(maps.Keys(versions)) {
		tagged.tags = append(tagged.tags, RecordTag{name, versions[name]})
	}
	tagged.memo.Store(r.memo.Load())
	return tagged
}

// Tags of records: names under which many records are dropped together.
//
// A tag is one small value in the store, its version: a random text. A record
// notes, in the reserved field "_tags", the version that each of its tags had
// when it was filled. The record is valid as long as all these versions are
// current. So dropping a tag is one write, whatever the number of records that
// bear it.

package cache

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/tidwall/gjson"
)

// tagsField holds the versions of a record's tags: {"user:1": "X3…"}.
const tagsField = "_tags"

// RecordTag is a tag of a record, with the version that it had when the record
// was filled.
type RecordTag struct {
	// Name is the [TagName] of the tag.
	Name    string
	Version string
}

// longTag is the length in bytes above which a tag is replaced by its hash.
const longTag = 256

// TagName is what stands for a tag in records and in the store: the tag itself,
// or a hash of a tag that is long, has a brace in it or is not valid UTF-8. The
// TagName of a TagName is the same text.
func TagName(tag string) string {
	if len(tag) <= longTag && !strings.ContainsAny(tag, "{}") && utf8.ValidString(tag) {
		return tag
	}
	sum := sha256.Sum256([]byte(tag))
	return hex.EncodeToString(sum[:])
}

// Tags returns the tags of the record. A record whose tags cannot be read has
// one that is never current.
func (r *Record) Tags() []RecordTag {
	switch {
	case !r.tagged:
		return nil
	case r.form == outlined:
		return r.outline().tags
	}
	return readTags(r.Text())
}

func (r *Record) setTags(tags []RecordTag) { r.outline().tags, r.tagged = tags, len(tags) > 0 }

// unreadableTags are the tags of a record whose tags cannot be read. No version
// is ever "".
var unreadableTags = []RecordTag{{}}

// readTags finds the tags in the text of a JSON object.
func readTags(text string) []RecordTag {
	value := topField(text, tagsField)
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

// WithTags returns the record with the versions of its tags, by TagName.
func (r *Record) WithTags(versions map[string]string) *Record {
	if len(versions) == 0 {
		return r
	}
	text := r.Text()
	if strings.Trim(text, blanks) == "null" {
		text = `{"absent":true}`
	}
	value, _ := json.Marshal(versions) // a map of strings always marshals
	tags := make([]RecordTag, 0, len(versions))
	for _, name := range slices.Sorted(maps.Keys(versions)) {
		tags = append(tags, RecordTag{name, versions[name]})
	}
	tagged := r.withText(withField(text, tagsField, string(value)))
	tagged.setTags(tags)
	return tagged
}

// tagsIDs numbers the TagsIDs of this process.
var tagsIDs struct {
	mu     sync.Mutex
	named  map[string]uint32
	latest uint32
}

// newTagsID returns the number of a TagsID, or a new one where that is empty. It
// returns 0, which is no number, once there are no more.
func newTagsID(name string) uint32 {
	t := &tagsIDs
	t.mu.Lock()
	defer t.mu.Unlock()
	if id := t.named[name]; id != 0 {
		return id
	}
	if t.latest == math.MaxUint32 {
		return 0
	}
	t.latest++
	if name != "" {
		if t.named == nil {
			t.named = make(map[string]uint32)
		}
		t.named[name] = t.latest
	}
	return t.latest
}

// bears reports whether a record bears all tags that this lookup gives it. The record
// stores that it does, so that later hits do not evaluate the tags.
func (l *Lookup) bears(req Request, record *Record) bool {
	if l.tagsID != 0 && record.bears.Load() == l.tagsID {
		return true
	}
	for _, tag := range l.tags(req, record) {
		name := TagName(tag)
		if !slices.ContainsFunc(record.Tags(), func(t RecordTag) bool { return t.Name == name }) {
			return false
		}
	}
	record.bears.Store(l.tagsID)
	return true
}

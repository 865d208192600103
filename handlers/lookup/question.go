// One key, one question: two lookups must not use each other's records.

package lookup

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/filewallball/caddy-filewallball/cache"
)

// Fingerprinter is a source whose fingerprint is a text with all of its configuration
// that can change its answers. The text may contain secrets: it is only used as the
// input of a hash.
type Fingerprinter interface{ Fingerprint() string }

// Varying is a source that is sent more of a request than its identity.
type Varying interface {
	// RequestTemplates are the templates of these values. Each request has the values
	// in [cache.Request.Values], and they are part of the key.
	RequestTemplates() []string
	// IgnoredInKey reports whether one answer serves all values of a template, so that
	// they are not part of the key.
	IgnoredInKey(i int) bool
}

// question is what a lookup asks, and how it reads what is stored. Two lookups
// whose keys can be equal must have equal questions.
type question struct {
	// sourceID is the fingerprint of the source, or "" without one.
	sourceID string
	// family is the kind of records.
	family string
	hash   bool
	parts  int // of the identity
	// decoding is how values are read: "" as JSON records.
	decoding string
}

// sourceIDOf returns the fingerprint of a source, as records have it in "_source".
// description is the part of the source's configuration that can change its answers.
func (l *Lookup) sourceIDOf(name, description string, hash bool) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %t %d", name, description, hash, len(l.ID)))
	return hex.EncodeToString(sum[:8])
}

// sourcePlaceholder stands in a key for the fingerprint of the source, so that
// lookups that ask something else have other keys.
const sourcePlaceholder = "{source}"

// differsFrom describes how two questions differ; "" means that they are equal.
func (q question) differsFrom(p question) string {
	switch {
	case (q.sourceID == "") != (p.sourceID == ""):
		return "only one of them has a source"
	case q.sourceID != p.sourceID && q.hash == p.hash && q.parts == p.parts:
		return "they have different sources"
	case q.hash != p.hash:
		return "only one of them hashes identities"
	case q.parts != p.parts:
		return "their identities have different numbers of parts"
	case q.family != p.family:
		return "they find records of different kinds"
	case q.decoding != p.decoding:
		return "they read values in different formats"
	}
	return ""
}

// asked describes a lookup of a configuration.
type asked struct {
	place    string // names the lookup in an error
	key      keyTemplate
	question question
	keeping  keeping
	signed   bool // whether clients cannot choose its identities
	origin   origin
	gated    bool // whether records must meet requirements
	exact    []patternItem
}

// conflict returns an error if two lookups share keys but ask different questions.
func (a *asked) conflict(b *asked) error {
	if a.isApartFromSigned(b) || b.isApartFromSigned(a) {
		return nil
	}
	why := a.question.differsFrom(b.question)
	if why == "" {
		return a.mixes(b)
	}
	if !a.key.overlaps(&b.key) {
		return nil
	}
	// the keys of an application are changed there as well
	changed, also := a, ""
	switch {
	case a.question.decoding == "":
	case b.question.decoding == "":
		changed = b
	default:
		also = ", and its application the same prefix"
	}
	return &ConflictError{fmt.Sprintf("%s and %s can look up the same key, but %s, so one would use the records of the other: "+
		"give one of them keys of its own, like: key %s:{id}%s", b.place, a.place, why, suggestedKey(changed), also)}
}

// ConflictError is the error of two lookups of a configuration that share keys but ask
// different questions.
type ConflictError struct{ text string }

func (e *ConflictError) Error() string { return e.text }

// keeping is how a lookup stores the answers of its source.
type keeping struct {
	ttl time.Duration
	// cacheControl is what it makes of the Cache-Control of an answer.
	cacheControl string
	tags         string
}

// differsInKeeping returns the options by which two lookups that share the answers of
// their source store them differently. An answer is stored as the lookup that asked
// stores it.
func (a *asked) differsInKeeping(b *asked) (options []string) {
	if a.question.sourceID == "" || a.question != b.question || a.keeping == b.keeping || !a.key.overlaps(&b.key) {
		return nil
	}
	if a.keeping.ttl != b.keeping.ttl {
		options = append(options, "ttl")
	}
	if a.keeping.cacheControl != b.keeping.cacheControl {
		options = append(options, "cache_control")
	}
	if a.keeping.tags != b.keeping.tags {
		options = append(options, "tag")
	}
	return options
}

// isApartFromSigned reports whether b finds sessions in an application's own
// format by identities that the application signed, so that no client can choose
// one that names a record of a: an upload, or what has a key that begins with
// more text than those of b.
func (a *asked) isApartFromSigned(b *asked) bool {
	if b.question.decoding == "" || !b.signed {
		return false
	}
	more, ok := strings.CutPrefix(a.key.begins(), b.key.begins())
	return a.question.family == cache.UploadProgress || ok && more != ""
}

// sameAs reports whether two lookups have the same keys and questions, like those of a
// snippet that several sites import.
func (a *asked) sameAs(b *asked) bool {
	return a.question == b.question && a.signed == b.signed && a.origin == b.origin && a.gated == b.gated && slices.Equal(a.key.pattern(), b.key.pattern())
}

// suggestedKey returns the beginning of a key of its own for a lookup, made of its name.
func suggestedKey(a *asked) string {
	_, name, _ := strings.Cut(a.place, "'")
	name, _, _ = strings.Cut(name, "'")
	words := strings.FieldsFunc(name, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '_' || r == '.')
	})
	if len(words) == 0 {
		return "another-name"
	}
	return strings.Join(words, "-")
}

// overlaps reports whether two templates can make the same key. In doubt it
// returns true.
func (k *keyTemplate) overlaps(other *keyTemplate) bool { return meet(k.pattern(), other.pattern()) }

// patternItem is one byte of a key, or any text.
type patternItem struct {
	c       byte
	digit   bool // the byte is a hex digit
	any     bool
	noColon bool // the text has no colon
}

func (k *keyTemplate) pattern() []patternItem {
	var items []patternItem
	for _, s := range k.segments {
		if !s.isText() {
			items = append(items, patternItem{any: true})
			continue
		}
		for i := range len(s.text) {
			items = append(items, patternItem{c: s.text[i]})
		}
	}
	if k.suffix {
		items = append(items, patternItem{any: true})
	}
	return items
}

// touchesOwn reports whether keys could be those of the plugin itself.
func (k *keyTemplate) touchesOwn(prefix string) bool {
	return strings.HasPrefix(k.begins(), prefix+cache.OwnPrefix)
}

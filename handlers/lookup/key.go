// The keys of records.

package lookup

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/caddyserver/caddy/v2"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/handlers/template"
)

// keyTemplate makes keys: fixed texts, the identity or its parts, and other
// placeholders of a request.
type keyTemplate struct {
	segments []keySegment
	hash     bool // the identity is hashed
	// foreign reports whether an application of its own makes the keys: an identity
	// stands in them as it is, however long.
	foreign bool
	// varies reports whether the template has placeholders of a request.
	varies bool
	// suffix reports whether a hash of further values of the request follows.
	suffix bool
}

// keySegment is one of: a fixed text, the identity (part 0), a part of it (from
// 1 on), another placeholder.
type keySegment struct {
	text  string
	part  int // -1: not the identity
	value *template.Template
	// separators are the characters besides "%" and ":" that are percent-encoded in a
	// part or a value, because they separate it from its neighbours.
	separators string
}

// newKeyTemplate reads the template of a key. prefix goes in front as it is.
// parts is how many parts the identity has.
func newKeyTemplate(prefix, text string, parts int, hash bool) (keyTemplate, error) {
	k := keyTemplate{hash: hash}
	if !utf8.ValidString(text) || strings.IndexFunc(text, unicode.IsControl) >= 0 {
		return k, fmt.Errorf("key '%q' has a control character or is not valid UTF-8", text)
	}
	k.add(prefix)
	whole, seen := false, make(map[int]bool)
	for rest := text; rest != ""; {
		before, name, after, found, err := template.NextPlaceholder(rest)
		if err != nil {
			return k, fmt.Errorf("key '%s': %w", text, err)
		}
		k.add(before)
		if rest = after; !found {
			break
		}
		kind, _, _ := strings.Cut(name, ".")
		switch {
		case name == "id":
			whole = true
			k.segments = append(k.segments, keySegment{})
		case kind == "id":
			n, err := strconv.Atoi(strings.TrimPrefix(name, "id."))
			if err != nil || n < 1 || n > parts {
				return k, fmt.Errorf("key '%s': {%s} is not a part of the identity, which has %d", text, name, parts)
			}
			seen[n] = true
			k.segments = append(k.segments, keySegment{part: n})
		case kind == "env", kind == "file", kind == "system":
			value, err := caddy.NewReplacer().ReplaceOrErr("{"+name+"}", true, true)
			if err != nil {
				return k, fmt.Errorf("key '%s': %w", text, err)
			}
			k.add(value)
		default:
			value := template.New("{" + name + "}")
			k.segments = append(k.segments, keySegment{part: -1, value: &value})
			k.varies = true
		}
	}
	if !whole && len(seen) < parts {
		return k, fmt.Errorf("key '%s' has no {id}, so every identity would share one record: write it where the identity goes", text)
	}
	if err := k.separateValues(); err != nil {
		return k, fmt.Errorf("key '%s': %w", text, err)
	}
	return k, nil
}

// separateValues ensures that a value in the key never runs into its neighbour. A colon
// between two values is enough, because it is encoded in values. If another text stands
// between them, its first character is encoded in both.
func (k *keyTemplate) separateValues() error {
	for i := range k.segments {
		if k.segments[i].isText() || k.isHash(i) {
			continue
		}
		switch {
		case i+1 == len(k.segments):
		case !k.segments[i+1].isText():
			next := k.segments[i+1]
			if sameTwice := next.part >= 0 && next.part == k.segments[i].part; !k.isHash(i+1) && !sameTwice {
				return errors.New("values of two placeholders would run into each other: write a colon between them")
			}
		case i+2 < len(k.segments) && !k.isHash(i+2) && !strings.Contains(k.segments[i+1].text, ":"):
			first, _ := utf8.DecodeRuneInString(k.segments[i+1].text)
			for _, neighbour := range []int{i, i + 2} {
				k.segments[neighbour].separators += string(first)
			}
		}
	}
	return nil
}

// isHash reports whether a segment is the hash of an identity, whose length is
// always the same.
func (k *keyTemplate) isHash(i int) bool { return k.hash && k.segments[i].part >= 0 }

func (k *keyTemplate) add(text string) {
	if text == "" {
		return
	}
	if n := len(k.segments); n > 0 && k.segments[n-1].isText() {
		k.segments[n-1].text += text
		return
	}
	k.segments = append(k.segments, keySegment{text: text, part: -1})
}

func (s keySegment) isText() bool { return s.part < 0 && s.value == nil }

// begins is the text that all keys begin with.
func (k *keyTemplate) begins() string {
	if len(k.segments) > 0 && k.segments[0].isText() {
		return k.segments[0].text
	}
	return ""
}

// key returns the key of an identity. keyID replaces the identity in the key, unless it
// is "". values are further values that become part of the key.
func (k *keyTemplate) key(r *http.Request, repl *caddy.Replacer, keyID string, id Identified, values []string) (string, error) {
	if keyID == "" {
		keyID = id.ID
	}
	keyID = k.identity(keyID)
	if len(k.segments) == 2 && k.segments[1].part == 0 && k.segments[0].isText() && values == nil {
		return k.segments[0].text + keyID, nil // the form of most keys
	}
	var b strings.Builder
	for _, s := range k.segments {
		switch {
		case s.value != nil:
			value := s.value.Expand(r, repl, "")
			// the values of placeholders are client input, like the identity
			if err := cache.CheckIdentity(value); err != nil {
				return "", err
			}
			b.WriteString(s.escape(value))
		case s.part == 0:
			b.WriteString(keyID)
		case s.part > 0:
			b.WriteString(k.partOf(id, s))
		default:
			b.WriteString(s.text)
		}
	}
	if values != nil {
		b.WriteByte(':')
		b.WriteString(hashValues(values))
	}
	return b.String(), nil
}

// identity returns the text of an identity in a key. An empty identity, which
// on_anonymous ask looks up, is always hashed: no other identity has that text.
func (k *keyTemplate) identity(id string) string {
	if k.foreign && id != "" {
		return id
	}
	if id == "" && !k.hash {
		return "sha256:" + cache.KeyIdentity(id, true)
	}
	return cache.KeyIdentity(id, k.hash)
}

// partOf returns the text of a part of an identity in a key.
func (k *keyTemplate) partOf(id Identified, s keySegment) string {
	part := id.ID
	if id.Parts != nil {
		part = id.Parts[s.part-1]
	}
	if k.hash {
		return cache.KeyIdentity(part, true)
	}
	return s.escape(cache.KeyIdentity(part, false))
}

// escape escapes a value so that it cannot run into its neighbours in a key.
func (s keySegment) escape(value string) string {
	if !strings.ContainsAny(value, "%:"+s.separators) {
		return value
	}
	var b strings.Builder
	for _, c := range value { // which is valid UTF-8
		if c != '%' && c != ':' && !strings.ContainsRune(s.separators, c) {
			b.WriteRune(c)
			continue
		}
		for _, octet := range []byte(string(c)) {
			fmt.Fprintf(&b, "%%%02X", octet)
		}
	}
	return b.String()
}

// hashValues is a hash of values of a request, the first 128 bits of SHA-256 in
// hex. No two lists have the same input.
func hashValues(values []string) string {
	h := sha256.New()
	var length [8]byte
	for _, value := range values {
		binary.BigEndian.PutUint64(length[:], uint64(len(value)))
		h.Write(length[:])
		h.Write([]byte(value))
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

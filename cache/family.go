package cache

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Family is a kind of record, with the form of its keys and its TTL.
type Family struct {
	Name string
	// KeyTemplate is the default key, with {id} in place of the identity.
	KeyTemplate string
	TTL         time.Duration
}

// The families, by name.
const (
	FileMeta       = "file_meta"
	Session        = "session"
	UploadProgress = "upload_progress"
)

// Families lists the families with their default keys and TTLs.
func Families() []Family {
	return []Family{
		{Name: FileMeta, KeyTemplate: "file:meta:{id}", TTL: time.Hour},
		{Name: Session, KeyTemplate: "session:user:{id}", TTL: 24 * time.Hour},
		{Name: UploadProgress, KeyTemplate: "temp:upload:progress:{id}", TTL: 10 * time.Minute},
	}
}

// FamilyNames lists the names of the families, for messages.
func FamilyNames() []string {
	var names []string
	for _, f := range Families() {
		names = append(names, f.Name)
	}
	return names
}

// FamilyOf finds the family whose default key, after keyPrefix, matches a key. ok
// is false where there is none.
func FamilyOf(families []Family, keyPrefix, key string) (f Family, ok bool) {
	rest, ok := strings.CutPrefix(key, keyPrefix)
	if !ok {
		return Family{}, false
	}
	i := slices.IndexFunc(families, func(f Family) bool {
		before, after, _ := strings.Cut(f.KeyTemplate, IDPlaceholder)
		return strings.HasPrefix(rest, before) && strings.HasSuffix(rest, after) &&
			len(rest) > len(before)+len(after)
	})
	if i < 0 {
		return Family{}, false
	}
	return families[i], true
}

// KeyTemplate is the text of a key before, between and after the places of the
// identity.
type KeyTemplate []string

// ParseKeyTemplate splits a template at {id}, of which it must have at least one.
// The rest must be printable UTF-8.
func ParseKeyTemplate(template string) (KeyTemplate, error) {
	if !utf8.ValidString(template) || strings.IndexFunc(template, unicode.IsControl) >= 0 {
		return nil, fmt.Errorf("key template %q has a control character or is not valid UTF-8", template)
	}
	parts := strings.Split(template, IDPlaceholder)
	if len(parts) < 2 {
		return nil, fmt.Errorf("key template %q has no %s: every identity would share one record", template, IDPlaceholder)
	}
	return parts, nil
}

// Key puts an identity, as [KeyIdentity] returns it, into the template.
func (t KeyTemplate) Key(id string) string {
	if len(t) == 2 {
		return t[0] + id + t[1]
	}
	return strings.Join(t, id)
}

// IDPlaceholder stands for the identity in key templates.
const IDPlaceholder = "{id}"

const (
	// MaxIdentity is the longest identity that is looked up, in bytes.
	MaxIdentity = 8 << 10
	// hashIdentityFrom is the length in bytes above which a key always holds the
	// identity's hash.
	hashIdentityFrom = 512
)

// ErrMalformedIdentity says that an identity is too long, has a control
// character or is not valid UTF-8. It reaches neither the store nor a source.
var ErrMalformedIdentity = errors.New("malformed identity")

// CheckIdentity returns an error if an identity, which is client input, may not be
// looked up. The error wraps [ErrMalformedIdentity] and does not repeat the
// identity.
func CheckIdentity(id string) error { return CheckValue(id, MaxIdentity) }

// CheckValue is [CheckIdentity] for another value of a request, which may have so many
// bytes.
func CheckValue(id string, most int) error {
	if len(id) > most {
		return fmt.Errorf("%w: longer than %d bytes", ErrMalformedIdentity, most)
	}
	ascii := true
	for i := 0; i < len(id); i++ {
		switch b := id[i]; {
		case b < 0x20 || b == 0x7f:
			return fmt.Errorf("%w: it has a control character", ErrMalformedIdentity)
		case b >= utf8.RuneSelf:
			ascii = false
		}
	}
	if ascii {
		return nil
	}
	if !utf8.ValidString(id) {
		return fmt.Errorf("%w: it is not valid UTF-8", ErrMalformedIdentity)
	}
	if strings.IndexFunc(id, unicode.IsControl) >= 0 {
		return fmt.Errorf("%w: it has a control character", ErrMalformedIdentity)
	}
	return nil
}

// hashedIdentityPrefix begins the hash of an identity in a key whose other
// identities are not hashed.
const hashedIdentityPrefix = "sha256:"

// KeyIdentity returns the text that stands for an identity in a key. With hash,
// that is the hex SHA-256 of the identity. Without hash, it is the identity
// itself, or "sha256:<hex>" where the identity has more than 512 bytes or begins
// with "sha256:". So two identities never share a key.
func KeyIdentity(id string, hash bool) string {
	if !hash && len(id) <= hashIdentityFrom && !strings.HasPrefix(id, hashedIdentityPrefix) {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	text := hex.EncodeToString(sum[:])
	if hash {
		return text
	}
	return hashedIdentityPrefix + text
}

// escapeIdentityPart escapes a part, so that joined parts can be told apart.
var escapeIdentityPart = strings.NewReplacer("%", "%25", ":", "%3A")

// JoinIdentity makes one identity of several parts. They are joined by ":", with
// "%" and ":" inside a part percent-encoded, so that two different lists of the
// same length never make the same identity. A single part is not changed.
func JoinIdentity(parts []string) string {
	if len(parts) == 1 {
		return parts[0]
	}
	escaped := make([]string, len(parts))
	for i, part := range parts {
		escaped[i] = escapeIdentityPart.Replace(part)
	}
	return strings.Join(escaped, ":")
}

package redis

import (
	"crypto/rand"
	"strconv"
	"strings"
	"sync"

	"github.com/filewallball/caddy-filewallball/cache"
)

// ownPrefix begins the keys of the store that are not records.
const ownPrefix = cache.OwnPrefix

// slotCount is how many hash slots a cluster has.
const slotCount = 16384

// leaseKeys names leases so that each hashes to the slot of its record, because
// a script may only touch keys of one slot. Redis hashes the text between the
// first { and the next }, if it is not empty, or else the whole key.
type leaseKeys struct {
	own    string // what all of the store's own keys begin with
	prefix string // and those of leases
	// slotTags returns a short text for each slot that hashes to it.
	slotTags func() []string
}

func newLeaseKeys(keyPrefix string) *leaseKeys {
	if strings.ContainsAny(keyPrefix, "{}") {
		// braces in the prefix would be taken for the hash tag
		keyPrefix = ""
	}
	own := keyPrefix + ownPrefix
	return &leaseKeys{own: own, prefix: own + "lease:", slotTags: sync.OnceValue(makeSlotTags)}
}

// of returns the key of the lease of a key. Two keys that differ only in their
// hash tag may share a lease: one load may then wait for the other, or be
// refused its fill.
func (l *leaseKeys) of(key string) string {
	switch {
	case slotTagOf(key) != "":
		return l.prefix + key
	case key != "" && !strings.Contains(key, "}"):
		return l.prefix + "{" + key + "}"
	}
	return l.prefix + "{" + l.slotTag(slotOf(key)) + "}" + key
}

// noteOf is the key of the note on how the last load of a key ended, in the slot
// of the key.
func (l *leaseKeys) noteOf(key string) string { return l.noteOn(l.of(key)) }

// noteOn is noteOf for the key of the lease.
func (l *leaseKeys) noteOn(lease string) string {
	return l.notePrefix() + strings.TrimPrefix(lease, l.prefix)
}

// notePrefix begins the keys of all notes.
func (l *leaseKeys) notePrefix() string { return l.own + "ended:" }

// has reports whether a key belongs to the store itself and is not a record.
func (l *leaseKeys) has(key string) bool { return strings.HasPrefix(key, l.own) }

// canaryPrefix begins the keys of canaries, which are written to see whether
// writes are reported.
func (l *leaseKeys) canaryPrefix() string { return l.own + "canary:" }

// ofTag returns the key of a tag, given its [cache.TagName].
func (l *leaseKeys) ofTag(name string) string { return l.tagPrefix() + "{" + name + "}" }

// tagPrefix begins the keys of all tags.
func (l *leaseKeys) tagPrefix() string { return l.own + "tag:" }

// drops is the key of the list of the latest drops of tags.
func (l *leaseKeys) drops() string { return l.own + "drops" }

// canary returns a new canary key in a slot.
func (l *leaseKeys) canary(slot int) string {
	return l.canaryPrefix() + "{" + l.slotTag(slot) + "}" + rand.Text()
}

// mayBe reports whether a lease may belong to a key with the prefix.
func (l *leaseKeys) mayBe(lease, prefix string) bool {
	rest := strings.TrimPrefix(lease, l.prefix)
	tagged, braced := strings.CutPrefix(rest, "{")
	_, untagged, _ := strings.Cut(rest, "}")
	return strings.HasPrefix(rest, prefix) ||
		braced && (strings.HasPrefix(strings.TrimSuffix(tagged, "}"), prefix) || strings.HasPrefix(untagged, prefix))
}

// slotTag is a text without braces that hashes to the slot.
func (l *leaseKeys) slotTag(slot int) string { return l.slotTags()[slot] }

func makeSlotTags() []string {
	tags := make([]string, slotCount)
	for i, missing := int64(0), slotCount; missing > 0; i++ {
		text := strconv.FormatInt(i, 36)
		if slot := slotOf(text); tags[slot] == "" {
			tags[slot] = text
			missing--
		}
	}
	return tags
}

// slotOf returns the slot of a key in a cluster (Redis cluster specification).
func slotOf(key string) int {
	if tag := slotTagOf(key); tag != "" {
		key = tag
	}
	return int(crc16(key) % slotCount)
}

// slotTagOf returns the hash tag of a key: the part that is hashed instead of
// the key, or "".
func slotTagOf(key string) string {
	_, after, _ := strings.Cut(key, "{")
	tag, _, closed := strings.Cut(after, "}")
	if !closed {
		return ""
	}
	return tag
}

// crc16 is CRC-16/XMODEM: polynomial 0x1021, starting at 0.
func crc16(text string) uint16 {
	var crc uint16
	for i := range len(text) {
		crc ^= uint16(text[i]) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	return crc
}

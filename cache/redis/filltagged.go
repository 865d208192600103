// Filling records that bear tags. A record contains the versions of its tags, and
// is not stored if one of the tags was dropped since the lease was taken.

package redis

import (
	"context"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/filewallball/caddy-filewallball/cache"
)

// fillTagged checks the drops, reads the versions and stores the record in one
// step, where all keys are on one server. Keys: the record, its lease, the note, the
// list of drops, the tags. Arguments: token, TTL of the record, largest text, old
// text or "", TTL of the note, id and nonce of the mark, how many entries of the
// list are read, TTL of the tags; for each tag its hash, the version that it gets if
// it has none, and the text of the record before its version; then the rest of the
// text. It answers 1 if it wrote, else 0. If a tag was dropped, it wakes the loads
// that wait for the key.
//
// A version stands in the text without escapes; see [plainLua].
var fillTagged = leaseScript{text: fillTaggedText, Script: goredis.NewScript(fillTaggedText)}

const fillTaggedText = plainLua + `
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
local tags = #KEYS - 4
local noted = redis.call('XRANGE', KEYS[4], ARGV[6], '+', 'COUNT', ARGV[8])
local ok = noted[1] and noted[1][1] == ARGV[6] and noted[1][2][2] == ARGV[7] and #noted < tonumber(ARGV[8])
local dropped = {}
for i = 2, #noted do
	local fields = noted[i][2]
	for j = 1, #fields, 2 do
		if fields[j] == 't' then dropped[fields[j + 1]] = true end
	end
end
for i = 1, tags do
	if dropped[ARGV[7 + 3 * i]] then ok = false end
end
local text = {}
if ok then
	for i = 1, tags do
		local tag = KEYS[4 + i]
		local version = redis.pcall('GET', tag)
		if not plain(version) then
			version = ARGV[8 + 3 * i]
			redis.call('SET', tag, version, 'PX', ARGV[9])
		else
			local left = redis.call('PTTL', tag)
			if left >= 0 and left < tonumber(ARGV[2]) then redis.call('PEXPIRE', tag, ARGV[9]) end
		end
		text[2 * i - 1] = ARGV[9 + 3 * i]
		text[2 * i] = version
	end
	text = table.concat(text) .. ARGV[#ARGV]
	ok = #text <= tonumber(ARGV[3])
end
redis.call('UNLINK', KEYS[2])
if not ok then
	redis.pcall('SET', KEYS[3], 'released', 'PX', ARGV[5])
	return 0
end
if redis.call('EXISTS', KEYS[1]) == 1 then
	local now = redis.call('GETRANGE', KEYS[1], 0, ARGV[3])
	if now == '' or now ~= ARGV[4] then return 0 end
end
redis.call('SET', KEYS[1], text, 'PX', ARGV[2])
return 1`

// fillWithTags returns the call of fillTagged for a record.
func (s *Store) fillWithTags(key, lease string, old, record *cache.Record, tags []string, since mark, ttl time.Duration) *scriptCall {
	versions := make(map[string]string, len(tags))
	for _, tag := range tags {
		versions[cache.TagName(tag)] = newVersion()
	}
	// the new versions are random, so each stands in the text once
	record = record.WithTags(versions)
	text, known := record.Text(), ""
	if old != nil {
		known = old.Text()
	}
	c := &scriptCall{
		script: &fillTagged,
		keys:   append(s.loadKeys(key), s.leases.drops()),
		args: []any{
			lease, ttl.Milliseconds(), s.options.MaxValueSize, known, releasedFor.Milliseconds(),
			since.id, since.nonce, dropsNoted + 2, tagTTL(ttl).Milliseconds(),
		},
		bytes: len(text),
	}
	for _, tag := range record.Tags() {
		before, after, _ := strings.Cut(text, tag.Version)
		c.keys = append(c.keys, s.leases.ofTag(tag.Name))
		c.args = append(c.args, hashOfTag(tag.Name), tag.Version, before)
		text = after
	}
	c.args = append(c.args, text)
	return c
}

// tagRead reads the versions of a record's tags in a cluster, where the tags, the
// list of drops and the record may be on different servers.
type tagRead struct {
	names []string // of the tags
	since mark
	ttl   time.Duration

	versions map[string]string
	ok       bool // no tag was dropped since the mark
	err      error
}

func (*tagRead) size() int { return 0 }

// withVersions returns the record with the current versions of its tags. ok is false if
// one of the tags was dropped since the mark.
func (s *Store) withVersions(ctx context.Context, record *cache.Record, tags []string, since mark, ttl time.Duration) (tagged *cache.Record, ok bool, err error) {
	b := &tagRead{since: since, ttl: ttl, versions: make(map[string]string, len(tags))}
	for _, tag := range tags {
		name := cache.TagName(tag)
		if _, twice := b.versions[name]; !twice {
			b.versions[name] = ""
			b.names = append(b.names, name)
		}
	}
	if err := s.tagReads.do(ctx, s.leases.drops(), b); err != nil {
		return nil, false, err
	}
	if b.err != nil {
		return nil, false, b.err
	}
	return record.WithTags(b.versions), b.ok, nil
}

// sendTagReads reads the versions first. A drop that is noted after the list was
// read changes the version only later.
func (s *Store) sendTagReads(ctx context.Context, tagReads []*tagRead) error {
	pipe := s.primary.Pipeline()
	var obtained []*goredis.Cmd
	for _, b := range tagReads {
		for _, name := range b.names {
			obtained = append(obtained, s.obtain(ctx, pipe, name, newVersion(), b.ttl))
		}
	}
	_, _ = pipe.Exec(ctx) // each command has its own error
	pipe = s.primary.Pipeline()
	noted := make([]*goredis.XMessageSliceCmd, len(tagReads))
	for i, b := range tagReads {
		noted[i] = s.dropsSince(ctx, pipe, b.since)
	}
	_, _ = pipe.Exec(ctx)
	for i, b := range tagReads {
		for _, name := range b.names {
			version, err := obtained[0].Text()
			obtained = obtained[1:]
			if err != nil {
				b.err = err
			}
			b.versions[name] = version
		}
		if err := noted[i].Err(); err != nil {
			b.err = err
		}
		b.ok = b.err == nil && b.since.none(noted[i].Val(), b.versions)
	}
	return nil
}

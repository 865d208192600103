package redis

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/near"
)

// A tag is one small key that holds the tag's version, a random text. Records
// contain the versions of their tags and are valid as long as these are
// current. Dropping a tag gives it another version, or none. If the key of a
// tag is evicted or expires, its records are dropped as well. See drops.go for
// loads that are under way when a tag is dropped.

// minTagTTL is the shortest TTL of a version. It keeps a backup from before a
// drop from restoring what was dropped.
const minTagTTL = time.Hour

// tagTTL is the TTL of a version for records that live for ttl. It is much
// longer, so that it seldom needs to be extended: each extension is a write
// that is reported to near caches.
func tagTTL(ttl time.Duration) time.Duration { return 2*min(ttl, 1<<61) + minTagTTL }

// versionLength is how many bytes of a version are read. Versions of this
// plugin are shorter.
const versionLength = 64

// plainLua is a function for scripts: it reports whether a version can be read back and
// needs no escapes in a JSON text. Any other version is replaced, which drops the
// records that have it.
const plainLua = `
local function plain(version)
	return type(version) == 'string' and version ~= '' and #version <= 64 and not string.find(version, '[%c"\\\128-\255]')
end
`

func newVersion() string { return rand.Text()[:16] }

// obtainScript returns the current version of a tag. Key: the tag. Arguments: the
// version to set if it has none ("" for none), the smallest TTL in milliseconds, and
// the TTL to set if it has less. It is sent as a whole, because it is used in
// pipelines.
const obtainScript = plainLua + `
local version = redis.pcall('GET', KEYS[1])
if not plain(version) then
	if ARGV[1] ~= '' then redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[3]) end
	return ARGV[1]
end
local left = redis.call('PTTL', KEYS[1])
if left >= 0 and left < tonumber(ARGV[2]) then redis.call('PEXPIRE', KEYS[1], ARGV[3]) end
return version`

// obtain adds to a pipeline the command that reads the version of a tag, for a
// record that lives for ttl. A tag without a version gets this one.
func (s *Store) obtain(ctx context.Context, pipe goredis.Pipeliner, name, version string, ttl time.Duration) *goredis.Cmd {
	return pipe.Eval(ctx, obtainScript, []string{s.leases.ofTag(name)},
		version, ttl.Milliseconds(), tagTTL(ttl).Milliseconds())
}

// renewScript replaces the version of a tag. Key: the tag. Arguments: a version, the
// smallest TTL. If the server has no room to set the key, the script deletes it.
const renewScript = `
local ttl = math.max(tonumber(ARGV[2]), redis.call('PTTL', KEYS[1]))
local set = redis.pcall('SET', KEYS[1], ARGV[1], 'PX', ttl)
if set.err then redis.call('UNLINK', KEYS[1]) end
return 1`

// DropTag first notes the drop for loads under way and then gives the tag
// another version.
func (s *Store) DropTag(ctx context.Context, tag string) error {
	const doing = "dropping a tag"
	if tag == "" {
		return errors.New("dropping a tag: the tag is empty")
	}
	if s.closed.Load() {
		return s.failed(doing, goredis.ErrClosed)
	}
	name := cache.TagName(tag)
	pipe := s.primary.Pipeline()
	s.noteDrop(ctx, pipe, name)
	if s.options.ClientType == Cluster { // the keys may be on two servers
		if _, err := pipe.Exec(ctx); err != nil {
			return s.failed(doing, err)
		}
		pipe = s.primary.Pipeline()
	}
	pipe.Eval(ctx, renewScript, []string{s.leases.ofTag(name)}, newVersion(), minTagTTL.Milliseconds())
	if _, err := pipe.Exec(ctx); err != nil {
		return s.failed(doing, err)
	}
	if sink := s.sink(); sink != nil {
		sink.Invalidate(s.leases.ofTag(name))
	}
	return nil
}

// AdoptTags sets tags that have no version here to the versions of the records.
func (s *Store) AdoptTags(ctx context.Context, records []*cache.Record, ttl time.Duration) ([]bool, error) {
	const doing = "adopting tags"
	if s.closed.Load() {
		return nil, s.failed(doing, goredis.ErrClosed)
	}
	pipe := s.primary.Pipeline()
	cmds := make(map[string]*goredis.Cmd)
	for _, record := range records {
		for _, tag := range record.Tags() {
			if cmds[tag.Name] == nil && tag.Version != "" {
				cmds[tag.Name] = s.obtain(ctx, pipe, tag.Name, tag.Version, ttl)
			}
		}
	}
	if len(cmds) > 0 {
		if _, err := pipe.Exec(ctx); err != nil {
			return nil, s.failed(doing, err)
		}
	}
	valid := make([]bool, len(records))
	for i, record := range records {
		valid[i] = true
		for _, tag := range record.Tags() {
			cmd := cmds[tag.Name]
			valid[i] = valid[i] && cmd != nil && cmd.Val() == tag.Version
		}
	}
	return valid, nil
}

// extendTags adds to a pipeline the commands that extend the tags of a record
// to ttl.
func (s *Store) extendTags(ctx context.Context, pipe goredis.Pipeliner, record *cache.Record, ttl time.Duration) {
	if record == nil {
		return
	}
	for _, tag := range record.Tags() {
		s.obtain(ctx, pipe, tag.Name, "", ttl)
	}
}

// sink returns the near cache, or nil without one.
func (s *Store) sink() near.Sink {
	if w := s.watcher.Load(); w != nil {
		return w.sink
	}
	return nil
}

// tagCheck checks which records have only current tags.
type tagCheck struct {
	store   *Store
	sink    near.Sink // or nil
	now     time.Time
	current map[string]*near.Version // by the key of the tag; nil where it is still to be read
}

// checkTags moves records with a dropped tag from Record to Old. Versions that
// this process does not know are read in one round trip, from the primary: the
// lag of a replica must not delay a drop. Where they cannot be read, only the
// records that have such tags are errors: in a cluster, tags and records may be on
// different servers.
func (s *Store) checkTags(ctx context.Context, got []cache.Got) {
	c := tagCheck{store: s, now: time.Now()}
	for i := range got {
		if r := got[i].Record; r != nil && len(r.Tags()) > 0 {
			if c.sink = s.sink(); !c.known(&got[i].Entry) {
				c.want(r)
			}
		}
	}
	if c.current == nil {
		return
	}
	err := c.read(ctx)
	if err != nil {
		err = s.failed("reading the versions of tags", err)
	}
	for i := range got {
		switch e := &got[i].Entry; {
		case e.Record == nil || len(e.Record.Tags()) <= len(e.Versions):
		case err != nil:
			got[i] = cache.Got{Err: err}
		default:
			c.decide(e)
		}
	}
}

// known reports whether all versions of the record's tags are known to be
// current. If another version is known, the record may be newer than that.
func (c *tagCheck) known(e *cache.Entry) bool {
	if c.sink == nil {
		return false
	}
	tags := e.Record.Tags()
	versions := make([]*near.Version, len(tags))
	for i, tag := range tags {
		v, ok := c.sink.Version(c.store.leases.ofTag(tag.Name), c.now)
		if !ok || v.Text() != tag.Version {
			return false
		}
		versions[i] = v
	}
	e.Versions = versions
	return true
}

// want adds the versions of a record's tags to those that are read.
func (c *tagCheck) want(r *cache.Record) {
	if c.current == nil {
		c.current = make(map[string]*near.Version)
	}
	for _, tag := range r.Tags() {
		c.current[c.store.leases.ofTag(tag.Name)] = nil
	}
}

// read reads the wanted versions from Redis.
func (c *tagCheck) read(ctx context.Context) error {
	keys := make([]string, 0, len(c.current))
	for key := range c.current {
		keys = append(keys, key)
	}
	for len(keys) > 0 {
		part := keys[:min(len(keys), pipelineKeys)]
		keys = keys[len(part):]
		if err := c.readPart(ctx, part); err != nil {
			return err
		}
	}
	return nil
}

func (c *tagCheck) readPart(ctx context.Context, keys []string) error {
	tickets := make([]near.VersionTicket, len(keys))
	cmds := make([]*goredis.StringCmd, len(keys))
	pipe := c.store.primary.Pipeline()
	for i, key := range keys {
		if c.sink != nil {
			tickets[i] = c.sink.BeginVersion(key)
		}
		cmds[i] = pipe.GetRange(ctx, key, 0, versionLength)
	}
	_, _ = pipe.Exec(ctx) // each command has its own error
	for i, cmd := range cmds {
		version, err := cmd.Result()
		switch {
		case isWrongType(err): // another application has written the key
			version = ""
		case err != nil:
			return err
		}
		if version == "" {
			c.current[keys[i]] = near.EndedVersion("")
		} else {
			c.current[keys[i]] = tickets[i].Keep(version)
		}
	}
	return nil
}

// decide decides whether a record with tags is valid.
func (c *tagCheck) decide(e *cache.Entry) {
	tags := e.Record.Tags()
	versions := make([]*near.Version, len(tags))
	for i, tag := range tags {
		versions[i] = c.current[c.store.leases.ofTag(tag.Name)]
		if tag.Version == "" || versions[i].Text() != tag.Version {
			*e = cache.Entry{Old: e.Record}
			return
		}
	}
	e.Versions = versions
}

// Tags that are dropped while records that will bear them are being loaded. A
// load learns the tags only from what it loads, and the tag may have no version
// yet that the drop could replace. So each drop is noted in one short list, and
// a load remembers where the list ended when it began: what was loaded is not
// stored where one of its tags is in the list since then, or where the list
// does not reach back that far. This needs no clock, and a list that is
// trimmed, evicted, or dropped because the server is full errs on the side of
// not storing.

package redis

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

const (
	// dropsNoted is about how many drops the list has. A load during which
	// more tags are dropped is not stored under tags.
	dropsNoted = 1000
	// dropsTTL is how long the list is kept after the last drop.
	dropsTTL = time.Hour
)

// The fields of an entry: a text that no other entry has, for a new list may
// give the ids of an old one again, and the hash of the tag.
const (
	dropNonce = "n"
	dropTag   = "t"
)

// noteScript: the list; nonce, hash of the tag, length and TTL of the list. A
// server without room for the entry drops the list instead.
const noteScript = `
local noted = redis.pcall('XADD', KEYS[1], 'MAXLEN', '~', ARGV[3], '*', 'n', ARGV[1], 't', ARGV[2])
if type(noted) == 'string' then
	redis.call('PEXPIRE', KEYS[1], ARGV[4])
else
	redis.call('UNLINK', KEYS[1])
end
return 1`

// noteDrop adds to a pipeline what notes that a tag is dropped.
func (s *Store) noteDrop(ctx context.Context, pipe goredis.Pipeliner, name string) {
	pipe.Eval(ctx, noteScript, []string{s.leases.drops()},
		rand.Text(), hashOfTag(name), dropsNoted, dropsTTL.Milliseconds())
}

// hashOfTag is short, and shows no identities in the list.
func hashOfTag(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:8])
}

// mark is where the list of drops ended when a load began. The zero value is
// that of a load which fills no record with tags.
type mark struct{ id, nonce string }

// markLua is a function for scripts: it answers the mark of now, or nil where
// there is no room for the list.
const markLua = `
local function mark(list, nonce, ttl)
	local last = redis.pcall('XREVRANGE', list, '+', '-', 'COUNT', 1)
	if last.err then return nil end
	if last[1] then return last[1][1], last[1][2][2] end
	local id = redis.pcall('XADD', list, '*', 'n', nonce)
	if type(id) ~= 'string' then return nil end
	redis.call('PEXPIRE', list, ttl)
	return id, nonce
end
`

// markScript: the list; nonce, TTL of the list. It is for clusters, where the
// list and a lease may be on two servers.
var markScript = goredis.NewScript(markLua + `return {mark(KEYS[1], ARGV[1], ARGV[2])}`)

func (s *Store) markNow(ctx context.Context, nonce string) mark {
	// where this fails, the load is not stored under tags
	answer, _ := markScript.Run(ctx, s.primary, []string{s.leases.drops()}, nonce, dropsTTL.Milliseconds()).Slice()
	return markOf(answer)
}

// markOf reads what the function mark answered.
func markOf(answer []any) mark {
	if len(answer) != 2 {
		return mark{}
	}
	id, _ := answer[0].(string)
	nonce, _ := answer[1].(string)
	return mark{id, nonce}
}

// String is how a mark stands behind the token of a lease.
func (m mark) String() string {
	if m == (mark{}) {
		return ""
	}
	return " " + m.id + " " + m.nonce
}

// splitToken parts the token of a lease from the mark behind it.
func splitToken(token string) (lease string, m mark) {
	lease, rest, _ := strings.Cut(token, " ")
	m.id, m.nonce, _ = strings.Cut(rest, " ")
	if m.id == "" || m.nonce == "" {
		return lease, mark{}
	}
	return lease, m
}

// dropsSince adds to a pipeline what reads the list from a mark on.
func (s *Store) dropsSince(ctx context.Context, pipe goredis.Pipeliner, since mark) *goredis.XMessageSliceCmd {
	return pipe.XRangeN(ctx, s.leases.drops(), since.id, "+", dropsNoted+2)
}

// none reports whether the list, as it was read, reaches back to the mark and
// has none of the tags.
func (m mark) none(noted []goredis.XMessage, versions map[string]string) bool {
	if len(noted) == 0 || len(noted) > dropsNoted+1 || noted[0].ID != m.id || noted[0].Values[dropNonce] != m.nonce {
		return false
	}
	dropped := make(map[any]bool, len(noted))
	for _, entry := range noted[1:] {
		dropped[entry.Values[dropTag]] = true
	}
	for name := range versions {
		if dropped[hashOfTag(name)] {
			return false
		}
	}
	return true
}

// Drops of tags while records with these tags are being loaded. A load learns
// its tags only from what it loads, and such a tag may have no version yet that
// the drop could replace. So each drop is noted in one short list, and a load
// remembers where the list ended when it began. Its record is not stored if one
// of its tags was added to the list since, or if the list does not reach back
// that far. This needs no clock. If the list is trimmed, evicted, or deleted
// because the server is full, records are not stored, which is the safe side.

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
	// dropsNoted is the approximate length of the list. A load during which more
	// tags are dropped is not stored with tags.
	dropsNoted = 1000
	// dropsTTL is the TTL of the list after the last drop.
	dropsTTL = time.Hour
)

// The fields of an entry: a nonce, because a new list may have the ids of an
// old one again, and the hash of the tag.
const (
	dropNonce = "n"
	dropTag   = "t"
)

// noteScript notes a drop. Key: the list. Arguments: nonce, hash of the tag, length and
// TTL of the list. A server without room for the entry deletes the list instead.
const noteScript = `
local noted = redis.pcall('XADD', KEYS[1], 'MAXLEN', '~', ARGV[3], '*', 'n', ARGV[1], 't', ARGV[2])
if type(noted) == 'string' then
	redis.call('PEXPIRE', KEYS[1], ARGV[4])
else
	redis.call('UNLINK', KEYS[1])
end
return 1`

// noteDrop adds to a pipeline the command that notes a drop.
func (s *Store) noteDrop(ctx context.Context, pipe goredis.Pipeliner, name string) {
	pipe.Eval(ctx, noteScript, []string{s.leases.drops()},
		rand.Text(), hashOfTag(name), dropsNoted, dropsTTL.Milliseconds())
}

// hashOfTag returns a short hash, which keeps identities out of the list.
func hashOfTag(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:8])
}

// mark is the end of the list of drops when a load began. The zero value
// belongs to a load that fills no record with tags.
type mark struct{ id, nonce string }

// markLua is a function for scripts: it returns the current mark, or nil if
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

// markScript returns the current mark. Key: the list. Arguments: nonce, TTL of the
// list. It is for clusters, where the list and a lease may be on two servers.
var markScript = goredis.NewScript(markLua + `return {mark(KEYS[1], ARGV[1], ARGV[2])}`)

// markNow returns the current mark, in a cluster.
func (s *Store) markNow(ctx context.Context, nonce string) mark {
	// if this fails, the load is not stored with tags
	answer, _ := markScript.Run(ctx, s.primary, []string{s.leases.drops()}, nonce, dropsTTL.Milliseconds()).Slice()
	return markOf(answer)
}

// markOf reads the answer of the function mark.
func markOf(answer []any) mark {
	if len(answer) != 2 {
		return mark{}
	}
	id, _ := answer[0].(string)
	nonce, _ := answer[1].(string)
	return mark{id, nonce}
}

// String is the form of a mark in the token of a lease.
func (m mark) String() string {
	if m == (mark{}) {
		return ""
	}
	return " " + m.id + " " + m.nonce
}

// splitToken separates the token of a lease from the mark behind it.
func splitToken(token string) (lease string, m mark) {
	lease, rest, _ := strings.Cut(token, " ")
	m.id, m.nonce, _ = strings.Cut(rest, " ")
	if m.id == "" || m.nonce == "" {
		return lease, mark{}
	}
	return lease, m
}

// dropsSince adds to a pipeline the command that reads the list from a mark on.
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

// Reading values that applications store in their own formats.

package redis

import (
	"context"
	"fmt"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/filewallball/caddy-filewallball/cache"
)

// maxFields is the largest number of fields of a hash that is read.
const maxFields = 1000

// getRaw reads a value. Arguments: largest size, most fields. It answers the TTL, and
// then the text of a string, or the names and values of a hash in turn, or an error:
// 'large' or 'type'. It checks the size before it reads, because another application
// has written the value.
var getRaw = goredis.NewScript(`
local ttl = redis.call('PTTL', KEYS[1])
if ttl == -2 then return {ttl, ''} end
local text = redis.pcall('GETRANGE', KEYS[1], 0, ARGV[1])
if type(text) == 'string' then return {ttl, text} end
if not string.find(text.err, 'WRONGTYPE', 1, true) then return text end
local names = redis.pcall('HLEN', KEYS[1])
if type(names) ~= 'number' then
	if not string.find(names.err, 'WRONGTYPE', 1, true) then return names end
	return {ttl, 'type', 0}
end
if names > tonumber(ARGV[2]) then return {ttl, 'large', 0} end
local size = 0
for _, name in ipairs(redis.call('HKEYS', KEYS[1])) do
	size = size + #name + redis.call('HSTRLEN', KEYS[1], name)
	if size > tonumber(ARGV[1]) then return {ttl, 'large', 0} end
end
return {ttl, redis.call('HGETALL', KEYS[1])}`)

var (
	errTooLarge  = fmt.Errorf("%w: value is larger than the limit", cache.ErrInvalidRecord)
	errOtherType = fmt.Errorf("%w: value is neither a string nor a hash", cache.ErrInvalidRecord)
)

// GetRaw reads a string or a hash and when it expires, from the primary.
func (s *Store) GetRaw(ctx context.Context, key string) (*cache.Raw, error) {
	const doing = "reading a value"
	limit := s.options.MaxValueSize
	answer, err := getRaw.Run(context.WithValue(ctx, onlyReads{}, true), s.primary, []string{key}, limit, maxFields).Slice()
	if err != nil {
		return nil, s.failed(doing, err)
	}
	ttl, _ := answer[0].(int64)
	if ttl == -2 {
		return nil, nil
	}
	raw := &cache.Raw{Expires: expires(ttl, time.Now())}
	switch value := answer[1].(type) {
	case string:
		switch {
		case len(answer) == 3 && value == "type":
			return nil, errOtherType
		case len(answer) == 3, len(value) > limit:
			return nil, errTooLarge
		}
		raw.Text = value
	case []any:
		raw.Fields = fields(value)
	}
	return raw, nil
}

// fields makes a map of alternating names and values.
func fields(list []any) map[string]string {
	m := make(map[string]string, len(list)/2)
	for i := 0; i+1 < len(list); i += 2 {
		name, _ := list[i].(string)
		text, _ := list[i+1].(string)
		m[name] = text
	}
	return m
}

// Interface guard
var _ cache.RawReader = (*Store)(nil)

package stores

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/filewallball/caddy-filewallball/cache"
)

// Spring reads sessions of Spring Session for Redis: a hash under
// spring:session:sessions:<id> whose values a JSON serializer wrote. The cookie
// is SESSION, the id in base64. The record has the session's attributes by
// their names, and creationTime, lastAccessedTime and maxInactiveInterval.
type Spring struct {
	Settings
}

// CaddyModule returns the Caddy module information.
func (Spring) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: Namespace + ".spring", New: func() caddy.Module { return new(Spring) }}
}

// Provision resolves placeholders and defaults.
func (s *Spring) Provision(caddy.Context) error {
	return s.Settings.Provision(Defaults{Cookie: "SESSION", Key: "spring:session:sessions:{id}"})
}

// UnmarshalCaddyfile reads the block; see [Settings.Unmarshal].
func (s *Spring) UnmarshalCaddyfile(d *caddyfile.Dispenser) error { return s.Unmarshal(d, nil) }

// UserFields are the fields that Spring Security sets. The principal is a name,
// or an object as the JSON serializer writes it.
func (*Spring) UserFields() []string {
	return []string{
		"SPRING_SECURITY_CONTEXT.authentication.name",
		"SPRING_SECURITY_CONTEXT.authentication.principal",
		"SPRING_SECURITY_CONTEXT.authentication.principal.username",
		`org\.springframework\.session\.FindByIndexNameSessionRepository\.PRINCIPAL_NAME_INDEX_NAME`,
	}
}

// Identities finds the ids in cookies.
func (s *Spring) Identities(r *http.Request) []string {
	var ids []string
	for _, value := range s.Cookies(r) {
		if id, err := base64.StdEncoding.DecodeString(value); err == nil {
			ids = append(ids, string(id))
		}
	}
	return only(ids, "-_")
}

const (
	springAttribute = "sessionAttr:"
	springAccessed  = "lastAccessedTime"
	springInterval  = "maxInactiveInterval"
	springCreated   = "creationTime"
)

var (
	errSpring = errors.New("value is not a hash with " + springAccessed + " and " + springInterval)
	errJava   = errors.New("value is in Java's serialization, which only Java can read: " +
		"have the application use GenericJackson2JsonRedisSerializer as springSessionDefaultRedisSerializer")
)

// Decode reads a session. Its end is its last use plus its maximum idle time;
// its key lives five minutes longer.
func (s *Spring) Decode(raw cache.Raw) (Session, error) {
	if raw.Fields == nil {
		return Session{}, errSpring
	}
	var b strings.Builder
	b.WriteByte('{')
	for _, field := range slices.Sorted(maps.Keys(raw.Fields)) {
		name, isAttribute := strings.CutPrefix(field, springAttribute)
		isOwn := name == springCreated || name == springAccessed || name == springInterval
		if isAttribute == isOwn {
			continue // an attribute of this name would hide the field of the same name
		}
		value := raw.Fields[field]
		switch {
		case strings.HasPrefix(value, "\xac\xed"):
			return Session{}, errJava
		case value == "": // a removed attribute
			value = "null"
		case !json.Valid([]byte(value)):
			return Session{}, errors.New("a field of the hash is not JSON")
		}
		if b.Len() > 1 {
			b.WriteByte(',')
		}
		quoted, err := json.Marshal(name)
		if err != nil {
			return Session{}, err
		}
		b.Write(quoted)
		b.WriteByte(':')
		b.WriteString(value)
	}
	b.WriteByte('}')
	expires, err := springExpiry(raw.Fields)
	return Session{JSON: b.String(), Expires: expires}, err
}

func springExpiry(fields map[string]string) (time.Time, error) {
	accessed, err := springNumber(fields, springAccessed)
	if err != nil {
		return time.Time{}, err
	}
	interval, err := springNumber(fields, springInterval)
	if err != nil || interval < 0 { // negative: the session never ends
		return time.Time{}, err
	}
	const longest = 1 << 40
	if accessed < 0 || accessed > longest<<10 || interval > longest {
		return time.Time{}, fmt.Errorf("%s and %s make no time", springAccessed, springInterval)
	}
	return time.UnixMilli(accessed).Add(time.Duration(min(interval, 1<<32)) * time.Second), nil
}

// springNumber reads a number, plain or with its class: ["java.lang.Long",1] or
// ["java.lang.Integer",1].
func springNumber(fields map[string]string, name string) (int64, error) {
	text, ok := fields[name]
	if !ok {
		return 0, errSpring
	}
	for _, class := range []string{"Long", "Integer"} {
		if typed, ok := strings.CutPrefix(text, `["java.lang.`+class+`",`); ok {
			text = strings.TrimSuffix(typed, "]")
		}
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s is not a number", name)
	}
	return n, nil
}

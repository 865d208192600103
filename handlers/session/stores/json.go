// Sessions that are stored as JSON.

package stores

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/filewallball/caddy-filewallball/cache"
)

var (
	errNoString = errors.New("value is a hash, and the sessions of this store are strings")
	errNoObject = errors.New("value is not a JSON object")
)

// passportFields are the fields that Passport and its relatives set: the user's
// id, or the serialized user.
var passportFields = []string{"passport.user", "passport.user.id"}

// readJSON reads a session that is a JSON object.
func readJSON(raw cache.Raw) (Session, error) {
	switch {
	case raw.Fields != nil:
		return Session{}, errNoString
	case !isObject(raw.Text), !json.Valid([]byte(raw.Text)):
		return Session{}, errNoObject
	}
	return Session{JSON: raw.Text}, nil
}

func isObject(text string) bool { return strings.HasPrefix(text, "{") }

// readExpiry sets the end of a session from a field with a date of JavaScript
// or milliseconds of Unix time. As in JavaScript, null, false, 0 and "" are no
// end. A field that cannot be read is an error, because the session would
// otherwise never end.
func (s *Session) readExpiry(path string) error {
	session, _ := cache.ParseValue(s.JSON)
	v, ok := session.Field(path)
	switch ms, err := strconv.ParseFloat(v.JSON(), 64); {
	case !ok, v.IsNull(), v.JSON() == "false", v.IsString() && v.Text() == "", err == nil && ms == 0:
		return nil
	case v.IsString():
		if after9999.MatchString(v.Text()) {
			return nil
		}
		if at, err := time.Parse(time.RFC3339, v.Text()); err == nil {
			s.Expires = at
			return nil
		}
	case err == nil && ms > 0 && ms < 1<<53:
		s.Expires = time.UnixMilli(int64(ms))
		return nil
	}
	return fmt.Errorf("%s is neither a date nor a number of milliseconds", path)
}

// after9999 is a date after the year 9999, as JavaScript writes it.
var after9999 = regexp.MustCompile(`^\+\d{6}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$`)

// readJSONUntil reads a session that is a JSON object with its end in a field.
func readJSONUntil(raw cache.Raw, path string) (Session, error) {
	session, err := readJSON(raw)
	if err != nil {
		return Session{}, err
	}
	if err := session.readExpiry(path); err != nil {
		return Session{}, err
	}
	return session, nil
}

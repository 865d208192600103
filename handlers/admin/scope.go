// Which keys the endpoints accept: those under key_prefix, except the plugin's
// own. Writing or dropping a tag or a lease by hand would break revocation.

package admin

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/handlers/lookup"
)

// checkText refuses a text that cannot be a key or a tag. The error does not repeat it.
func checkText(what, text string) error {
	if text == "" || cache.CheckIdentity(text) != nil {
		return fmt.Errorf("%s is malformed: want 1 to %d bytes of UTF-8 text without control characters", what, cache.MaxIdentity)
	}
	return nil
}

// CheckScope refuses a text that is not the key of a record, or the beginning
// of one. The error names key_prefix, but does not repeat the text.
func CheckScope(what, text string, policy *lookup.Policy) error {
	switch err := checkText(what, text); {
	case err != nil:
		return err
	case !strings.HasPrefix(text, policy.KeyPrefix):
		return fmt.Errorf("%s does not begin with key_prefix: want one that begins with %q", what, policy.KeyPrefix)
	case policy.IsOwn(text):
		return fmt.Errorf("%s is reserved for the plugin: want one that does not begin with %q",
			what, policy.KeyPrefix+cache.OwnPrefix)
	}
	return nil
}

// badRequest returns an answer of 400 with the text of an error, which must not repeat
// what the client sent. It returns nil for nil.
func badRequest(err error) error {
	if err == nil {
		return nil
	}
	return refuse(http.StatusBadRequest, err.Error())
}

// scopeOf returns the prefix of the keys that are asked for: key_prefix if asked is
// empty.
func scopeOf(asked string, policy *lookup.Policy) (string, error) {
	if asked == "" {
		return policy.KeyPrefix, nil
	}
	return asked, badRequest(CheckScope("prefix", asked, policy))
}

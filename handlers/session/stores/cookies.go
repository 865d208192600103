// Session cookies, and how their signatures are checked.

package stores

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"hash"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// MaxCookies is how many cookies of one name are checked. A client may send any
// number, and each costs an HMAC.
const MaxCookies = 8

// Cookies lists the values of the session cookie as they were sent. A client
// sends several where a parent path or domain has the same cookie.
func (s *Settings) Cookies(r *http.Request) []string { return cookies(r, s.cookie) }

// LastCookies lists them from the last one to the first, for applications that
// read the last of several cookies.
func (s *Settings) LastCookies(r *http.Request) []string {
	values := allCookies(r, s.cookie)
	slices.Reverse(values)
	return values[:min(len(values), MaxCookies)]
}

// cookies are the first values of a name.
func cookies(r *http.Request, name string) []string {
	values := allCookies(r, name)
	return values[:min(len(values), MaxCookies)]
}

// allCookies are the values of a name that are not empty. Unlike net/http, it finds
// names that are no tokens, such as koa:sess, which browsers and applications accept.
func allCookies(r *http.Request, name string) (values []string) {
	for _, line := range r.Header["Cookie"] {
		for pair := range strings.SplitSeq(line, ";") {
			pairName, value, _ := strings.Cut(pair, "=")
			if strings.Trim(pairName, blanks) != name {
				continue
			}
			value = strings.Trim(value, blanks)
			if n := len(value); n > 1 && value[0] == '"' && value[n-1] == '"' {
				value = value[1 : n-1]
			}
			if value != "" {
				values = append(values, value)
			}
		}
	}
	return values
}

// blanks surround names and values.
const blanks = " \t"

// isCookieName reports whether a browser sends cookies of a name as it is.
func isCookieName(name string) bool {
	for i := range len(name) {
		if c := name[i]; c <= ' ' || c > '~' || c == '=' || c == ';' {
			return false
		}
	}
	return name != ""
}

// unescape decodes a value as JavaScript's decodeURIComponent does. A value
// that is not validly encoded is returned unchanged.
func unescape(value string) string {
	if decoded, err := url.PathUnescape(value); err == nil {
		return decoded
	}
	return value
}

// only keeps the values that consist of letters, digits and the bytes of more.
// Other bytes in an unsigned cookie could form the key of something that is not
// a session.
func only(values []string, more string) []string {
	kept := values[:0]
	for _, value := range values {
		if isPlain(value, more) {
			kept = append(kept, value)
		}
	}
	return kept
}

const longestID = 256

func isPlain(id, more string) bool {
	if id == "" || len(id) > longestID {
		return false
	}
	for _, c := range []byte(id) {
		switch {
		case '0' <= c && c <= '9', 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z':
		default:
			if !containsByte(more, c) {
				return false
			}
		}
	}
	return true
}

func containsByte(s string, c byte) bool {
	for i := range len(s) {
		if s[i] == c {
			return true
		}
	}
	return false
}

// signedBy reports whether a signature is the HMAC of a value with one of the
// secrets. The comparison takes constant time.
func signedBy(secrets [][]byte, algorithm func() hash.Hash, encoding *base64.Encoding, value, signature string) bool {
	signed := 0
	for _, secret := range secrets {
		mac := hmac.New(algorithm, secret)
		mac.Write([]byte(value))
		want := encoding.EncodeToString(mac.Sum(nil))
		signed |= subtle.ConstantTimeCompare([]byte(want), []byte(signature))
	}
	return signed == 1
}

// algorithm returns the hash of a name, or that of standard if the name is empty.
func algorithm(name, standard string) (func() hash.Hash, error) {
	if name == "" {
		name = standard
	}
	if h, ok := algorithms[name]; ok {
		return h, nil
	}
	return nil, errors.New("algorithm: want sha1, sha256, sha384 or sha512")
}

// algorithms are the hashes that cookies may be signed with.
var algorithms = map[string]func() hash.Hash{
	"sha1": sha1.New, "sha256": sha256.New, "sha384": sha512.New384, "sha512": sha512.New,
}

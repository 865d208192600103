package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	goredis "github.com/redis/go-redis/v9"

	"github.com/filewallball/caddy-filewallball/cache"
)

// failed returns the error for a caller. Any error that is neither a value of
// the wrong type nor a closed store means that the store is unavailable: no
// connection, no answer in time, or a refusal by the server.
func (s *Store) failed(doing string, err error) error {
	switch {
	case s.closed.Load(), errors.Is(err, goredis.ErrClosed):
		return fmt.Errorf("%s: %w", doing, cache.ErrClosed)
	case isWrongType(err):
		return fmt.Errorf("%s: %w", doing, errWrongType)
	}
	s.reload()
	return fmt.Errorf("%s: %w: %w", doing, cache.ErrUnavailable, withoutKeys(plainly(err)))
}

// withoutKeys returns the error of a server without the arguments of the command,
// which are keys.
func withoutKeys(err error) error {
	var answer goredis.Error
	if errors.As(err, &answer) && serverText(answer) != answer.Error() {
		return replyError(serverText(answer))
	}
	return err
}

// joinOnce is [cache.JoinErrors] for what servers answered, each without keys.
func joinOnce(errs ...error) error {
	for i, err := range errs {
		errs[i] = withoutKeys(err)
	}
	return cache.JoinErrors(errs...)
}

// reload makes the client of a cluster look for changes. A dead master
// redirects no request, so the client would not notice.
func (s *Store) reload() {
	if c, ok := s.primary.(*goredis.ClusterClient); ok {
		c.ReloadState(context.Background())
	}
}

var errWrongType = fmt.Errorf("%w: value is not a string", cache.ErrInvalidRecord)

// isWrongType reports whether a key does not hold a string. Old servers wrap
// such an error in that of the script.
func isWrongType(err error) bool {
	var answer goredis.Error
	return errors.As(err, &answer) && strings.Contains(answer.Error(), "WRONGTYPE")
}

// hasCode reports whether a server answered an error with one of the codes. The
// code is the first word of the error.
func hasCode(err error, codes ...string) bool {
	var answer goredis.Error
	if !errors.As(err, &answer) {
		return false
	}
	code, _, _ := strings.Cut(answer.Error(), " ")
	return slices.Contains(codes, code)
}

// isRefusal reports whether a server, or a proxy before it, refuses connections
// for now: the login is wrong, or there are too many clients.
func isRefusal(answer replyError) bool {
	return hasCode(answer, "NOAUTH", "WRONGPASS", "DENIED") || strings.Contains(string(answer), "max number of clients")
}

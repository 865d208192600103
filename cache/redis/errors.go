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

// failed says what an error means to a caller. Whatever is neither a value of
// the wrong type nor a closed store is a store that is of no use right now: no
// connection, no answer in time, or a refusal by the server.
func (s *Store) failed(doing string, err error) error {
	switch {
	case s.closed.Load(), errors.Is(err, goredis.ErrClosed):
		return fmt.Errorf("%s: %w", doing, cache.ErrClosed)
	case isWrongType(err):
		return fmt.Errorf("%s: %w", doing, errWrongType)
	}
	s.reload()
	return fmt.Errorf("%s: %w: %w", doing, cache.ErrUnavailable, withoutKeys(err))
}

// withoutKeys is an error without what a server repeats of a command's
// arguments.
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

// reload makes the client of a cluster look for changes: a master that is
// gone redirects no request.
func (s *Store) reload() {
	if c, ok := s.primary.(*goredis.ClusterClient); ok {
		c.ReloadState(context.Background())
	}
}

var errWrongType = fmt.Errorf("%w: value is not a string", cache.ErrInvalidRecord)

// isWrongType reports whether a key has something else than a string. Old
// servers wrap such an error in one of the script that met it.
func isWrongType(err error) bool {
	var answer goredis.Error
	return errors.As(err, &answer) && strings.Contains(answer.Error(), "WRONGTYPE")
}

// hasCode reports whether a server answered an error with one of the codes,
// which is its first word.
func hasCode(err error, codes ...string) bool {
	var answer goredis.Error
	if !errors.As(err, &answer) {
		return false
	}
	code, _, _ := strings.Cut(answer.Error(), " ")
	return slices.Contains(codes, code)
}

// isRefusal reports whether a server, or what stands before it, takes no
// connections from us now: the login is wrong, or there are too many clients.
func isRefusal(answer replyError) bool {
	return hasCode(answer, "NOAUTH", "WRONGPASS", "DENIED") || strings.Contains(string(answer), "max number of clients")
}

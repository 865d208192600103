package redis

import (
	"context"
	"fmt"

	goredis "github.com/redis/go-redis/v9"
)

// LogTo sends what go-redis logs to a function. This is for the whole
// process, because go-redis has one log for all its clients.
func LogTo(log func(message string)) { goredis.SetLogger(logger(log)) }

type logger func(message string)

// Printf implements go-redis' logging.
func (l logger) Printf(_ context.Context, format string, values ...any) {
	l(fmt.Sprintf(format, values...))
}

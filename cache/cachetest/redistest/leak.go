package redistest

import "go.uber.org/goleak"

// IgnoreLateDials is for the TestMain of packages that use go-redis, which sees
// up to a second late that a pool whose server was gone is closed.
func IgnoreLateDials() goleak.Option {
	return goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial")
}

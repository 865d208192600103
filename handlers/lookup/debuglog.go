package lookup

import (
	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/filewallball/caddy-filewallball/cache"
)

// debugLog logs each lookup at the level DEBUG. The level of a log changes only
// with the configuration.
type debugLog struct {
	logger  *zap.Logger // nil where the level is not DEBUG
	message string
}

func newDebugLog(ctx caddy.Context, message string) debugLog {
	if logger := ctx.Logger(); logger.Core().Enabled(zapcore.DebugLevel) {
		return debugLog{logger, message}
	}
	return debugLog{}
}

// log logs the outcome of a lookup, without its identity and key, which may be
// credentials.
func (d debugLog) log(r *cache.Result) {
	if d.logger != nil {
		d.logger.Debug(d.message, zap.String("outcome", string(r.Outcome)), zap.Bool("hit", r.Hit),
			zap.String("from", r.From), zap.Duration("ttl", r.TTL), zap.Error(r.Err))
	}
}

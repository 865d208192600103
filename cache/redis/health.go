package redis

import (
	"context"
	"log/slog"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

const (
	logDown = "redis is unreachable"
	logUp   = "redis is reachable"
)

// Up reports whether Redis answered the last background ping. It is false
// before the first answer.
func (s *Store) Up() bool { return s.up.Load() }

// DownSince returns since when Redis does not answer background pings. ok is
// false where it does, and before the first one.
func (s *Store) DownSince() (since time.Time, ok bool) {
	turned := s.turned.Load()
	return time.Unix(0, turned), turned != 0 && !s.up.Load()
}

// Ping pings the server, or all masters of a cluster. A server that refuses the
// command alone has answered: its user lacks the right to it, or it cannot save
// its records, for which Redis refuses PING too. A result that differs from that of
// the last background ping leads to a new one at once.
func (s *Store) Ping(ctx context.Context) error {
	err := s.ping(ctx)
	if (err == nil) != s.up.Load() {
		s.pollSoon()
	}
	return err
}

func (s *Store) ping(ctx context.Context) error {
	const doing = "pinging"
	if s.closed.Load() {
		return s.failed(doing, goredis.ErrClosed)
	}
	shards, err := s.shards(ctx)
	if err != nil {
		return s.failed(doing, err)
	}
	for _, shard := range shards {
		if err := shard.client.Ping(ctx).Err(); err != nil && !hasCode(err, "NOPERM", "MISCONF") {
			return s.failed(doing, err)
		}
	}
	return nil
}

// pollSoon asks for a ping before the next interval is over.
func (s *Store) pollSoon() {
	select {
	case s.poll <- struct{}{}:
	default:
	}
}

// pollHealth pings at once, then at each interval and whenever a circuit breaker
// opens or closes, and logs what changes.
func (s *Store) pollHealth(ctx context.Context) {
	ticker := time.NewTicker(s.options.HealthCheckInterval)
	defer ticker.Stop()
	for first := true; ; first = false {
		err := s.askHealth(ctx)
		if ctx.Err() != nil {
			return
		}
		if was := s.up.Swap(err == nil); was != (err == nil) || first {
			s.turned.Store(time.Now().UnixNano())
			s.logHealth(err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-s.poll:
		}
	}
}

func (s *Store) logHealth(err error) {
	address := slog.String("address", s.serverAddress())
	if err != nil {
		s.logger.Error(logDown, address, slog.Any("error", err))
	} else {
		s.logger.Info(logUp, address)
	}
}

func (s *Store) askHealth(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, min(s.options.HealthCheckInterval, s.options.ReadTimeout))
	defer cancel()
	return s.ping(ctx)
}

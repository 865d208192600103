// Scripts in pipelines: many runs share a round trip.

package redis

import (
	"context"

	goredis "github.com/redis/go-redis/v9"
)

// scriptCall is one run of a script over the keys of a load.
type scriptCall struct {
	script *leaseScript
	keys   []string
	args   []any
	bytes  int // of the record in args
	answer any
	err    error

	cmd *goredis.Cmd // nil: not sent yet
}

func (c *scriptCall) size() int { return c.bytes }

// queue adds the script to a pipeline, by its hash.
func (c *scriptCall) queue(ctx context.Context, pipe goredis.Pipeliner) {
	c.queueAs(ctx, pipe, "evalsha", c.script.Hash())
}

func (c *scriptCall) queueAs(ctx context.Context, pipe goredis.Pipeliner, command, script string) {
	args := make([]any, 0, 3+len(c.keys)+len(c.args))
	args = append(args, command, script, len(c.keys))
	for _, key := range c.keys {
		args = append(args, key)
	}
	c.cmd = goredis.NewCmd(ctx, append(args, c.args...)...)
	c.cmd.SetFirstKeyPos(3)
	if c.script == &acquire {
		_ = pipe.Process(ctx, acquireCmd{c.cmd})
	} else {
		_ = pipe.Process(ctx, c.cmd)
	}
}

// sendScripts carries out scripts in one round trip.
func (s *Store) sendScripts(ctx context.Context, calls []*scriptCall) error {
	if s.closed.Load() {
		return s.failed("running scripts", goredis.ErrClosed)
	}
	pipe := s.primary.Pipeline()
	for _, c := range calls {
		c.queue(ctx, pipe)
	}
	_, _ = pipe.Exec(ctx) // each command has its own error
	s.runAgain(ctx, calls)
	return nil
}

// runAgain takes the answers of scripts. It sends those again whose script the
// server has forgotten, and those in a slot that is being moved.
func (s *Store) runAgain(ctx context.Context, calls []*scriptCall) {
	var forgotten []*scriptCall
	for _, c := range calls {
		if c.answer, c.err = c.cmd.Result(); hasCode(c.err, "NOSCRIPT") {
			forgotten = append(forgotten, c)
		}
	}
	if forgotten != nil {
		pipe := s.primary.Pipeline()
		for _, c := range forgotten {
			c.queueAs(ctx, pipe, "eval", c.script.text)
		}
		_, _ = pipe.Exec(ctx)
		for _, c := range forgotten {
			c.answer, c.err = c.cmd.Result()
		}
	}
	for _, c := range calls {
		if hasCode(c.err, "TRYAGAIN") {
			if cmd, ok := s.runHalfMoved(ctx, c.script, c.keys, c.args); ok {
				c.answer, c.err = cmd.Result()
			}
		}
	}
}

// acquireCmd is a run of the script acquire, which reads and may write.
type acquireCmd struct{ *goredis.Cmd }

// wrote reports whether the script took a lease.
func (c acquireCmd) wrote() bool {
	answer, _ := c.Val().([]any)
	if len(answer) == 0 {
		return false
	}
	_, taken := answer[0].(int64)
	return taken
}

package redis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

const (
	// leaseTime is how long near copies are trusted from when the last answered
	// check was sent.
	leaseTime = time.Second
	// Pauses between attempts to connect: they double from the first to the
	// last. Only a server that says that it will never report writes is asked
	// again after unsupportedFor.
	reconnectMin   = 20 * time.Millisecond
	reconnectMax   = 750 * time.Millisecond
	unsupportedFor = 30 * time.Second
)

// errUnsupported says that a server will never report writes.
var errUnsupported = errors.New("the server does not report writes")

// errUnreported says that a server takes part in everything, but did not report
// several canaries in a row. That may change: it is tried again soon.
var errUnreported = errors.New("writes are not reported")

// trackerState is what is known of a tracker's connection.
type trackerState int

const (
	trackerLost        trackerState = iota // not connected, or in doubt
	trackerLive                            // every write is reported
	trackerUnsupported                     // the server answers but reports no writes
)

// tracker keeps one connection on which a server reports every write under some
// prefixes, by whomever (CLIENT TRACKING in BCAST mode, RESP3).
// https://redis.io/docs/latest/develop/reference/client-side-caching/
type tracker struct {
	connector *connector
	addr      string
	prefixes  []string
	canary    *canary
	// written hears of keys, or of nil for all keys.
	written func(keys []string)
	// changed hears of each change of state before anything else happens.
	changed func(trackerState)
	// trusted hears until when all writes are known to be reported.
	trusted func(until time.Time)
	// read is set while reads of ours may go to the server.
	read atomic.Bool
	// answered hears that the server answers again.
	answered func()

	cancel  context.CancelFunc
	done    chan struct{}
	restart chan struct{} // begin a new connection now
	// unheard counts canaries in a row that were not reported, while the server
	// was the one they are written to, or was not, as wasMaster says.
	unheard   int
	wasMaster bool
}

func newTracker(c *connector, addr string, prefixes []string, canary *canary) *tracker {
	return &tracker{
		connector: c, addr: addr, prefixes: prefixes, canary: canary,
		done: make(chan struct{}), restart: make(chan struct{}, 1),
	}
}

// trackingCommand asks for reports of writes.
func trackingCommand(prefixes []string) []string {
	command := []string{"CLIENT", "TRACKING", "ON", "BCAST"}
	for _, prefix := range prefixes {
		if prefix != "" {
			command = append(command, "PREFIX", prefix)
		}
	}
	return command
}

// asUnsupported marks the errors that mean that a server will never report writes.
func asUnsupported(err error) error {
	if saysNever(err) {
		return fmt.Errorf("%w: %w", errUnsupported, err)
	}
	return err
}

// saysNever reports whether a server refuses a command whenever it is sent: it
// has no right to it, or the server does not know it. Servers say the latter,
// and much that is over in a moment, with the code ERR.
func saysNever(err error) bool {
	switch {
	case hasCode(err, "NOPERM", "NOPROTO"):
		return true
	case !hasCode(err, "ERR"):
		return false
	}
	text := strings.ToLower(err.Error())
	return slices.ContainsFunc(neverWords, func(words string) bool { return strings.Contains(text, words) })
}

var neverWords = []string{
	"unknown", "unsupported", "not supported", "not implemented", "not allowed", "disabled",
	"syntax error", "wrong number of arguments", "no such command",
}

// start runs the tracker until stop.
func (t *tracker) start() {
	ctx, cancel := context.WithCancel(context.Background())
	t.cancel = cancel
	go t.run(ctx)
}

// stop ends the tracker and waits for it.
func (t *tracker) stop() {
	t.cancel()
	<-t.done
}

// restartNow ends the connection there is and begins another one.
func (t *tracker) restartNow() {
	select {
	case t.restart <- struct{}{}:
	default:
	}
}

func (t *tracker) run(ctx context.Context) {
	defer close(t.done)
	for pause := reconnectMin; ctx.Err() == nil; pause = min(reconnectMax, 2*pause) {
		started := time.Now()
		err := t.session(ctx)
		if time.Since(started) > leaseTime {
			pause = reconnectMin // it had worked for a while
		}
		wait := pause/2 + rand.N(pause)
		switch {
		case errors.Is(err, errUnsupported):
			t.changed(trackerUnsupported)
			wait = unsupportedFor/2 + rand.N(unsupportedFor)
		case errors.Is(err, errUnreported):
			t.changed(trackerUnsupported)
		default:
			t.changed(trackerLost)
		}
		select {
		case <-ctx.Done():
		case <-t.restart:
		case <-time.After(max(wait, time.Until(t.connector.nextTry(t.addr)))):
		}
	}
}

// handle hears ["invalidate", [key, …]], or nil instead of keys after FLUSHALL.
func (t *tracker) handle(notification pushed) {
	if len(notification) < 1 || notification[0] != "invalidate" {
		return
	}
	list, ok := []any(nil), false
	if len(notification) > 1 {
		list, ok = notification[1].([]any)
	}
	if !ok {
		t.written(nil)
		return
	}
	keys := make([]string, 0, len(list))
	for _, item := range list {
		key, ok := item.(string)
		if !ok {
			t.written(nil)
			return
		}
		keys = append(keys, key)
	}
	t.written(keys)
	t.canary.reported(keys)
}

// minimalPrefixes leaves out what another prefix covers, for the server
// refuses prefixes that overlap. The empty prefix covers all.
func minimalPrefixes(prefixes []string) []string {
	prefixes = slices.Clone(prefixes)
	slices.Sort(prefixes)
	var minimal []string
	for _, prefix := range prefixes {
		if n := len(minimal); n > 0 && strings.HasPrefix(prefix, minimal[n-1]) {
			continue
		}
		minimal = append(minimal, prefix)
	}
	return minimal
}

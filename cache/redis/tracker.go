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
	// leaseTime is how long near copies are trusted after the last answered check
	// was sent.
	leaseTime = time.Second
	// Pauses between attempts to connect: they double from reconnectMin to
	// reconnectMax. A server that will never report writes is tried again after
	// unsupportedFor.
	reconnectMin   = 20 * time.Millisecond
	reconnectMax   = 750 * time.Millisecond
	unsupportedFor = 30 * time.Second
)

// errUnsupported says that a server will never report writes.
var errUnsupported = errors.New("the server does not report writes")

// errUnreported says that a server answers everything but did not report
// several canaries in a row. This may change, so it is tried again soon.
var errUnreported = errors.New("writes are not reported")

// trackerState is the state of a tracker's connection.
type trackerState int

const (
	trackerLost        trackerState = iota // not connected, or in doubt
	trackerLive                            // every write is reported
	trackerUnsupported                     // the server answers but reports no writes
)

// tracker keeps one connection on which a server reports every write by any
// client under some prefixes (CLIENT TRACKING in BCAST mode, RESP3).
// https://redis.io/docs/latest/develop/reference/client-side-caching/
type tracker struct {
	connector *connector
	addr      string
	prefixes  []string
	canary    *canary
	// written is called with the keys that were written, or with nil for all keys.
	// It must not retain the slice.
	written func(keys []string)
	// changed is called at each change of state, before anything else happens. err
	// is why writes are not reported, nil where they are.
	changed func(state trackerState, err error)
	// doubted is called where the connection works and its server may no longer be
	// the one that the address leads to.
	doubted func(err error)
	// trusted is called with the time until which all writes are known to be
	// reported.
	trusted func(until time.Time)
	// read is set while this store may read from the server.
	read atomic.Bool
	// answered is called when the server answers again.
	answered func()

	cancel  context.CancelFunc
	done    chan struct{}
	restart chan struct{} // begin a new connection now
	// unreported counts the canaries in a row that were not reported while the role of
	// the server was that of wasMaster.
	unreported int
	wasMaster  bool
}

func newTracker(c *connector, addr string, prefixes []string, canary *canary) *tracker {
	return &tracker{
		connector: c, addr: addr, prefixes: prefixes, canary: canary,
		done: make(chan struct{}), restart: make(chan struct{}, 1),
	}
}

// trackingCommand returns the command that asks for reports of writes.
func trackingCommand(prefixes []string) []string {
	command := []string{"CLIENT", "TRACKING", "ON", "BCAST"}
	for _, prefix := range prefixes {
		if prefix != "" {
			command = append(command, "PREFIX", prefix)
		}
	}
	return command
}

// asUnsupported wraps the errors that mean that a server will never report writes in
// errUnsupported.
func asUnsupported(err error) error {
	if saysNever(err) {
		return fmt.Errorf("%w: %w", errUnsupported, err)
	}
	return err
}

// saysNever reports whether a server will always refuse a command: it denies the
// permission, or it does not know the command. Servers answer an unknown
// command with the code ERR, which is also that of passing errors.
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

// restartNow ends the current connection and begins another one.
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
			t.changed(trackerUnsupported, err)
			wait = unsupportedFor/2 + rand.N(unsupportedFor)
		case errors.Is(err, errUnreported):
			t.changed(trackerUnsupported, err)
		default:
			t.changed(trackerLost, err)
		}
		select {
		case <-ctx.Done():
		case <-t.restart:
		case <-time.After(max(wait, time.Until(t.connector.nextTry(t.addr)))):
		}
	}
}

// report reports keys that were written, or nil for all keys.
func (t *tracker) report(keys []string) {
	t.written(keys)
	t.canary.reported(keys)
}

// minimalPrefixes removes prefixes that another prefix covers, because the
// server refuses prefixes that overlap. The empty prefix covers all.
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

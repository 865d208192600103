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

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/push"
)

const (
	// A tracker pings as often as this and is in doubt after as many pings
	// without answer: a connection that is half open is found out within a
	// second.
	pingInterval = 250 * time.Millisecond
	pingsMissed  = 3
	// canaryWait is how long the push for a write of our own may take, before
	// we believe that this server, or what stands before it, sends none.
	canaryWait = time.Second
	// trackerChannel is what a tracker subscribes to, for go-redis reads
	// pushes on subscribed connections only. Nobody publishes there.
	trackerChannel = "filewallball:tracker"
	// pauses between attempts to connect, and after a server has turned out
	// not to send pushes
	reconnectMin   = 20 * time.Millisecond
	reconnectMax   = time.Second
	unsupportedFor = 30 * time.Second
)

// errUnsupported says that a node answers but does not tell of writes.
var errUnsupported = errors.New("the server does not tell of writes")

// trackerState is what is known of a tracker's connection.
type trackerState int

const (
	trackerLost        trackerState = iota // not connected, or in doubt
	trackerLive                            // every write is told
	trackerUnsupported                     // the server answers but does not tell of writes
)

// tracker is one connection on which a node tells of every write under some
// prefixes, by whomever (CLIENT TRACKING in BCAST mode, RESP3).
// https://redis.io/docs/latest/develop/reference/client-side-caching/
type tracker struct {
	addr   string
	client *goredis.Client
	// canary writes a key that this node must tell of.
	canary func(ctx context.Context) (key string, err error)
	// written hears of keys, or of nil for all keys.
	written func(keys []string)
	// changed hears of each change of state before anything else happens.
	changed func(trackerState)

	cancel context.CancelFunc
	done   chan struct{}
	// awaiting gets the keys told of while a canary is awaited.
	awaiting atomic.Pointer[chan string]
}

// newTracker connects with options, which must be those of one node.
func newTracker(options *goredis.Options, prefixes []string) *tracker {
	options.Protocol = 3
	options.PoolSize, options.MinIdleConns, options.PipelinePoolSize = 1, 0, -1
	options.MaxRetries = -1
	options.PushNotificationProcessor = nil // a new one, for this client alone
	options.OnConnect = func(ctx context.Context, conn *goredis.Conn) error {
		return beginTracking(ctx, conn, prefixes)
	}
	return &tracker{addr: options.Addr, client: goredis.NewClient(options), done: make(chan struct{})}
}

// beginTracking asks the server for pushes. go-redis falls back to RESP2 in
// silence, where a push never comes, so the protocol is checked first.
func beginTracking(ctx context.Context, conn *goredis.Conn, prefixes []string) error {
	hello, err := conn.Do(ctx, "HELLO").Result()
	if err != nil {
		return asUnsupported(err)
	}
	if fields, ok := hello.(map[any]any); !ok || fields["proto"] != int64(3) {
		return fmt.Errorf("%w: it does not speak RESP3", errUnsupported)
	}
	args := []any{"CLIENT", "TRACKING", "ON", "BCAST"}
	for _, prefix := range prefixes {
		if prefix != "" {
			args = append(args, "PREFIX", prefix)
		}
	}
	return asUnsupported(conn.Do(ctx, args...).Err())
}

// asUnsupported tells a refusal by the server from a failure to reach it.
func asUnsupported(err error) error {
	var refusal goredis.Error
	if errors.As(err, &refusal) && !goredis.HasErrorPrefix(err, "LOADING") {
		return fmt.Errorf("%w: %w", errUnsupported, err)
	}
	return err
}

// start runs the tracker until stop.
func (t *tracker) start() {
	ctx, cancel := context.WithCancel(context.Background())
	t.cancel = cancel
	// it fails only for a second handler of one client; a tracker that heard
	// nothing would not hear its canary either
	_ = t.client.RegisterPushNotificationHandler("invalidate", pushHandler(t.handle), true)
	go t.run(ctx)
}

// stop ends the tracker and waits for it.
func (t *tracker) stop() {
	t.cancel()
	<-t.done
	_ = t.client.Close()
}

func (t *tracker) run(ctx context.Context) {
	defer close(t.done)
	for pause := reconnectMin; ctx.Err() == nil; pause = min(reconnectMax, 2*pause) {
		wait := pause
		started := time.Now()
		err := t.session(ctx)
		switch {
		case errors.Is(err, errUnsupported):
			t.changed(trackerUnsupported)
			wait = unsupportedFor
		default:
			t.changed(trackerLost)
		}
		if time.Since(started) > reconnectMax {
			pause = reconnectMin // it had worked for a while
			wait = pause
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait/2 + rand.N(wait)):
		}
	}
}

// session is the life of one connection. It returns at the first doubt.
func (t *tracker) session(ctx context.Context) error {
	dial, cancel := context.WithTimeout(ctx, canaryWait)
	defer cancel()
	subscription := t.client.Subscribe(ctx) // connects to nothing yet
	defer subscription.Close()
	if err := subscription.Subscribe(dial, trackerChannel); err != nil {
		return err
	}
	// whatever ends the session closes the connection, which ends the listener
	listener := t.read(ctx, subscription)
	defer func() {
		_ = subscription.Close()
		<-listener.done
	}()
	select {
	case <-listener.subscribed:
	case <-listener.done:
		return listener.err
	case <-dial.Done():
		return dial.Err()
	}
	live := false
	canary := t.awaitCanary(ctx)
	ping := time.NewTicker(pingInterval)
	defer ping.Stop()
	for {
		select {
		case err := <-canary:
			if err != nil {
				return err
			}
			live, canary = true, nil
			t.changed(trackerLive)
		case <-ping.C:
			if listener.missed.Add(1) > pingsMissed {
				return fmt.Errorf("no answer to %d pings", pingsMissed)
			}
			if err := subscription.Ping(ctx); err != nil {
				return err
			}
		case <-listener.done:
			if live {
				t.changed(trackerLost)
			}
			return listener.err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// listener reads one connection in a goroutine that ends with the connection.
type listener struct {
	subscribed, done chan struct{}
	missed           atomic.Int32 // pings since the last answer
	err              error        // once done
}

func (t *tracker) read(ctx context.Context, subscription *goredis.PubSub) *listener {
	r := &listener{subscribed: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(r.done)
		ready := r.subscribed
		for {
			// pushes are handled inside, before what comes after them
			message, err := subscription.ReceiveTimeout(ctx, 0)
			if err != nil {
				r.err = asUnsupported(err)
				return
			}
			switch message.(type) {
			case *goredis.Subscription:
				if ready == nil {
					// go-redis has connected anew by itself
					r.err = errors.New("the connection was replaced")
					return
				}
				close(ready)
				ready = nil
			case *goredis.Pong:
				r.missed.Store(0)
			}
		}
	}()
	return r
}

// awaitCanary writes a key and waits for the node to tell of it.
func (t *tracker) awaitCanary(ctx context.Context) <-chan error {
	result := make(chan error, 1)
	told := make(chan string, 16)
	t.awaiting.Store(&told)
	go func() {
		defer t.awaiting.CompareAndSwap(&told, nil)
		ctx, cancel := context.WithTimeout(ctx, canaryWait)
		defer cancel()
		key, err := t.canary(ctx)
		if err != nil {
			result <- fmt.Errorf("writing a canary: %w", asUnsupported(err))
			return
		}
		for {
			select {
			case seen := <-told:
				if seen == key {
					result <- nil
					return
				}
			case <-ctx.Done():
				result <- fmt.Errorf("%w: it did not tell of a write within %s", errUnsupported, canaryWait)
				return
			}
		}
	}()
	return result
}

// pushHandler makes a function a go-redis handler.
type pushHandler func(notification []any)

func (h pushHandler) HandlePushNotification(_ context.Context, _ push.NotificationHandlerContext, notification []any) error {
	h(notification)
	return nil
}

// handle hears ["invalidate", [key, …]], or nil instead of keys after FLUSHALL.
func (t *tracker) handle(notification []any) {
	if len(notification) < 2 || notification[1] == nil {
		t.written(nil)
		return
	}
	list, ok := notification[1].([]any)
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
	if told := t.awaiting.Load(); told != nil {
		for _, key := range keys {
			select {
			case *told <- key:
			default: // many writes at once; the canary waits for its own among the next
			}
		}
	}
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

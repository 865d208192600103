// Failures of this machine and not of the server: no file descriptors, ports or
// memory for another connection.

package redis

import (
	"context"
	"errors"
	"net"
	"sync"
	"syscall"
	"time"
)

// localErrnos are errors of dialing for want of a resource of this machine.
var localErrnos = []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM}

// localError means that a connection could not be made because this machine is
// out of a resource. It hides the network error, which go-redis would retry by
// itself.
type localError struct{ text string }

func (e *localError) Error() string { return e.text }

// isLocal reports whether an error is a localError, or one that asLocal converts.
func isLocal(err error) bool {
	var lack *localError
	if errors.As(err, &lack) {
		return true
	}
	for _, e := range localErrnos {
		if errors.Is(err, e) {
			return true
		}
	}
	return isOutOfPorts(err, dialUDP)
}

// isOutOfPorts reports whether a dial failed because all local ports are in use.
// The kernel has the same error for an address that no local address can reach,
// such as an IPv6 address where IPv6 is off. UDP has ports of its own, so that
// dial, which connects a UDP socket to the address, fails only then.
func isOutOfPorts(err error, dial func(*net.UDPAddr) error) bool {
	var op *net.OpError
	if !errors.Is(err, syscall.EADDRNOTAVAIL) || !errors.As(err, &op) {
		return false
	}
	to, ok := op.Addr.(*net.TCPAddr)
	if !ok {
		return false
	}
	err = dial(&net.UDPAddr{IP: to.IP, Port: to.Port, Zone: to.Zone})
	return !errors.Is(err, syscall.EADDRNOTAVAIL) && !errors.Is(err, syscall.ENETUNREACH)
}

// dialUDP connects a UDP socket, which sends nothing.
func dialUDP(to *net.UDPAddr) error {
	cn, err := net.DialUDP("udp", nil, to)
	if err != nil {
		return err
	}
	return cn.Close()
}

// asLocal converts an error for want of a resource to a localError.
func asLocal(err error) error {
	if isLocal(err) {
		return &localError{err.Error()}
	}
	return err
}

const (
	// localPause is how long a turn is withdrawn after its connection could not
	// be made, and how long a caller waits if there is no connection at all.
	localPause = 250 * time.Millisecond
	localRetry = 20 * time.Millisecond
)

// withdrawn counts the turns without a connection. The other turns go round
// among all callers, with the connections that exist.
type withdrawn struct {
	mu sync.Mutex
	n  int
}

// withdraw takes the caller's turn away, unless it is the last one.
func (t *turns) withdraw() bool {
	w := &t.withdrawn
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.n+1 >= cap(t.free) {
		return false
	}
	if w.n++; w.n == 1 {
		time.AfterFunc(localPause, t.restore)
	}
	return true
}

// restore gives back all turns that were withdrawn.
func (t *turns) restore() {
	w := &t.withdrawn
	w.mu.Lock()
	defer w.mu.Unlock()
	for ; w.n > 0; w.n-- {
		t.giveBack()
	}
}

// another gives a caller whose turn had no connection the turn of another
// caller, which leaves a connection behind. If it returns false, the caller has
// no turn.
func (t *turns) another(ctx context.Context) bool {
	if t.withdraw() {
		_, err := t.take(ctx)
		return err == nil
	}
	select {
	case <-ctx.Done():
	case <-time.After(localRetry):
	}
	return true
}

// Package ports reserves ports of 127.0.0.1 for the servers of tests and
// benchmarks, which have to be told a port before they start.
//
// A port that was free a moment ago may be taken when the server starts: by
// another test process, or by an outgoing connection, which gets a port of
// the system's own choice. So a port is reserved until the test ends, also
// against the other test processes of this machine, and lies below the ports
// that systems choose from (32768 and up on Linux, 49152 and up on macOS and
// Windows).
package ports

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"testing"
)

const (
	lowest = 10_000
	count  = 10_000
	// The second port of a reservation lies that much above the first one.
	// Its distance is that of the port where the nodes of a Redis Cluster talk
	// to each other: the bus, for which no other port can be chosen.
	busOffset = 10_000
)

// Port is a reserved port. No other test process, and no other test of this
// one, gets it or its bus port until it is released.
type Port struct {
	// Number is the port, from 10000 to 19999.
	Number int

	lock net.PacketConn
}

// reserved are the ports that are not released, by their numbers. A lock that
// nothing referred to would be closed by the garbage collector.
var reserved sync.Map

// Reserve reserves a port on which nothing listens, and neither on its bus
// port. The reservation ends with [Port.Release], or with the process.
func Reserve() (*Port, error) {
	for range 10 * count {
		if p := reserve(lowest + rand.IntN(count)); p != nil {
			return p, nil
		}
	}
	return nil, errors.New("no free port of 127.0.0.1 from 10000 to 19999 was found")
}

// reserve returns nil if the port is taken.
func reserve(number int) *Port {
	// The lock is the UDP port of the bus, which nothing else uses. The system
	// releases it with the process, however that ends.
	lock, err := net.ListenPacket("udp4", address(number+busOffset))
	if err != nil {
		return nil
	}
	if free(number) && free(number+busOffset) {
		p := &Port{number, lock}
		reserved.Store(number, p)
		return p
	}
	_ = lock.Close()
	return nil
}

// Addr is 127.0.0.1 with the port.
func (p *Port) Addr() string { return address(p.Number) }

// Release ends the reservation. The server should have ended by then.
func (p *Port) Release() {
	if reserved.CompareAndDelete(p.Number, p) {
		_ = p.lock.Close()
	}
}

// Addr reserves a port until the test ends, and returns 127.0.0.1 with it.
// Nothing listens there before the test does.
func Addr(t testing.TB) string {
	t.Helper()
	p, err := Reserve()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Release)
	return p.Addr()
}

func address(port int) string { return "127.0.0.1:" + strconv.Itoa(port) }

func free(port int) bool {
	l, err := net.Listen("tcp4", address(port))
	if err != nil {
		return false
	}
	_ = l.Close()
	return true
}

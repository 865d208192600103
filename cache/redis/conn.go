package redis

import (
	"bufio"
	"fmt"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/filewallball/caddy-filewallball/cache/clock"
)

// conn is a connection to a server.
type conn struct {
	net.Conn
	connector *connector
	server    *server
	made      time.Time // when it was begun
	runID     string    // of the server
	reader    *bufio.Reader
	dropped   atomic.Bool
	// when something was last read and written, as clock.Now
	lastRead, lastWrite atomic.Int64
}

func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.lastRead.Store(int64(clock.Now()))
	}
	return n, err
}

func (c *conn) Write(b []byte) (int, error) {
	if c.dropped.Load() {
		return 0, errDropped
	}
	c.lastWrite.Store(int64(clock.Now()))
	return c.Conn.Write(b)
}

// Close closes the connection and removes it from the connector.
func (c *conn) Close() error {
	c.connector.mu.Lock()
	if c.server != nil {
		delete(c.server.conns, c)
	}
	c.connector.mu.Unlock()
	return c.Conn.Close()
}

// errDropped makes go-redis try another connection.
var errDropped = fmt.Errorf("the connection was dropped: %w", net.ErrClosed)

// drop allows no further writes. It closes the connection, unless an answer is
// still awaited; go-redis waits for that no longer than its caller does.
func (c *conn) drop() {
	c.dropped.Store(true)
	if c.lastWrite.Load() <= c.lastRead.Load() {
		_ = c.Conn.Close()
	}
}

// SyscallConn lets go-redis check that a connection is still usable. An
// encrypted connection cannot be checked.
func (c *conn) SyscallConn() (syscall.RawConn, error) {
	if c.dropped.Load() {
		return nil, errDropped
	}
	if raw, ok := c.Conn.(syscall.Conn); ok {
		return raw.SyscallConn()
	}
	return opaqueConn{}, nil
}

type opaqueConn struct{}

func (opaqueConn) Control(func(uintptr)) error   { return nil }
func (opaqueConn) Read(func(uintptr) bool) error { return nil }
func (opaqueConn) Write(func(uintptr) bool) error {
	return nil
}

// failedConn stands for a connection that could not be made.
type failedConn struct {
	err error
}

func (c failedConn) Read([]byte) (int, error)              { return 0, c.err }
func (c failedConn) Write([]byte) (int, error)             { return 0, c.err }
func (failedConn) Close() error                            { return nil }
func (failedConn) LocalAddr() net.Addr                     { return &net.TCPAddr{} }
func (failedConn) RemoteAddr() net.Addr                    { return &net.TCPAddr{} }
func (failedConn) SetDeadline(time.Time) error             { return nil }
func (failedConn) SetReadDeadline(time.Time) error         { return nil }
func (failedConn) SetWriteDeadline(time.Time) error        { return nil }
func (c failedConn) SyscallConn() (syscall.RawConn, error) { return nil, c.err }

// Interface guards
var (
	_ net.Conn     = (*conn)(nil)
	_ syscall.Conn = (*conn)(nil)
	_ net.Conn     = failedConn{}
	_ syscall.Conn = failedConn{}
)

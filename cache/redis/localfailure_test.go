package redis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// refusedPort is the error of the kernel that finds no local address and port
// for a connection to an address.
func refusedPort(to net.Addr) error {
	return &net.OpError{Op: "dial", Net: "tcp", Addr: to, Err: os.NewSyscallError("connect", syscall.EADDRNOTAVAIL)}
}

// The kernel has one error for a machine without a free port and for one that
// has no address of the family, as where IPv6 is off.
func TestOnlyExhaustedPortsAreALocalFailure(t *testing.T) {
	t.Parallel()
	to := &net.TCPAddr{IP: net.IPv6loopback, Port: 6379}
	for name, c := range map[string]struct {
		err   error
		probe error // of an address without a port of its own
		want  bool
	}{
		"no port":                     {refusedPort(to), nil, true},
		"no port, wrapped":            {fmt.Errorf("asking: %w", refusedPort(to)), nil, true},
		"no port of either protocol":  {refusedPort(to), os.NewSyscallError("connect", syscall.EAGAIN), true},
		"no address":                  {refusedPort(to), os.NewSyscallError("connect", syscall.EADDRNOTAVAIL), false},
		"no network":                  {refusedPort(to), os.NewSyscallError("connect", syscall.ENETUNREACH), false},
		"a socket file":               {refusedPort(&net.UnixAddr{Name: "/run/redis.sock", Net: "unix"}), nil, false},
		"an error without an address": {syscall.EADDRNOTAVAIL, nil, false},
		"another error":               {syscall.ECONNREFUSED, nil, false},
	} {
		var probed []*net.UDPAddr
		got := isOutOfPorts(c.err, func(to *net.UDPAddr) error { probed = append(probed, to); return c.probe })
		require.Equal(t, c.want, got, name)
		for _, at := range probed {
			require.Equal(t, to.String(), at.String(), name)
		}
	}
}

// A server that listens can be reached, so the cause was a missing port.
func TestAMissingPortToAReachableServerIsALocalFailure(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	require.True(t, isLocal(refusedPort(listener.Addr())))
	for _, lack := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM} {
		require.True(t, isLocal(os.NewSyscallError("socket", lack)), lack.Error())
	}

	for failure, want := range map[error]bool{refusedPort(listener.Addr()): true, errors.New("another"): false} {
		cn, err := neverFails(func(context.Context, string, string) (net.Conn, error) { return nil, failure })(t.Context(), "tcp", "")
		require.NoError(t, err)
		_, err = cn.Read(nil)
		require.Equal(t, want, isInconclusive(err), failure.Error())
	}
}

//go:build unix

package sitetest

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// FreeAddr returns a loopback address for a listener of Caddy, which no other process
// is given until the test ends: the port is bound, without listening. Caddy can listen
// on it because both set SO_REUSEPORT.
func FreeAddr(t *testing.T) string {
	t.Helper()
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	require.NoError(t, err)
	t.Cleanup(func() { _ = unix.Close(socket) })
	unix.CloseOnExec(socket)
	require.NoError(t, unix.SetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1))
	require.NoError(t, unix.Bind(socket, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	name, err := unix.Getsockname(socket)
	require.NoError(t, err)
	address, ok := name.(*unix.SockaddrInet4)
	require.True(t, ok)
	return netip.AddrPortFrom(netip.AddrFrom4(address.Addr), uint16(address.Port)).String()
}

package ports

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

// hold in the environment makes this test's executable a process that reserves
// a port until its standard input ends.
const hold = "FILEWALLBALL_TEST_HOLD_PORT"

func TestMain(m *testing.M) {
	if os.Getenv(hold) != "" {
		p, err := Reserve()
		if err != nil {
			panic(err)
		}
		fmt.Println(p.Number)
		_, _ = os.Stdin.Read(make([]byte, 1))
		return
	}
	os.Exit(m.Run())
}

func TestAReservedPortIsGivenToOneOnly(t *testing.T) {
	seen := make(map[string]bool)
	for range 500 {
		addr := Addr(t)
		require.False(t, seen[addr], "%s was given twice", addr)
		seen[addr] = true
	}
}

func TestAServerCanListenOnAReservedPortAgainAndAgain(t *testing.T) {
	addr := Addr(t)
	for range 10 {
		l, err := net.Listen("tcp", addr)
		require.NoError(t, err)
		go func() {
			c, err := l.Accept()
			if err == nil {
				_ = c.Close() // the server ends first, so the connection lingers
			}
		}()
		c, err := net.Dial("tcp", addr)
		require.NoError(t, err)
		_, _ = c.Read(make([]byte, 1))
		require.NoError(t, c.Close())
		require.NoError(t, l.Close())
	}
}

func TestAPortThatAnotherProcessReservedIsTaken(t *testing.T) {
	self, err := os.Executable()
	require.NoError(t, err)
	other := exec.CommandContext(t.Context(), self)
	other.Env = append(os.Environ(), hold+"=1")
	input, err := other.StdinPipe()
	require.NoError(t, err)
	output, err := other.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, other.Start())
	t.Cleanup(func() {
		_ = input.Close()
		_ = other.Wait()
	})
	var theirs int
	_, err = fmt.Fscan(output, &theirs)
	require.NoError(t, err)
	require.Nil(t, reserve(theirs))
}

func TestAPortIsFreeAgainWhenItIsReleased(t *testing.T) {
	p, err := Reserve()
	require.NoError(t, err)
	runtime.GC()
	runtime.GC()
	require.Nil(t, reserve(p.Number))
	p.Release()
	p.Release()
	again := reserve(p.Number)
	require.NotNil(t, again)
	again.Release()
}

func TestAPortWithAListenerIsTaken(t *testing.T) {
	p, err := Reserve()
	require.NoError(t, err)
	for _, addr := range []string{p.Addr(), address(p.Number + busOffset)} {
		l, err := net.Listen("tcp", addr)
		require.NoError(t, err)
		p.Release()
		require.Nil(t, reserve(p.Number), addr)
		require.NoError(t, l.Close())
	}
}

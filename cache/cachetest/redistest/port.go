package redistest

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
)

// freePort finds a port without a listener.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// busOffset is where the nodes of a cluster talk to each other: that much
// above the port they talk to clients on.
const busOffset = 10000

// freeClusterPort finds a port whose bus port is free as well. Both are below
// those that the system gives to outgoing connections.
func freeClusterPort() (int, error) {
	for range 1000 {
		port := 10000 + rand.IntN(12000)
		if free(port) && free(port+busOffset) {
			return port, nil
		}
	}
	return 0, errors.New("no pair of free ports found")
}

func free(port int) bool {
	l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
	if err != nil {
		return false
	}
	_ = l.Close()
	return true
}

// A configuration that is only checked has no effect.

package sitetest_test

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAConfigurationThatIsOnlyCheckedConnectsToNothingAndWritesNothing(t *testing.T) {
	server, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { server.Close() })
	connected := make(chan string, 1000)
	go func() {
		for {
			conn, err := server.Accept()
			if err != nil {
				return
			}
			connected <- conn.RemoteAddr().String()
			conn.Close()
		}
	}()
	at := server.Addr().String()
	dir := t.TempDir()
	site := inSite(`root ` + dir + `
session_lookup /a/* {cookie.s} {
	source http http://` + at + `/session
}
cached_forward_auth /b/* ` + at + ` {
	uri /verify
}
file_metadata {
	source file_system {
		hash sha256
	}
}
upload_progress /u/* {path.1}
upload_progress_report /p/* {path.1}
lookup_invalidate /logout {session}
lookup_dashboard /dashboard
file_server`)
	for name, option := range map[string]string{
		"redis":    "redis " + at + " {\nmin_idle_conns 3\n}",
		"cluster":  "redis " + at + " {\nclient_type cluster\nread_from replicas\n}",
		"failover": "redis " + at + " {\nmaster_name m\n}",
		"persist":  "memory {\npersist " + filepath.Join(dir, "state", "records") + "\n}",
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, mistakeOf(t, "{\nfilewallball {\n"+option+"\n}\n}\n"+site))
			last, err := net.Dial("tcp", at)
			require.NoError(t, err)
			defer last.Close()
			require.Equal(t, last.LocalAddr().String(), <-connected, "it connected")
			written, err := os.ReadDir(dir)
			require.NoError(t, err)
			require.Empty(t, written)
		})
	}
}

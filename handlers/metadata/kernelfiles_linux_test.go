package metadata

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// The kernel's files say that they are empty, and are not: file_server answers them
// with an error.
func TestFilesOfTheKernelAreAnsweredAsFileServerDoes(t *testing.T) {
	for name, source := range map[string]string{"date": "", "hash": "hash sha256"} {
		t.Run(name, func(t *testing.T) {
			dir, url, _ := filesSite(t, source)
			require.NoError(t, os.Symlink("/proc/version", filepath.Join(dir, "version")))
			put(t, dir, "empty", "")
			for _, file := range []string{"version", "empty", "version", "empty"} {
				for _, method := range []string{http.MethodGet, http.MethodHead} {
					want, _, wantBody := ask(t, method, url+"/bare/"+file)
					got, _, body := ask(t, method, url+"/with/"+file)
					require.Equal(t, want, got, "%s %s", method, file)
					require.Equal(t, wantBody, body)
				}
			}
		})
	}
}

// The real oauth2-proxy, in a process of its own.

package forwardauth

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache/cachetest/ports"
	"github.com/filewallball/caddy-filewallball/handlers/sitetest"
)

// build makes the executable once per machine and version.
var build = sync.OnceValues(func() (string, error) {
	const module = "oauth2proxy"
	versions, err := os.ReadFile(filepath.Join(module, "go.sum"))
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	sum := sha256.Sum256(versions)
	executable := filepath.Join(cache, "filewallball-e2e", "oauth2-proxy-"+hex.EncodeToString(sum[:8]))
	if _, err := os.Stat(executable); err == nil {
		return executable, nil
	}
	made := fmt.Sprintf("%s.%d", executable, os.Getpid())
	cmd := exec.Command("go", "build", "-o", made, "github.com/oauth2-proxy/oauth2-proxy/v7")
	cmd.Dir = module
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building oauth2-proxy: %w\n%s", err, out)
	}
	return executable, os.Rename(made, executable)
})

// startOAuth2Proxy runs oauth2-proxy before a provider until the test ends, and
// returns its URL.
func startOAuth2Proxy(t *testing.T, p *provider, more ...string) string {
	t.Helper()
	executable, err := build()
	require.NoError(t, err)
	address := ports.Addr(t)
	cmd := exec.CommandContext(t.Context(), executable, append([]string{
		"--http-address=" + address,
		"--provider=oidc", "--oidc-issuer-url=" + p.URL,
		"--client-id=" + clientID, "--client-secret=" + clientSecret,
		"--cookie-secret=0123456789abcdef0123456789abcdef", "--cookie-secure=false",
		"--cookie-domain=.example.test", "--whitelist-domain=.example.test:*",
		"--email-domain=*", "--skip-provider-button=true",
		"--reverse-proxy=true", "--trusted-proxy-ip=127.0.0.1",
		"--upstream=static://202", "--set-xauthrequest=true",
	}, more...)...)
	url := "http://" + address
	sitetest.StartProgram(t, "oauth2-proxy", cmd, url+"/ping")
	return url
}

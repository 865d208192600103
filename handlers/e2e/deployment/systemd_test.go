package deployment

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// unit is a short form of the caddy.service in Caddy's packages.
const unit = `[Unit]
Description=Caddy
After=network-online.target
Wants=network-online.target

[Service]
Type=notify
ExecStart=/bin/sh run --environ --config /etc/caddy/Caddyfile
ExecReload=/bin/sh reload --config /etc/caddy/Caddyfile --force
TimeoutStopSec=5s
AmbientCapabilities=CAP_NET_BIND_SERVICE

[Install]
WantedBy=multi-user.target
`

func TestSystemdAcceptsTheDropIn(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	require.NoError(t, err, "systemd-analyze is missing: .ci/install systemd")
	verify := func(dropIn string) (output string, err error) {
		units := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(units, "caddy.service"), []byte(unit), 0o600))
		require.NoError(t, os.Mkdir(filepath.Join(units, "caddy.service.d"), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(units, "caddy.service.d", "filewallball.conf"), []byte(dropIn), 0o600))
		cmd := exec.CommandContext(t.Context(), analyze, "verify", "--man=no", "--recursive-errors=no", filepath.Join(units, "caddy.service"))
		cmd.Env = append(os.Environ(), "SYSTEMD_UNIT_PATH="+units+":")
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	dropIn := read(t, "systemd/filewallball.conf")
	output, err := verify(dropIn)
	require.NoError(t, err, output)
	require.NotContains(t, output, "filewallball.conf", "a warning")
	for _, wrong := range []string{"LoadCredentials=a:/b\n", "StateDirectory=/caddy\n", "LimitNOFILE=many\n"} {
		output, _ := verify(dropIn + wrong)
		require.Contains(t, output, "filewallball.conf", "%q is not noticed", wrong)
	}
}

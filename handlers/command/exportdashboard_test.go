package command_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheDashboardOfTheRepositoryIsExported(t *testing.T) {
	t.Parallel()
	want, err := os.ReadFile("../../deploy/grafana/filewallball.json")
	require.NoError(t, err)
	require.Equal(t, ran{0, string(want), ""}, execute(t, "", "filewallball", "--address", "127.0.0.1:1", "export-dashboard"), "no Caddy need run")
	require.Equal(t, 2, execute(t, "", "filewallball", "export-dashboard", "file.json").status)
}

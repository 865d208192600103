package deployment

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/stretchr/testify/require"
)

const password = `p&a/s\s w"o'rd`

// compose returns the project of these files, like `docker compose config`.
func compose(t *testing.T, files ...string) *types.Project {
	t.Helper()
	for i, file := range files {
		files[i] = filepath.Join(dir, file)
	}
	options, err := cli.NewProjectOptions(files, cli.WithEnv([]string{
		"REDIS_PASSWORD=" + password, "GRAFANA_PASSWORD=x", "CERTIFICATES=" + t.TempDir(), "FILES=" + t.TempDir(),
	}))
	require.NoError(t, err)
	project, err := options.LoadProject(t.Context())
	require.NoError(t, err)
	return project
}

func TestComposeFilesAreValidAndRequireTheirVariables(t *testing.T) {
	for _, files := range [][]string{{"compose.yml"}, {"compose.yml", "compose.tls.yml"}} {
		project := compose(t, files...)
		require.Equal(t, []string{"front", "grafana", "node1", "node2", "prometheus", "redis"}, project.ServiceNames())
		for name, service := range project.Services {
			for _, volume := range service.Volumes {
				if volume.Type == types.VolumeTypeBind && strings.HasPrefix(volume.Source, mustAbs(t, dir)) {
					_, err := os.Stat(volume.Source)
					require.NoError(t, err, name)
				}
			}
			if service.Build == nil {
				require.NotContains(t, service.Image, ":latest", name)
				require.True(t, service.Image == "caddy-filewallball" || strings.Contains(service.Image, ":"), "%s: a version", name)
			}
			require.True(t, service.ReadOnly, name)
			require.Equal(t, []string{"ALL"}, service.CapDrop, name)
			require.Equal(t, []string{"no-new-privileges:true"}, service.SecurityOpt, name)
		}
		require.Empty(t, project.Services["redis"].Ports, "Redis publishes no port")
		require.True(t, project.Networks["backend"].Internal)
		require.NotContains(t, project.Services["redis"].Networks, "edge")
		require.Equal(t, len(files) == 2, project.Services["redis"].Environment["REDIS_TLS"] != nil)
	}
	options, err := cli.NewProjectOptions([]string{filepath.Join(dir, "compose.yml")})
	require.NoError(t, err)
	_, err = options.LoadProject(t.Context())
	require.ErrorContains(t, err, "set it to the password")
}

func mustAbs(t *testing.T, path string) string {
	t.Helper()
	abs, err := filepath.Abs(path)
	require.NoError(t, err)
	return abs
}

// environment returns the environment of a service.
func environment(service types.ServiceConfig) (env []string) {
	for name, value := range service.Environment {
		if value != nil {
			env = append(env, name+"="+*value)
		}
	}
	return env
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, file))
	require.NoError(t, err)
	return string(text)
}

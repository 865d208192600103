package redis

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestFingerprintDependsOnEachOption(t *testing.T) {
	t.Parallel()
	seen := map[string]string{Options{}.Fingerprint(): "nothing"}
	add := func(name string, o Options) {
		require.Empty(t, seen[o.Fingerprint()], name)
		require.Equal(t, o.Fingerprint(), o.Fingerprint())
		seen[o.Fingerprint()] = name
	}
	for i := range reflect.TypeFor[Options]().NumField() {
		var o Options
		name := reflect.TypeFor[Options]().Field(i).Name
		switch field := reflect.ValueOf(&o).Elem().Field(i).Addr().Interface().(type) {
		case *string:
			*field = "x"
		case *int:
			*field = 1
		case *bool:
			*field = true
		case *time.Duration:
			*field = 1
		case *[]string:
			*field = []string{"x"}
		case **int:
			*field = new(int)
			**field = 1
		case **TLS:
			*field = new(TLS)
		default:
			t.Fatalf("field %s has a type that this test does not know", name)
		}
		add(name, o)
	}
	add("two addresses", Options{Addresses: []string{"x", "y"}})
	add("server name", Options{TLS: &TLS{ServerName: "x"}})
	add("a missing file", Options{TLS: &TLS{Cert: "missing"}})
}

func TestFingerprintDependsOnTheContentOfFiles(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ca.pem")
	o := Options{TLS: &TLS{CA: []string{path}}}
	require.NoError(t, os.WriteFile(path, []byte("a"), 0o600))
	first := o.Fingerprint()
	require.NoError(t, os.WriteFile(path, []byte("b"), 0o600))
	require.NotEqual(t, first, o.Fingerprint())
}

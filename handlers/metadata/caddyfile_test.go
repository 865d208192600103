package metadata

import (
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/handlers/sitetest"
)

func TestFileMetadataAdapts(t *testing.T) {
	t.Parallel()
	sitetest.TestAdapt(t, "*.caddyfiletest")
}

func FuzzFileMetadataCaddyfile(f *testing.F) {
	for _, seed := range []string{
		"file_metadata {path}",
		"file_metadata {\n\tsource file_system {\n\t\troot /srv\n\t\thide a b\n\t\thash sha256\n\t\trevalidate 1s\n\t}\n}",
		"file_metadata a {\n\trewrite /{http.file_metadata.path}\n\tdisposition inline\n\tanswer off\n\ton_missing continue\n}",
		"file_metadata a b",
		"file_metadata a {\n\tdisposition x {\n\t\ty\n\t}\n}",
		"file_metadata \"\"",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, input string) {
		tokens, err := caddyfile.Tokenize([]byte(input), "Caddyfile")
		if err != nil {
			return
		}
		m := new(Handler)
		if err := m.UnmarshalCaddyfile(caddyfile.NewDispenser(tokens)); err != nil {
			if len(tokens) > 0 {
				require.Regexp(t, `Caddyfile:\d+`, err.Error())
			}
			return
		}
		require.True(t, len(m.ID) > 0 || isFileSystem(m.SourceRaw))
	})
}

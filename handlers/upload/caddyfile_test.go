package upload

import (
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/handlers/sitetest"
)

func TestUploadDirectivesAdapt(t *testing.T) {
	t.Parallel()
	sitetest.TestAdapt(t, "*.caddyfiletest")
}

func FuzzUploadCaddyfile(f *testing.F) {
	for _, seed := range []string{
		"upload_progress {path.1}",
		"upload_progress a {\n\tttl 1h\n\tinterval 1s\n\towner b\n\tname c\n}",
		"upload_progress a {\n\tinterval 1s {\n\t\tc\n\t}\n}",
		"upload_progress_report a {\n\towner b c\n}",
		"upload_progress \"\" {\n}",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, input string) {
		tokens, err := caddyfile.Tokenize([]byte(input), "Caddyfile")
		if err != nil {
			return
		}
		progress, report := new(Handler), new(Report)
		for _, err := range []error{
			progress.UnmarshalCaddyfile(caddyfile.NewDispenser(tokens)),
			report.UnmarshalCaddyfile(caddyfile.NewDispenser(tokens)),
		} {
			if err != nil && len(tokens) > 0 {
				require.Regexp(t, `Caddyfile:\d+`, err.Error())
			}
			if err == nil {
				require.NotEmpty(t, progress.ID)
			}
		}
	})
}

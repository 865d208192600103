package deployment

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// instruction is an instruction of a Dockerfile, and its stage.
type instruction struct {
	stage      int
	name, args string
}

func instructions(text string) (all []instruction, stages int) {
	joined := regexp.MustCompile(`\\\n\s*`).ReplaceAllString(text, " ")
	for line := range strings.Lines(joined) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, args, _ := strings.Cut(line, " ")
		if name == "FROM" {
			stages++
		}
		all = append(all, instruction{stages, name, strings.TrimSpace(args)})
	}
	return all, stages
}

// lint returns the faults of a Dockerfile: rules of hadolint, by their numbers, and
// what the documentation promises of the image.
func lint(text string) (wrong []string) {
	all, stages := instructions(text)
	complain := func(bad bool, what string) {
		if bad {
			wrong = append(wrong, what)
		}
	}
	last := make(map[string]string)
	named := make(map[string]bool)
	for _, i := range all {
		if i.stage == stages {
			last[i.name] = i.args
		}
		switch i.name {
		case "FROM":
			image := strings.Fields(i.args)[0]
			complain(!strings.Contains(image, ":"), "DL3006: an image without a version")
			complain(strings.HasSuffix(image, ":latest"), "DL3007: latest")
			if _, name, ok := strings.Cut(i.args, " AS "); ok {
				named[name] = true
			}
		case "COPY":
			if from, ok := strings.CutPrefix(strings.Fields(i.args)[0], "--from="); ok {
				complain(!named[from], "DL3022: COPY from an unknown stage")
			}
		case "ADD":
			complain(true, "DL3020: ADD for files")
		case "WORKDIR":
			complain(!strings.HasPrefix(i.args, "/"), "DL3000: a relative WORKDIR")
		case "RUN":
			complain(strings.Contains(i.args, "apk add") && !strings.Contains(i.args, "--no-cache"), "DL3019: apk without --no-cache")
			complain(regexp.MustCompile(`(^|&& )cd `).MatchString(i.args), "DL3003: cd")
			complain(strings.Contains(i.args, "sudo"), "DL3004: sudo")
			complain(strings.Contains(i.args, "| "), "DL4006: a pipe without pipefail")
		case "CMD", "ENTRYPOINT":
			complain(!strings.HasPrefix(i.args, "["), "DL3025: "+i.name+" is no JSON")
		case "ENV", "ARG":
			complain(regexp.MustCompile(`(?i)password|secret|token`).MatchString(i.args), "a secret in the image")
		}
	}
	complain(stages < 2, "one stage")
	complain(!regexp.MustCompile(`^[1-9]\d*(:\d+)?$`).MatchString(last["USER"]), "DL3002: the user is root, or a name that Kubernetes cannot check")
	complain(!strings.Contains(last["HEALTHCHECK"], "CMD ["), "no HEALTHCHECK in JSON")
	return wrong
}

func TestDockerfileFollowsTheRules(t *testing.T) {
	text := read(t, "Dockerfile")
	require.Empty(t, lint(text))
	require.Contains(t, text, livePath)
	for _, c := range [][2]string{
		{"FROM alpine:3.22", "FROM alpine"}, {"golang:1.26-alpine", "golang:latest"}, {"USER 65532:0", "USER caddy"}, {"USER 65532:0", ""},
		{"--from=build", "--from=builder"}, {"--no-cache ", ""}, {"HEALTHCHECK", "# HEALTHCHECK"}, {`ENTRYPOINT ["/usr/bin/caddy"]`, "ENTRYPOINT caddy"},
		{"WORKDIR /srv", "WORKDIR srv"}, {"ENV XDG", "ENV REDIS_PASSWORD=x XDG"},
	} {
		require.Contains(t, text, c[0])
		require.NotEmpty(t, lint(strings.ReplaceAll(text, c[0], c[1])), "%s is not noticed", c[1])
	}
}

// All files that the image copies are in the build context.
func TestDockerfileFindsItsFiles(t *testing.T) {
	ignored := read(t, "Dockerfile.dockerignore")
	require.True(t, strings.HasPrefix(ignored, "*\n"), "what is not named stays out")
	for line := range strings.Lines(ignored) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "!"); ok {
			found, err := filepath.Glob(filepath.Join(dir, "..", name))
			require.NoError(t, err)
			require.NotEmpty(t, found, name)
		}
	}
	all, _ := instructions(read(t, "Dockerfile"))
	for _, i := range all {
		fields := strings.Fields(i.args)
		if i.name != "COPY" || strings.HasPrefix(fields[0], "--from") {
			continue
		}
		for _, source := range fields[:len(fields)-1] {
			_, err := os.Stat(filepath.Join(dir, "..", source))
			require.NoError(t, err, source)
			require.True(t, source == "." || strings.Contains(ignored, "!"+source), source)
		}
	}
}

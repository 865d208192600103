// How the tests of the command line run it.

package command_test

import (
	"bytes"
	"errors"
	"os/exec"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	_ "github.com/filewallball/caddy-filewallball"
	"github.com/filewallball/caddy-filewallball/handlers/command"
	"github.com/filewallball/caddy-filewallball/handlers/sitetest"
)

func TestMain(m *testing.M) { sitetest.Main(m) }

// site is a running Caddy that commands can be run for.
type site struct{ sitetest.Site }

func serve(t *testing.T, options, directives string) site {
	t.Helper()
	return site{sitetest.Serve(t, options, directives)}
}

// ran is what a command left.
type ran struct {
	status   int
	out, err string
}

// command is `caddy filewallball …` for the Caddy of this site, within this
// process, which takes less time; see TestCommandEndsWithAStatus.
func (s site) command(t *testing.T, args ...string) ran {
	t.Helper()
	return s.commandReading(t, "", args...)
}

func (s site) commandReading(t *testing.T, stdin string, args ...string) ran {
	t.Helper()
	return execute(t, stdin, append([]string{"filewallball", "--address", s.Admin}, args...)...)
}

func execute(t *testing.T, stdin string, args ...string) ran {
	t.Helper()
	c := command.New()
	group := &cobra.Command{Use: c.Name + " " + c.Usage, Short: c.Short, Long: c.Long}
	c.CobraFunc(group)
	root := &cobra.Command{Use: "caddy", SilenceUsage: true}
	root.AddCommand(group)
	var out, stderr bytes.Buffer
	root.SetIn(strings.NewReader(stdin))
	root.SetOut(&out)
	root.SetErr(&stderr)
	root.SetArgs(args)
	r := ran{}
	if err := root.ExecuteContext(t.Context()); err != nil {
		r.status = 1
		if err.Error() == "exiting with status 2" { // as Caddy has it
			r.status = 2
		}
	}
	r.out, r.err = out.String(), stderr.String()
	return r
}

// commandProcess is `caddy filewallball …` for the Caddy of this site.
func (s site) commandProcess(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	return sitetest.Caddy(t, append([]string{"filewallball", "--address", s.Admin}, args...)...)
}

// good is the output of a command that goes well and has nothing to complain of.
func (s site) good(t *testing.T, args ...string) string {
	t.Helper()
	r := s.command(t, args...)
	require.Zero(t, r.status, r.err)
	require.Empty(t, r.err)
	return r.out
}

func run(t *testing.T, cmd *exec.Cmd) ran {
	t.Helper()
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		require.NoError(t, err)
	}
	return ran{cmd.ProcessState.ExitCode(), out.String(), stderr.String()}
}

// lines has the words of each line, however wide the columns are.
func lines(out string) (all []string) {
	for line := range strings.Lines(out) {
		all = append(all, strings.Join(strings.Fields(line), " "))
	}
	return all
}

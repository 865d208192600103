// Package command is `caddy filewallball …`: what the admin API offers, for
// people at a terminal and for scripts.
//
// Each group of subcommands has its own file. They speak to the admin API of a
// running Caddy through one client and never to Redis, so that what they change
// is seen by every node, and what they show is what the running Caddy sees.
package command

import (
	"errors"
	"fmt"
	"strings"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/filewallball/caddy-filewallball/handlers/lookup"
)

const long = `
Shows and changes what is in the shared cache of a running Caddy, through its
admin API.

Without --address or --config it uses the default address of the admin API,
which is localhost:2019 or the value of CADDY_ADMIN. A unix socket is an --address
like unix//run/caddy/admin.sock. Remote administration (mutual TLS) is not
supported: run the command on the server itself.

The exit status is 0 on success, 1 if something failed and 2 if the command line
is wrong.`

// New returns the command to be registered.
func New() caddycmd.Command {
	return caddycmd.Command{
		Name:      lookup.AppID,
		Usage:     "<command>",
		Short:     "Shows and changes what is in the shared cache of a running Caddy",
		Long:      long,
		CobraFunc: addTo,
	}
}

func addTo(group *cobra.Command) {
	group.Example = `  $ caddy filewallball stats
  $ caddy filewallball get session:user:42
  $ caddy filewallball purge --tag user:42
  $ caddy filewallball backup -o cache.ndjson`
	flags := group.PersistentFlags()
	flags.StringP("config", "c", "", "Configuration file to use to parse the admin address, if --address is not used")
	flags.StringP("adapter", "a", "", "Name of config adapter to apply (when --config is used)")
	flags.String("address", "", "The address to use to reach the admin API endpoint, if not the default")
	_ = group.RegisterFlagCompletionFunc("adapter", cobra.NoFileCompletions)
	_ = group.RegisterFlagCompletionFunc("address", cobra.NoFileCompletions)

	group.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return report(cmd, usageError{flagError(err)})
	})
	group.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		return report(cmd, usageError{unknownCommand(cmd, args[0])})
	}
	group.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	group.AddCommand(
		statsCommand(), healthCommand(), infoCommand(),
		keysCommand(), getCommand(), setCommand(), deleteCommand(), purgeCommand(),
		warmCommand(), backupCommand(), restoreCommand(), benchCommand(), exportDashboardCommand(),
	)
}

// flagError replaces the library's error about parsing a flag by one that says what
// the flag takes.
func flagError(err error) error {
	what, parsing, found := strings.Cut(err.Error(), "strconv.Parse")
	if !found {
		return err
	}
	want := "a whole number"
	switch {
	case strings.HasPrefix(parsing, "Float"):
		want = "a number"
	case strings.HasPrefix(parsing, "Bool"):
		want = "true or false"
	}
	return errors.New(what + "want " + want)
}

func unknownCommand(group *cobra.Command, name string) error {
	message := fmt.Sprintf("there is no command %q", name)
	group.SuggestionsMinimumDistance = 2
	if like := group.SuggestionsFor(name); len(like) > 0 {
		message += ": did you mean " + strings.Join(like, " or ") + "?"
	}
	return errors.New(message)
}

// wants is a check of a command's arguments. If it fails, the error is a [usageError].
func wants(check cobra.PositionalArgs, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return report(cmd, usageError{errors.New("want " + what)})
		}
		return nil
	}
}

// jsonFlag adds --json, which prints the answer of the admin API as it is.
func jsonFlag(cmd *cobra.Command) *bool {
	return cmd.Flags().Bool("json", false, "Print the admin API's JSON as it is")
}

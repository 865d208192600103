// Records that are named by their identity, because their keys contain its hash.

package command

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/filewallball/caddy-filewallball/handlers/admin/wire"
)

const hashHelp = `
With --hash, the record is that of an identity, such as the value of a session
cookie, in the lookup that --route names: its key is made as the lookup makes it,
hashed where the lookup hashes. --hash - reads the identity from standard input,
which keeps it out of the list of processes. The parts of an identity of several
parts are joined by colons, with %3A for a colon and %25 for a percent sign inside a
part.`

func identityFlags(cmd *cobra.Command) *wire.Identity {
	i := new(wire.Identity)
	flags := cmd.Flags()
	flags.StringVar(&i.ID, "hash", "", "The identity of the record instead of its key, or - to read it from standard input")
	flags.StringVar(&i.Route, "route", "", "The route whose lookup makes the key of --hash, as stats names it")
	flags.StringVar(&i.Root, "root", "", "With --hash, the site's root, for a source file_system that has none of its own")
	flags.StringVar(&i.FS, "fs", "", "With --hash, the site's file system, for a source file_system that has none of its own")
	_ = cmd.RegisterFlagCompletionFunc("hash", cobra.NoFileCompletions)
	_ = cmd.RegisterFlagCompletionFunc("route", completeRoutes)
	_ = cmd.RegisterFlagCompletionFunc("fs", cobra.NoFileCompletions)
	_ = cmd.MarkFlagDirname("root")
	return i
}

// identityUsed reports whether the command line has one of the flags.
func identityUsed(cmd *cobra.Command) bool {
	for _, name := range []string{"hash", "route", "root", "fs"} {
		if cmd.Flags().Changed(name) {
			return true
		}
	}
	return false
}

// identify fills in the identity that the flags name.
func (c *call) identify(i *wire.Identity, into *wire.RecordRequest) error {
	into.Identity = *i
	if i.ID == "-" {
		text, err := c.readInput("the identity")
		if err != nil {
			return fmt.Errorf("reading the identity: %w", err)
		}
		into.ID = strings.TrimRight(string(text), "\r\n")
	}
	if into.ID == "" || into.Route == "" {
		return usageError{errors.New("want --hash <identity> and --route <route> together, and neither empty")}
	}
	if err := checkUTF8(into.Route, into.Root, into.FS); err != nil {
		return err
	}
	if checkUTF8(into.ID) != nil {
		return usageError{errors.New("the identity is not UTF-8 text")}
	}
	return nil
}

// How a command runs and what exit status it ends with.

package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
)

// call is one run of a command: its client, input and output. Its context ends
// with the first interrupt; a second one ends the process.
type call struct {
	*client
	ctx      context.Context
	in       io.Reader
	out, err io.Writer
}

// running returns the RunE of a command: act with a client, whose context ends with
// the first interrupt.
func running(act func(c *call, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		context.AfterFunc(ctx, stop)

		client, err := newClient(cmd.Flags())
		if err != nil {
			return report(cmd, usageError{err})
		}
		defer client.close()
		c := &call{client: client, ctx: ctx, in: cmd.InOrStdin(), out: cmd.OutOrStdout(), err: cmd.ErrOrStderr()}
		err = act(c, args)
		if ctx.Err() != nil && err != nil {
			err = errInterrupted
		}
		return report(cmd, err)
	}
}

// usageError is an error of the command line.
type usageError struct{ error }

var errInterrupted = errors.New("interrupted")

const exitUsage = 2

// report prints the error and sets the exit status: 2 after a [usageError], 1
// after any other error.
func report(cmd *cobra.Command, err error) error {
	if err == nil {
		return nil
	}
	cmd.SilenceErrors = true // it is printed here
	fmt.Fprintln(cmd.ErrOrStderr(), "Error:", printable(err.Error()))
	var usage usageError
	if !errors.As(err, &usage) {
		return err
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "See '%s --help'.\n", cmd.CommandPath())
	// Caddy takes an exit status only in this way
	return caddycmd.WrapCommandFuncForCobra(func(caddycmd.Flags) (int, error) { return exitUsage, nil })(cmd, nil)
}

// await returns the result of read, or an error when the context ends first. The read
// of a terminal cannot be interrupted: it goes on until the process ends, which is soon.
func await[T any](ctx context.Context, read func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := read()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

//go:build !unix

package redistest

import (
	"errors"
	"os"
)

func suspend(*os.Process) error { return errors.ErrUnsupported }

// resume has nothing to do where no process can be suspended.
func resume(*os.Process) error { return nil }

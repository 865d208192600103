package redistest

import (
	"os/exec"
	"syscall"
)

// endWithParent ends the server also when the test has no time to clean up,
// as after a panic.
func endWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}

//go:build unix

package faults

import "syscall"

// pause stops the process of the node, as a busy host stops a virtual machine.
func (n *node) pause() {
	n.pauses.Add(1)
	_ = n.cmd.Process.Signal(syscall.SIGSTOP)
}

// resume continues the process.
func (n *node) resume() {
	_ = n.cmd.Process.Signal(syscall.SIGCONT)
	n.pauses.Add(1)
}

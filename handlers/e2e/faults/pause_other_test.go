//go:build !unix

package faults

// pause would stop the process of the node.
func (n *node) pause() { panic("processes cannot be paused on this system") }

// resume lets it go on.
func (n *node) resume() {}

// Programs in processes of their own, and what they write.

package sitetest

import (
	"bytes"
	"net/http"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Output collects the output of a process. It may be read while it is written.
type Output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements [io.Writer].
func (o *Output) Write(text []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(text)
}

// String returns all that was written.
func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// End returns the last 8 KiB that were written.
func (o *Output) End() string {
	text := o.String()
	return text[max(0, len(text)-8<<10):]
}

// StartProgram starts a program that runs until the test ends, and waits up to a minute
// until a URL answers. If the test fails, the program's output is logged under its name.
func StartProgram(t *testing.T, name string, cmd *exec.Cmd, url string) {
	t.Helper()
	out := new(Output)
	cmd.Stdout, cmd.Stderr = out, out
	require.NoError(t, cmd.Start())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // fails because the program is killed
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // fails if the program has ended
		<-ended
		if t.Failed() {
			t.Logf("%s: %s", name, out)
		}
	})
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for deadline := time.Now().Add(time.Minute); ; {
		if resp, err := client.Get(url); err == nil {
			_ = resp.Body.Close()
			return
		}
		select {
		case <-ended:
			require.FailNow(t, name+" has ended")
		case <-time.After(20 * time.Millisecond):
			require.True(t, time.Now().Before(deadline), "%s does not answer at %s", name, url)
		}
	}
}

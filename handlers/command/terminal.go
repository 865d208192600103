// What differs on a terminal: text from the server must not control it, and the user
// can be asked a question.

package command

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf16"

	"golang.org/x/term"
)

// isTerminal reports whether a stream is a terminal.
func isTerminal(stream any) bool {
	file, ok := stream.(interface{ Fd() uintptr })
	return ok && term.IsTerminal(int(file.Fd()))
}

// printable escapes everything in a text that a terminal could interpret or hide:
// control characters, direction marks, invalid UTF-8.
func printable(text string) string {
	var b strings.Builder
	for _, r := range text {
		if strconv.IsPrint(r) {
			b.WriteRune(r)
		} else {
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		}
	}
	return b.String()
}

// printableJSON is the same JSON with such characters as JSON escapes them.
func printableJSON(text []byte) []byte {
	var b bytes.Buffer
	for _, r := range string(text) {
		switch {
		case strconv.IsPrint(r) || r == '\n' || r == '\t':
			b.WriteRune(r)
			continue
		case r == '\r': // between two tokens
			b.WriteByte(' ')
			continue
		}
		for _, unit := range utf16.Encode([]rune{r}) {
			fmt.Fprintf(&b, `\u%04x`, unit)
		}
	}
	return b.Bytes()
}

// writeJSON writes the admin API's JSON: byte for byte, or on a terminal with its
// unprintable characters escaped.
func (c *call) writeJSON(text []byte) error {
	if isTerminal(c.out) {
		text = printableJSON(text)
	}
	_, err := c.out.Write(text)
	return err
}

// readInput reads all of standard input. On a terminal, it first says what to
// type.
func (c *call) readInput(what string) ([]byte, error) {
	if isTerminal(c.in) {
		fmt.Fprintf(c.err, "Type %s, and Ctrl-D on a line of its own at the end.\n", what)
	}
	return await(c.ctx, func() ([]byte, error) { return io.ReadAll(c.in) })
}

// confirm asks before something is done that cannot be undone. Where standard
// input is not a terminal, --yes must be given instead.
func (c *call) confirm(yes bool, what string) error {
	switch {
	case yes:
		return nil
	case !isTerminal(c.in):
		return usageError{errors.New("standard input is not a terminal, so the question cannot be asked: pass --yes")}
	}
	fmt.Fprintf(c.err, "%s Go on? [y/N] ", what)
	answer, err := await(c.ctx, func() (string, error) { return bufio.NewReader(c.in).ReadString('\n') })
	if err != nil {
		fmt.Fprintln(c.err)
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return errors.New("nothing was changed")
}

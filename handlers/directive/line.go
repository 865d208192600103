// What has vanished from a line before it is read.

package directive

import (
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// CheckLine refuses a line on which something is empty that was meant to be
// something: an argument "", an environment variable {$NAME} that is not set, or
// import arguments {args[…]} that are not there. Caddy replaces both before it
// reads the file, so that "require role {$ROLE}" would become "require role",
// which means something else. The dispenser is at the first word of the line.
func CheckLine(d *caddyfile.Dispenser) error {
	rest := *d // to look ahead
	args := rest.RemainingArgs()
	if slices.Contains(args, "") {
		return d.Errf("%s has an argument that is empty: write one, or leave the line out", d.Val())
	}
	return checkWritten(d, d.Val(), 1+len(args))
}

// checkWritten checks the line as it is written in the file. name is its first
// word; words is how many it has now, 0 where that is not known.
func checkWritten(d *caddyfile.Dispenser, name string, words int) error {
	written := withoutComment(lineOf(d.Token()))
	if first := strings.Fields(written); len(first) == 0 || first[0] != name {
		return nil // the configuration does not come from this file
	}
	if variable := emptyVariable(written); variable != "" {
		return d.Errf("%s: the environment variable %s is empty or not set: set it, or write what it is without, like {$%[2]s:value}", name, variable)
	}
	if importArguments.MatchString(written) && words > 0 && countWords(written) > words {
		return d.Errf("%s: an argument of the import is not there: give it behind the name of the snippet", name)
	}
	return nil
}

var variables = regexp.MustCompile(`\{\$([^{}:]+)(:[^{}]*)?\}`)

// emptyVariable is the name of the first environment variable of a line that
// has no value and no default, or "".
func emptyVariable(line string) string {
	for _, found := range variables.FindAllStringSubmatch(line, -1) {
		if found[2] == "" && os.Getenv(found[1]) == "" {
			return found[1]
		}
	}
	return ""
}

var importArguments = regexp.MustCompile(`\{args\[[^\]]*\]\}`)

var quoted = regexp.MustCompile("\"(\\\\\"|[^\"])*\"|`[^`]*`")

// withoutComment is a line without the comment at its end.
func withoutComment(line string) string {
	for _, at := range comments.FindAllStringIndex(line, -1) {
		if before := line[:at[0]]; strings.Count(before, `"`)%2 == 0 && strings.Count(before, "`")%2 == 0 {
			return before
		}
	}
	return line
}

var comments = regexp.MustCompile(`(^|\s)#`)

// countWords is how many words a line has, without the { of a block.
func countWords(line string) int {
	words := strings.Fields(quoted.ReplaceAllString(line, "word"))
	if n := len(words); n > 0 && words[n-1] == "{" {
		words = words[:n-1]
	}
	return len(words)
}

// lineOf is the line of a token as it is written in its file, or "". Lines that
// end in a backslash go on in the next one.
func lineOf(token caddyfile.Token) string {
	text, err := os.ReadFile(token.File)
	if err != nil {
		return "" // the configuration did not come from a file
	}
	line := 1
	lines := strings.Split(string(text), "\n")
	for i, written := range lines {
		if line >= token.Line {
			for i++; strings.HasSuffix(written, `\`) && i < len(lines); i++ {
				written = strings.TrimSuffix(written, `\`) + " " + lines[i]
			}
			return written
		}
		line += 1 + strings.Count(variables.ReplaceAllStringFunc(written, valueOf), "\n")
	}
	return ""
}

// valueOf is the value of a variable, which may have lines of its own.
func valueOf(variable string) string {
	found := variables.FindStringSubmatch(variable)
	value, ok := os.LookupEnv(found[1])
	if !ok {
		value = strings.TrimPrefix(found[2], ":")
	}
	return value
}

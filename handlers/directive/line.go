// Values that Caddy replaced by nothing before a line is read.

package directive

import (
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// CheckLine refuses an option that has an empty value where one was meant, on its line
// or in the block that follows: an argument "", an environment variable {$NAME} that is
// empty, or an import argument {args[…]} that is not given. Caddy replaces the last two
// before it reads the file. Without the check, "require role {$ROLE}" would become
// "require role", which means something else, and a line of a block would vanish. The
// dispenser is at the first word of the line.
func CheckLine(d *caddyfile.Dispenser) error {
	rest := *d // to look ahead
	args := rest.RemainingArgs()
	if slices.Contains(args, "") {
		return d.Errf("%s has an argument that is empty: write one, or leave the line out", d.Val())
	}
	text, err := checkWritten(d, d.Val(), 1+len(args))
	if err != nil || text == "" {
		return err
	}
	if err := checkBlock(d, text); err != nil && standsIn(d, text) {
		return err
	}
	return nil
}

// checkWritten checks the line as it is written in the file. name is its first word; words
// is how many it has after Caddy's replacements, or 0 if that is unknown. It returns the
// text of the file, or "" if the configuration does not come from it.
func checkWritten(d *caddyfile.Dispenser, name string, words int) (text string, err error) {
	text = readRegular(d.Token().File)
	if !strings.Contains(text, "{$") && !strings.Contains(text, "{args[") {
		return "", nil // Caddy replaces nothing in it
	}
	written := withoutComment(lineOf(text, d.Token().Line))
	if first := strings.Fields(written); len(first) == 0 || first[0] != name {
		return "", nil
	}
	err = checkVariables(d, name, written)
	if err == nil && importArguments.MatchString(written) && words > 0 && countWords(written) > words {
		err = errNoArgument(d, name)
	}
	// standsIn reads the whole file: only where there is something to say
	if err != nil && standsIn(d, text) {
		return "", err
	}
	return text, nil
}

// checkBlock checks the lines of the block of an option as they are written.
func checkBlock(d *caddyfile.Dispenser, text string) error {
	words, last := blockOf(d)
	for number := d.Token().Line + 1; number < last; number++ {
		written := withoutComment(lineOf(text, number))
		fields := strings.Fields(written)
		if len(fields) == 0 {
			continue
		}
		at, name := *d, fields[0] // at is moved to the line, if Caddy left words of it
		for words[number] > 0 && at.Line() != number {
			if !at.Next() {
				break
			}
		}
		if strings.Contains(name, "{") {
			name = d.Val()
		}
		if err := checkVariables(&at, name, written); err != nil {
			return err
		}
		if name != "import" && importArguments.MatchString(written) && countWords(written) > words[number] {
			return errNoArgument(&at, name)
		}
	}
	return nil
}

// blockOf returns how many words each line of the block that follows has now,
// without the { of a block, and the line of its closing brace; 0 without a block.
func blockOf(d *caddyfile.Dispenser) (words map[int]int, last int) {
	file := d.Token().File
	rest := *d
	rest.RemainingArgs()
	words = make(map[int]int)
	depth := 0
	for rest.Next() {
		token := rest.Token()
		next := rest
		ends := !next.Next() || next.File() != token.File || next.Line() != token.Line
		switch {
		case rest.ValRaw() == "{" && (ends || depth == 0):
			depth++
			continue
		case depth == 0:
			return nil, 0
		case rest.ValRaw() == "}" && ends:
			depth--
		}
		if depth == 0 {
			if token.File != file {
				return nil, 0
			}
			return words, token.Line
		}
		if token.File == file {
			words[token.Line]++
		}
	}
	return nil, 0
}

// checkVariables refuses a line with an environment variable that is empty.
func checkVariables(d *caddyfile.Dispenser, name, written string) error {
	variable := emptyVariable(written)
	if variable == "" {
		return nil
	}
	if _, set := os.LookupEnv(variable); set {
		return d.Errf("%s: the environment variable %s is set but empty, and a default applies only where it is not set: "+
			"set it to a value, or write {$%[2]s:} if empty is right", name, variable)
	}
	return d.Errf("%s: the environment variable %s is not set: set it, or write a default, like {$%[2]s:value}; "+
		"write {$%[2]s:} if empty is right", name, variable)
}

func errNoArgument(d *caddyfile.Dispenser, name string) error {
	return d.Errf("%s: an argument of the import is missing: write it after the name of the snippet", name)
}

// standsIn reports whether the dispenser's words are from the text: whether it has them on
// the same lines. Caddy also names a configuration "Caddyfile" that was posted to /load,
// so the file of that name in the working directory may be another one.
func standsIn(d *caddyfile.Dispenser, text string) bool {
	tokens, err := caddyfile.Tokenize([]byte(variables.ReplaceAllStringFunc(text, valueOf)), "")
	if err != nil {
		return false
	}
	lines := make(map[int][]string)
	for _, token := range tokens {
		lines[token.Line] = append(lines[token.Line], token.Text)
	}
	here := d.Token()
	words := 0 // of this line
	all := *d
	for all.Reset(); all.Next(); {
		token := all.Token()
		if token.File == here.File && !slices.ContainsFunc(lines[token.Line], func(word string) bool {
			return word == token.Text || hasPlaceholder(word)
		}) {
			return false
		}
		if token.File == here.File && token.Line == here.Line && token.Text != "{" {
			words++
		}
	}
	line := slices.DeleteFunc(lines[here.Line], func(word string) bool { return word == "{" })
	if len(line) == words+1 && isMatcher(line[1]) {
		return true // Caddy has removed the matcher
	}
	return len(line) == words || slices.ContainsFunc(line, importArguments.MatchString)
}

func isMatcher(word string) bool {
	return word == "*" || strings.HasPrefix(word, "/") || strings.HasPrefix(word, "@")
}

// hasPlaceholder reports whether Caddy may have replaced a part of a word: a
// shorthand, or an argument of an import.
func hasPlaceholder(word string) bool { return word != "{" && strings.Contains(word, "{") }

// variables are found as Caddy finds them: up to the first closing brace.
var variables = regexp.MustCompile(`\{\$([^}:]+)(:[^}]*)?\}`)

// emptyVariable is the name of the first environment variable of a line that is empty,
// or "". {$NAME:} is allowed to be empty.
func emptyVariable(line string) string {
	for _, found := range variables.FindAllStringSubmatch(line, -1) {
		if found[2] != ":" && valueOf(found[0]) == "" {
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

// readRegular is the text of a regular file, or "": reading a pipe again would
// wait for another writer.
func readRegular(name string) string {
	if info, err := os.Stat(name); err != nil || !info.Mode().IsRegular() {
		return ""
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return ""
	}
	return string(text)
}

// lineOf is a line as it is written in a text, or "". number is that of the
// line once the variables are replaced. Lines that end in a backslash go on in
// the next one.
func lineOf(text string, number int) string {
	line := 1
	lines := strings.Split(text, "\n")
	for i, written := range lines {
		if line >= number {
			for i++; strings.HasSuffix(written, `\`) && i < len(lines); i++ {
				written = strings.TrimSuffix(written, `\`) + " " + lines[i]
			}
			return written
		}
		line++
		if strings.Contains(written, "{$") {
			line += strings.Count(variables.ReplaceAllStringFunc(written, valueOf), "\n")
		}
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

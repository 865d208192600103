package directive

import (
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// Option is a line of a block.
type Option struct {
	// Name is the first word of the line.
	Name string
	// Args are the other words, as the documentation shows them: "<duration>".
	Args string
	// Repeatable allows several lines of the name.
	Repeatable bool
	// Read reads the arguments. The dispenser is at the name.
	Read func(d *caddyfile.Dispenser) error
	// Refused is set for a line that users may expect, but that is not supported: the
	// reason, and what to write instead. Names and Syntax leave such a line out.
	Refused string
}

// namePlaceholder ends the Name of an option whose lines begin with names that
// users choose, as "@<name>" does.
const namePlaceholder = "<name>"

// is reports whether a line that begins with a word is of the option.
func (o Option) is(word string) bool {
	if prefix, ok := strings.CutSuffix(o.Name, namePlaceholder); ok {
		return len(word) > len(prefix) && strings.HasPrefix(word, prefix)
	}
	return o.Name == word
}

// Options are the lines that the block of a directive, or of an option, takes, in the
// order of the documentation. Parsing, errors and the test of the documentation use the
// same list.
type Options []Option

// Unmarshal reads the block that follows. Every error names the line and the directive;
// the error of an unknown option lists the known ones.
func (o Options) Unmarshal(d *caddyfile.Dispenser, directive string) error {
	if _, err := checkWritten(d, directive, 0); err != nil {
		return err
	}
	given := make(map[string]bool)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		option, ok := o.find(d.Val())
		if !ok {
			return d.Errf("unknown option '%s': %s takes %s", d.Val(), directive, o.Names())
		}
		if option.Refused != "" {
			return d.Errf("%s does not take %s: %s", directive, d.Val(), option.Refused)
		}
		if given[option.Name] && !option.Repeatable {
			return d.Errf("%s is given twice: give it once", option.Name)
		}
		given[option.Name] = true
		if err := CheckLine(d); err != nil {
			return err
		}
		if err := option.Read(d); err != nil {
			return err
		}
	}
	return nil
}

// UnmarshalBlock is like Unmarshal, for a directive or an option that takes nothing but a
// block. An argument is an error.
func (o Options) UnmarshalBlock(d *caddyfile.Dispenser, directive string) error {
	if d.NextArg() {
		return d.Errf("unexpected '%s': %s takes %s", d.Val(), directive, o.Names())
	}
	return o.Unmarshal(d, directive)
}

func (o Options) find(name string) (Option, bool) {
	for _, option := range o {
		if option.is(name) {
			return option, true
		}
	}
	return Option{}, false
}

// Pick returns the options of these names, in this order.
func (o Options) Pick(names ...string) Options {
	var picked Options
	for _, name := range names {
		if option, ok := o.find(name); ok {
			picked = append(picked, option)
		}
	}
	return picked
}

// Names lists the options for a message: "a, b and c".
func (o Options) Names() string {
	var b strings.Builder
	taken := o.taken()
	for i, option := range taken {
		switch {
		case i > 0 && i == len(taken)-1:
			b.WriteString(" and ")
		case i > 0:
			b.WriteString(", ")
		}
		b.WriteString(option.Name)
	}
	return b.String()
}

// taken are the options without those that are refused.
func (o Options) taken() Options {
	return slices.DeleteFunc(slices.Clone(o), func(option Option) bool { return option.Refused != "" })
}

// Syntax lists the options as the documentation shows them, one a line.
func (o Options) Syntax() []string {
	taken := o.taken()
	lines := make([]string, len(taken))
	for i, option := range taken {
		lines[i] = strings.TrimSpace(option.Name + " " + option.Args)
	}
	return lines
}

// Value returns an option whose arguments read reads into a field: for example
// Value("timeout", "<duration>", &h.Timeout, Duration).
func Value[T any](name, args string, into *T, read func(*caddyfile.Dispenser) (T, error)) Option {
	return Option{Name: name, Args: args, Read: func(d *caddyfile.Dispenser) (err error) {
		*into, err = read(d)
		return err
	}}
}

// Pointer is like Value for a field that is nil as long as the option is not given.
func Pointer[T any](name, args string, into **T, read func(*caddyfile.Dispenser) (T, error)) Option {
	return Option{Name: name, Args: args, Read: func(d *caddyfile.Dispenser) error {
		value, err := read(d)
		*into = &value
		return err
	}}
}

// Text returns an option with one argument, which may be any text.
func Text(name, args string, into *string) Option { return Value(name, args, into, OneArg) }

// Flag returns an option without arguments, which sets a field to true.
func Flag(name string, into *bool) Option {
	return Option{Name: name, Read: func(d *caddyfile.Dispenser) error {
		*into = true
		return NoArgs(d)
	}}
}

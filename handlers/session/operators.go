// Words that read as operators in a list of values: "require role not guest" would
// admit guests.

package session

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// negations and operators are written in lower case and without - and _.
var (
	negations = strings.Fields(`not no non isnt arent dont doesnt never neither nor except excepting exclude excludes
		excluding without unless but minus lacks`)
	operators = strings.Fields(`and or xor both all every either any anyof allof oneof noneof only
		is are be equals equal eq ne neq in nin notin within among of outside between
		gt gte ge lt lte le than greater less above below over under least most from to upto
		has have contains contain includes include like unlike matches match regexp regex
		startswith endswith beginswith starts ends begins exists differs if when where`)
)

// isOperator reports whether a word reads as an operator: a word like except, not-in or
// GREATER, or one of signs alone. * is a usual permission.
func isOperator(word string) bool {
	if strings.Trim(word, "*") == "" {
		return false
	}
	if strings.IndexFunc(word, func(r rune) bool { return !isSign(r) }) < 0 {
		return true
	}
	word = normalized(word)
	if slices.Contains(negations, word) || slices.Contains(operators, word) {
		return true
	}
	for _, not := range []string{"not", "isnot", "arenot"} { // notequal, isnotin
		if rest, ok := strings.CutPrefix(word, not); ok && (rest == "" || slices.Contains(operators, rest)) {
			return true
		}
	}
	return false
}

// isNegation reports whether a word reads as a negation.
func isNegation(word string) bool { return slices.Contains(negations, normalized(word)) }

func isSign(r rune) bool {
	return r < unicode.MaxASCII && (unicode.IsPunct(r) || unicode.IsSymbol(r)) || unicode.Is(unicode.Sm, r)
}

func normalized(word string) string {
	return strings.NewReplacer("-", "", "_", "", "'", "", "\u2019", "").Replace(strings.ToLower(word))
}

// checkOperators refuses a list of values with an operator in front of another value.
// Quoted values of a Caddyfile are at the end, in any order: nothing but operators
// follows them there. See [valuesFirst].
func checkOperators(values []string) error {
	for i, value := range values {
		if isOperator(value) && slices.ContainsFunc(values[i+1:], func(v string) bool { return !isOperator(v) }) {
			return errOperator(value)
		}
	}
	return nil
}

func errOperator(word string) error {
	return fmt.Errorf("'%s' reads as an operator, but would be one of the allowed values: list the allowed values only, "+
		"like: require role admin editor; if it is a value, write %[1]q in quotes, or in JSON as the last value", word)
}

// valuesFirst returns the values of a line with those that read as operators at the
// end. It returns an error for one without quotes in front of another value. The order
// of values does not matter.
func valuesFirst(values []string, quoted []bool) ([]string, error) {
	var first, last []string
	for i, value := range values {
		switch {
		case !isOperator(value):
			first = append(first, value)
		case quoted[i] || i == len(values)-1:
			last = append(last, value)
		default:
			return nil, errOperator(value)
		}
	}
	return append(first, last...), nil
}

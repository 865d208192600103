// Package formats converts the formats of web frameworks to JSON: msgpack,
// Python's pickle, PHP's serialize and Ruby's Marshal.
//
// Nothing is executed and no object is built: calls by name are refused, or
// shown as their data. A value has at most [MaxDepth] levels and [MaxValues]
// values, and its JSON is at most eight times as long as the value, so that a
// hostile value costs little more memory than a harmless one.
//
// Strings that are not UTF-8, and other binary data, become null: JSON cannot
// express them, and a null field meets no requirement. So do numbers that JSON
// does not have (NaN, infinity).
//
// Errors name what was found at which byte, and never repeat stored data.
package formats

const (
	// MaxDepth bounds the levels of arrays and objects in a value.
	MaxDepth = 64
	// MaxValues bounds the number of values.
	MaxValues = 100_000
)

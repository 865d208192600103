// Package formats makes JSON of what web frameworks store: msgpack, Python's
// pickle, PHP's serialize and Ruby's Marshal.
//
// Nothing is executed and no object is built: what these formats can call by
// name is refused, or shown as the data it holds. A value has at most [MaxDepth]
// levels and [MaxValues] values, and its JSON is at most eight times as long as
// it, so that a hostile value costs little more memory than a harmless one.
//
// Strings that are not UTF-8, and other binary data, become null: they have no
// form in JSON, and a field that is null meets no requirement. So do numbers
// that JSON does not have (NaN, infinity).
//
// Errors say what was found where, and never repeat what is stored.
package formats

const (
	// MaxDepth is how many levels of arrays and objects a value may have.
	MaxDepth = 64
	// MaxValues is how many values there may be in all.
	MaxValues = 100_000
)

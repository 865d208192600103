package session

import (
	"errors"
	"fmt"

	"github.com/filewallball/caddy-filewallball/cache"
)

// Expiry says which field of a session says when it ends. A session whose field
// cannot be read is an error of the lookup, and refused.
type Expiry struct {
	// The path of the field, such as cookie.expires.
	Field string `json:"field,omitempty"`

	// How the field is written: seconds or milliseconds of Unix time, or
	// rfc3339. Default: seconds where it is a number, else RFC 3339.
	Unit string `json:"unit,omitempty"`
}

func (e *Expiry) validate() error {
	if err := checkPath(e.Field); err != nil {
		return fmt.Errorf("expires: %w", err)
	}
	switch e.Unit {
	case cache.AnyTime, cache.Seconds, cache.Milliseconds, cache.RFC3339:
		return nil
	}
	return errors.New("expires: unit '" + e.Unit + "' is not one of seconds, milliseconds and rfc3339")
}

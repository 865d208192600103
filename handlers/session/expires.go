package session

import (
	"errors"
	"fmt"

	"github.com/filewallball/caddy-filewallball/cache"
)

// Expiry names the field with the end of a session. Where that field cannot be
// read, the lookup has failed and the request is refused.
type Expiry struct {
	// The path of the field, such as cookie.expires. Required.
	Field string `json:"field,omitempty"`

	// How the field is written: seconds or milliseconds of Unix time, or
	// rfc3339. Default: a number is in seconds, a string is RFC 3339.
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

package cache

import (
	"errors"
	"strings"
)

// JoinErrors joins the errors that are not nil into one line that contains each
// reason once: while the store is unavailable, all errors have the same one.
// Several [PendingError] become one with the sum of what they left undone. It
// returns nil if all errors are nil.
func JoinErrors(errs ...error) error {
	var joined joinedErrors
	undone := 0
	seen := make(map[string]bool)
	for _, err := range errs {
		if err == nil {
			continue
		}
		var pending *PendingError
		if errors.As(err, &pending) {
			undone += pending.Undone
			err = pending.Err
		}
		if reason := reasonOf(err); !seen[reason] {
			seen[reason] = true
			joined = append(joined, err)
		}
	}
	var err error = joined
	switch len(joined) {
	case 0:
		return nil
	case 1:
		err = joined[0]
	}
	if undone > 0 {
		return &PendingError{Undone: undone, Err: err}
	}
	return err
}

// reasonOf is the reason of an error, without the operation that failed.
func reasonOf(err error) string {
	text := err.Error()
	if errors.Is(err, ErrUnavailable) {
		if _, reason, ok := strings.Cut(text, ErrUnavailable.Error()); ok {
			return reason
		}
	}
	return text
}

type joinedErrors []error

func (e joinedErrors) Error() string {
	texts := make([]string, len(e))
	for i, err := range e {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "; ")
}

func (e joinedErrors) Unwrap() []error { return e }

package cache

import (
	"errors"
	"strings"
)

// JoinErrors makes one error of those that are not nil, on one line, that says
// each reason once: where the store is unavailable, all say the same. Several
// [PendingError] become one that counts what all of them left undone. It is nil
// where all are.
func JoinErrors(errs ...error) error {
	var joined joinedErrors
	undone := 0
	said := make(map[string]bool)
	for _, err := range errs {
		if err == nil {
			continue
		}
		var pending *PendingError
		if errors.As(err, &pending) {
			undone += pending.Undone
			err = pending.Err
		}
		if reason := reasonOf(err); !said[reason] {
			said[reason] = true
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

// reasonOf is what an error says but for what was being done.
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

package command

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// writeFile writes a file as a whole or not at all, readable for its owner.
func writeFile(name string, write func(io.Writer) error) (err error) {
	info, err := os.Stat(name)
	switch {
	case err == nil && !info.Mode().IsRegular():
		return usageError{fmt.Errorf("%s is no regular file: want -o - and a redirection", name)}
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return writeError(name, err)
	}
	file, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*") // 0600
	if err != nil {
		return writeError(name, err)
	}
	defer func() {
		if err != nil {
			_ = file.Close()
			_ = os.Remove(file.Name())
		}
	}()
	if err := write(file); err != nil {
		return err
	}
	if err := errors.Join(file.Sync(), file.Close()); err != nil {
		return writeError(name, err)
	}
	if err := os.Rename(file.Name(), name); err != nil {
		return writeError(name, err)
	}
	return nil
}

// writeError names the file that was to be written, and not the temporary one.
func writeError(name string, err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	return fmt.Errorf("writing %s: %w", name, err)
}

// How the file of a store is written: under another name, and renamed when it
// is complete and synced. Whenever the process or the machine dies, there is a
// complete file, the old one or the new one.

package memory

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"
)

// savingInfix ends the name of a file that is being written.
const savingInfix = ".saving"

// replace writes a new file and lets commit rename it. Only the user of this
// process can read the file.
func replace(dir directory, name string, write func(io.Writer) error, commit func(from string) error) (err error) {
	saving := name + savingInfix
	// left by a process that died during a save
	if err := dir.remove(saving); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := dir.create(saving)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = dir.remove(saving)
		}
	}()
	w := bufio.NewWriterSize(f, 64<<10)
	if err := write(w); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return commit(saving)
}

// setAside renames a file, if there is one, and returns its new name.
func setAside(dir directory, name, why string) (to string, err error) {
	if err := dir.check(name); errors.Is(err, fs.ErrNotExist) {
		return "", nil
	} else if err != nil {
		return "", err
	}
	to = fmt.Sprintf("%s.%s-%s", name, why, time.Now().UTC().Format("20060102T150405.000000000Z"))
	if err := dir.rename(name, to); err != nil {
		return "", err
	}
	return to, dir.sync()
}

// removeAll removes the files whose names begin with prefix and whose rest is
// unwanted.
func removeAll(dir directory, prefix string, unwanted func(rest string) bool) error {
	names, err := dir.names()
	if err != nil {
		return err
	}
	for _, name := range names {
		if rest, ok := strings.CutPrefix(name, prefix); ok && unwanted(rest) {
			if err := dir.remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

package filesystem

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAFileIsLookedUpOnce(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "a.txt")
	write(t, name, "hello", time.Hour)
	under := new(countingFS)
	c := newCache(t, under, time.Hour, 0)
	for range 10 {
		info, err := fs.Stat(c, name)
		require.NoError(t, err)
		require.Equal(t, "a.txt", info.Name())
		require.EqualValues(t, 5, info.Size())
		require.Equal(t, "hello", readAll(t, c, name))
	}
	require.EqualValues(t, 1, under.opened.Load())
}

func TestMissesAndDirectoriesAreLookedUpOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "file"), "", time.Hour)
	under := new(countingFS)
	c := newCache(t, under, time.Hour, 0)
	for range 3 {
		_, err := fs.Stat(c, filepath.Join(dir, "none"))
		require.ErrorIs(t, err, fs.ErrNotExist)
		_, err = fs.Stat(c, filepath.Join(dir, "file", "none"))
		require.ErrorIs(t, err, syscall.ENOTDIR)
		info, err := fs.Stat(c, dir)
		require.NoError(t, err)
		require.True(t, info.IsDir())
	}
	require.EqualValues(t, 3, under.opened.Load())
	require.Zero(t, under.open(2), "a directory without readers is open")

	for want := range 3 {
		entries, err := fs.ReadDir(c, dir)
		require.NoError(t, err)
		require.Len(t, entries, 1, "what is in a directory is not remembered")
		require.EqualValues(t, 4+want, under.opened.Load())
	}
}

func TestOtherErrorsAreNotRemembered(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "a.txt")
	write(t, name, "hello", time.Hour)
	for _, failure := range []error{syscall.EMFILE, fs.ErrPermission, errors.New("the network is down")} {
		under := new(countingFS)
		under.before = func(string) error {
			if under.opened.Load() == 1 {
				return failure
			}
			return nil
		}
		c := newCache(t, under, time.Hour, 0)
		_, err := c.Open(name)
		require.ErrorIs(t, err, failure)
		require.Equal(t, "hello", readAll(t, c, name))
	}
}

func TestConcurrentOpensOfOneNameShareAFetchAndOtherNamesDoNotWait(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "slow"), "hello", time.Hour)
	write(t, filepath.Join(dir, "fast"), "hello", time.Hour)
	looking, finish := make(chan struct{}), make(chan struct{})
	under := &countingFS{before: func(name string) error {
		if filepath.Base(name) == "slow" {
			close(looking) // panics if there is another look
			<-finish
		}
		return nil
	}}
	c := newCache(t, under, time.Hour, 0)
	var group sync.WaitGroup
	contents := make(chan string, 50)
	for range cap(contents) {
		group.Go(func() { contents <- readAll(t, c, filepath.Join(dir, "slow")) })
	}
	<-looking
	require.Equal(t, "hello", readAll(t, c, filepath.Join(dir, "fast")))
	close(finish)
	group.Wait()
	for range cap(contents) {
		require.Equal(t, "hello", <-contents)
	}
	require.EqualValues(t, 2, under.opened.Load())
}

func TestChangesAreSeenWithinTheTTL(t *testing.T) {
	t.Parallel()
	for name, under := range map[string]fs.FS{"Disk": disk{}, "Other": new(countingFS), "Unshareable": &countingFS{hide: unshareable}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			c := newCache(t, under, 50*time.Millisecond, 0)
			soon := func(name, want string) {
				t.Helper()
				require.Eventually(t, func() bool {
					content, err := fs.ReadFile(c, filepath.Join(dir, name))
					switch {
					case want == "":
						return errors.Is(err, fs.ErrNotExist)
					case err != nil:
						return false
					}
					info, err := fs.Stat(c, filepath.Join(dir, name))
					return err == nil && string(content) == want && info.Size() == int64(len(want))
				}, 5*time.Second, time.Millisecond)
			}
			soon("a", "")
			write(t, filepath.Join(dir, "a"), "appears", time.Hour)
			soon("a", "appears")
			write(t, filepath.Join(dir, "a"), "changes in place", time.Minute)
			soon("a", "changes in place")
			replace(t, filepath.Join(dir, "a"), "is replaced", time.Second)
			soon("a", "is replaced")
			require.NoError(t, os.Remove(filepath.Join(dir, "a")))
			soon("a", "")
			write(t, filepath.Join(dir, "a", "b"), "is a directory now", time.Hour)
			soon(filepath.Join("a", "b"), "is a directory now")
			require.NoError(t, os.RemoveAll(filepath.Join(dir, "a")))
			write(t, filepath.Join(dir, "a"), "is a file again", time.Hour)
			soon("a", "is a file again")
		})
	}
}

func TestAFileOnDiskThatIsChangedInPlaceIsSeenAtOnce(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "log")
	write(t, name, "", 0)
	c := newCache(t, disk{}, time.Hour, 0)
	for i := range 20 {
		want := strings.Repeat("a line\n", i)
		write(t, name, want, time.Duration(20-i)*time.Second)
		require.Eventually(t, func() bool {
			info, err := fs.Stat(c, name)
			require.NoError(t, err)
			return info.Size() == int64(len(want)) && readAll(t, c, name) == want
		}, 5*time.Second, 100*time.Microsecond)
	}
}

func TestAReplacedOrDeletedFileIsServedAsItWasUntilTheTTLIsOver(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "a.txt")
	for _, under := range []fs.FS{disk{}, new(countingFS)} {
		write(t, name, "as it was", time.Hour)
		c := newCache(t, under, time.Hour, 0)
		before, err := fs.Stat(c, name)
		require.NoError(t, err)
		unchanged := func() {
			t.Helper()
			require.Equal(t, "as it was", readAll(t, c, name))
			info, err := fs.Stat(c, name)
			require.NoError(t, err)
			require.Equal(t, before.ModTime(), info.ModTime())
		}
		replace(t, name, "as it is", time.Minute)
		unchanged()
		require.NoError(t, os.Remove(name))
		unchanged()
	}
}

// A file system that may be slow to ask: a change comes to
// light when the file is read.
func TestAChangedFileOfAnotherFileSystemIsNeverReadAsWhatItWas(t *testing.T) {
	t.Parallel()
	for name, hide := range map[string]func(*countedFile) fs.File{"Shareable": nil, "Unshareable": unshareable} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			name := filepath.Join(t.TempDir(), "a.txt")
			write(t, name, "as it was", time.Hour)
			c := newCache(t, &countingFS{hide: hide}, time.Minute, 0)
			_, err := fs.Stat(c, name)
			require.NoError(t, err)
			for i, use := range []func(fs.File) error{
				func(f fs.File) error { _, err := io.ReadAll(f); return err },
				func(f fs.File) error { _, err := f.(io.Seeker).Seek(0, io.SeekEnd); return err },
			} {
				content := fmt.Sprint("changed ", i)
				write(t, name, content, time.Hour+time.Minute)
				file, err := c.Open(name)
				require.NoError(t, err)
				require.ErrorIs(t, use(file), errChanged)
				require.NoError(t, file.Close())
				require.Equal(t, content, readAll(t, c, name), "the next one gets it as it is")
			}
		})
	}
}

func TestAFileThatKeepsChangingIsServedLikeWithoutACache(t *testing.T) {
	t.Parallel()
	for name, under := range map[string]fs.FS{"Disk": disk{}, "Other": new(countingFS), "Unshareable": &countingFS{hide: unshareable}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			name := filepath.Join(t.TempDir(), "log")
			log, err := os.Create(name)
			require.NoError(t, err)
			defer log.Close()
			c := newCache(t, under, time.Hour, 0)
			for range 200 {
				_, err := fs.Stat(c, name)
				require.NoError(t, err)
				_, err = log.WriteString("a line\n")
				require.NoError(t, err)
				file, err := c.Open(name)
				require.NoError(t, err)
				_, err = file.(io.Seeker).Seek(0, io.SeekEnd)
				require.NoError(t, err)
				require.NoError(t, file.Close())
			}
		})
	}
}

func TestWhatIsNeitherFileNorDirectoryIsNotRemembered(t *testing.T) {
	t.Parallel()
	under := new(countingFS)
	c := newCache(t, under, time.Hour, 0)
	for range 3 {
		f, err := c.Open(os.DevNull)
		require.NoError(t, err)
		require.NoError(t, f.Close())
	}
	require.EqualValues(t, 3, under.opened.Load())
	require.Zero(t, under.open(0))
}

func TestRandomNamesStayBoundedAndLeaveHotFilesAlone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const hot = 8
	under := new(countingFS)
	const maxSize = 512 << 10 // 32 open files, or 1000 misses
	c := newCache(t, under, time.Hour, maxSize)
	name := func(i int) string { return filepath.Join(dir, fmt.Sprint("hot", i)) }
	for i := range hot {
		write(t, name(i), "hot", time.Hour)
	}
	hostile := func(i int) string {
		return filepath.Join(dir, fmt.Sprint(i, strings.Repeat("x", i%200)))
	}
	const rounds = 8_000
	for i := range rounds {
		_, err := fs.Stat(c, hostile(i))
		require.ErrorIs(t, err, fs.ErrNotExist)
		_, err = fs.Stat(c, name(i%hot))
		require.NoError(t, err)
	}
	c.entries.CleanUp()
	require.LessOrEqual(t, c.entries.WeightedSize(), uint64(maxSize))
	looks := under.opened.Load() - rounds
	require.Less(t, looks, int64(rounds/20), "hot files were dropped for names that were opened once")
	require.Eventually(t, func() bool { return under.open(rounds) <= hot }, 5*time.Second, time.Millisecond)
}

func TestManyFilesStayBounded(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	under := new(countingFS)
	c := newCache(t, under, time.Hour, 10*(openFileSize+nameSize+200))
	for i := range 500 {
		name := filepath.Join(dir, fmt.Sprint(i))
		write(t, name, fmt.Sprint(i), time.Hour)
		require.Equal(t, fmt.Sprint(i), readAll(t, c, name))
	}
	require.Eventually(t, func() bool { return under.open(0) <= 10 }, 5*time.Second, time.Millisecond)
}

func TestMemoryOfCachedNamesIsCounted(t *testing.T) {
	// not parallel: it measures the heap
	c := newCache(t, missingFS{}, time.Hour, 1<<30)
	const names = 20_000
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range names {
		_, err := c.Open(fmt.Sprintf("/srv/www/some/where/%0100d", i))
		require.ErrorIs(t, err, fs.ErrNotExist)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	require.Less(t, after.HeapAlloc-before.HeapAlloc, c.entries.WeightedSize())
}

type missingFS struct{}

func (missingFS) Open(name string) (fs.File, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: syscall.ENOENT}
}

func TestIdleFilesCloseWhenTheirTimeIsOver(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "a.txt")
	write(t, name, "hello", time.Hour)
	under := new(countingFS)
	c := newCache(t, under, 10*time.Millisecond, 0)
	require.Equal(t, "hello", readAll(t, c, name))
	require.Eventually(t, func() bool { return under.open(0) == 0 }, 10*time.Second, 10*time.Millisecond)
}

func TestFilesCloseWithTheirLastUserAfterCleanup(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "a.txt")
	write(t, name, "hello", time.Hour)
	under := new(countingFS)
	c := newCache(t, under, time.Hour, 0)
	reading, err := c.Open(name)
	require.NoError(t, err)
	require.NoError(t, c.Cleanup())
	require.Equal(t, "hello", readAll(t, c, name), "requests under way go on")
	require.Eventually(t, func() bool { return under.open(0) == 1 }, 5*time.Second, time.Millisecond)
	content, err := io.ReadAll(reading)
	require.NoError(t, err)
	require.Equal(t, "hello", string(content))
	require.NoError(t, reading.Close())
	// the cache itself may drop the file later than Cleanup returns
	require.Eventually(t, func() bool { return under.open(0) == 0 }, 5*time.Second, time.Millisecond)
	require.ErrorIs(t, reading.Close(), fs.ErrClosed)
	require.Zero(t, under.open(0))
}

func TestNamesThatNoFileCanHaveAreNotRemembered(t *testing.T) {
	t.Parallel()
	under := new(countingFS)
	c := newCache(t, under, time.Hour, 0)
	for _, name := range []string{strings.Repeat("x/", maxNameLength), "a\x00b"} {
		for range 2 {
			_, err := c.Open(name)
			require.Error(t, err)
			_, want := os.Open(name)
			require.Equal(t, want, err)
		}
	}
	require.Zero(t, c.entries.EstimatedSize())
}

func TestLookupCacheIsAFileSystem(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	long := time.Now().Add(-time.Hour)
	content := fstest.MapFS{
		"a.txt": {Data: []byte("hello"), ModTime: long}, "empty": {ModTime: long},
		"dir/b.txt": {Data: []byte("b"), ModTime: long}, "dir/sub/c.txt": {Data: []byte("c"), ModTime: long},
	}
	require.NoError(t, os.CopyFS(dir, content))
	for name, under := range map[string]fs.FS{"Disk": os.DirFS(dir), "Memory": content} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCache(t, under, time.Hour, 0)
			for range 2 {
				require.NoError(t, fstest.TestFS(c, "a.txt", "empty", "dir/b.txt", "dir/sub/c.txt"))
			}
		})
	}
}

func TestConcurrentReadersOfFilesThatComeGoAndChange(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	under := new(countingFS)
	c := newCache(t, under, time.Millisecond, 0)
	stop := make(chan struct{})
	var readers, writers sync.WaitGroup
	for i := range 4 {
		name := filepath.Join(dir, fmt.Sprint(i))
		replace(t, name, strings.Repeat("0", 1000), time.Hour)
		writers.Go(func() {
			for n := 1; ; n++ {
				select {
				case <-stop:
					return
				default:
					replace(t, name, strings.Repeat(fmt.Sprint(n%10), 1000+n%10), time.Hour+time.Duration(n)*time.Second)
				}
			}
		})
		for range 2 {
			readers.Go(func() {
				for range 300 {
					if err := readWhole(c, name); !assert.NoError(t, err) {
						return
					}
				}
			})
		}
	}
	readers.Wait()
	close(stop)
	writers.Wait()
	require.NoError(t, c.Cleanup())
	require.Eventually(t, func() bool { return under.open(0) == 0 }, 5*time.Second, time.Millisecond)
}

// readWhole checks that what is read of a file is one of its contents, if it is there.
func readWhole(c fs.FS, name string) error {
	file, err := c.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err != nil {
		return err
	}
	content, err := io.ReadAll(file)
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	text, n := string(content), len(content)
	if n == 0 || int64(n) != info.Size() || text != strings.Repeat(text[:1], n) || int(text[0]) != '0'+n%10 {
		return fmt.Errorf("not one of its contents: %d bytes of %d", n, info.Size())
	}
	return nil
}

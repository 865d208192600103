package upload

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/handlers/lookup/lookuptest"
)

// uploadStore keeps what publishers write, or fails if it has an error. It
// starts nothing of its own, and so runs in a bubble of synctest.
type uploadStore struct {
	cache.Store
	mu    sync.Mutex
	err   error // of all, or
	busy  bool  // another process is writing
	tried int
	wrote []uploadRecord
}

func (*uploadStore) Pool() *cache.PoolStats { return nil }

func (s *uploadStore) Acquire(context.Context, string, *cache.Record, time.Duration, bool) (string, cache.Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tried++
	if s.err != nil || s.busy {
		return "", cache.Entry{}, s.err
	}
	return "token", cache.Entry{}, nil
}

func (s *uploadStore) Fill(_ context.Context, _, _ string, _, record *cache.Record, _ []string, _ time.Duration) (bool, error) {
	var r uploadRecord
	if err := json.Unmarshal([]byte(record.Text()), &r); err != nil {
		return false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wrote = append(s.wrote, r)
	return true, nil
}

func (s *uploadStore) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *uploadStore) tries() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tried
}

func (s *uploadStore) written() []uploadRecord {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.wrote)
}

func publisherTo(store cache.Store, ttl, interval time.Duration) *publisher {
	return &publisher{
		ctx: context.Background(), upload: &upload{size: 1000, started: time.Now()},
		cache: cache.New(store, cache.NewStats()), logger: zap.NewNop(),
		ttl: ttl, interval: interval, timeout: time.Second, maxSize: cache.DefaultMaxValueSize,
		finishing: make(chan struct{}, 1), ended: make(chan struct{}),
	}
}

func TestAnIdleUploadIsWrittenOnlyToKeepItsRecord(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		ttl, interval time.Duration
		writes        int // in a minute in which nothing comes
		age           time.Duration
	}{
		"by default":                 {10 * time.Minute, 500 * time.Millisecond, 7, 10 * time.Second},
		"before it expires":          {3 * time.Second, 500 * time.Millisecond, 61, time.Second},
		"a ttl of hardly three":      {3100 * time.Millisecond, time.Second, 61, time.Second},
		"a ttl of two intervals":     {2 * time.Second, time.Second, 61, time.Second},
		"intervals longer than that": {10 * time.Minute, 20 * time.Second, 4, 20 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				store := &uploadStore{}
				p := publisherTo(store, c.ttl, c.interval)
				go p.run()
				time.Sleep(time.Minute) // of the bubble's clock
				synctest.Wait()
				require.Len(t, store.written(), c.writes)
				for i, r := range store.written()[1:] {
					require.InDelta(t, c.age.Seconds(), r.Timestamp-store.written()[i].Timestamp, 0.001)
				}
				p.end(0)
				synctest.Wait()
				require.Len(t, store.written(), c.writes+1)
				require.Equal(t, uploadDone, store.written()[c.writes].Status)
			})
		})
	}
}

func TestUploadIsWrittenWithTheNextIntervalWhenSomethingComes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &uploadStore{}
		p := publisherTo(store, 10*time.Minute, time.Second)
		p.upload.size = -1
		go p.run()
		time.Sleep(3500 * time.Millisecond) // of the bubble's clock
		synctest.Wait()
		require.Len(t, store.written(), 1)

		p.upload.received.Store(10)
		time.Sleep(time.Second)
		synctest.Wait()
		require.Len(t, store.written(), 2)
		require.EqualValues(t, 10, store.written()[1].Received)

		p.upload.eof.Store(true) // nothing came, but the state is another
		time.Sleep(5 * time.Second)
		synctest.Wait()
		require.Len(t, store.written(), 3)
		require.Equal(t, uploadProcessing, store.written()[2].Status)

		store.fail(cache.ErrUnavailable) // what could not be written stays due
		p.upload.received.Store(20)
		tries := store.tries()
		time.Sleep(3 * time.Second)
		synctest.Wait()
		require.Equal(t, tries+3, store.tries())
		store.fail(nil)
		time.Sleep(time.Second)
		synctest.Wait()
		require.Len(t, store.written(), 4)
		p.end(0)
	})
}

func TestFinalRecordIsTriedAgainLessAndLessOftenWhileTheStoreIsOutOfReach(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		store *uploadStore
		least int
		most  int
	}{
		"out of reach":               {&uploadStore{err: cache.ErrUnavailable}, 10, 15},
		"another process is writing": {&uploadStore{busy: true}, 40, 60},
		"any other error":            {&uploadStore{err: errors.New("no")}, 40, 60},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := publisherTo(c.store, time.Minute, time.Second)
				began := time.Now()
				p.end(0)
				p.finish()
				require.Equal(t, lastWrite, time.Since(began))
				require.GreaterOrEqual(t, c.store.tries(), c.least)
				require.LessOrEqual(t, c.store.tries(), c.most)
				require.Empty(t, c.store.written())
				require.Empty(t, p.finishing, "another upload may wait now")
			})
		})
	}
}

func TestFinalRecordIsWrittenWhenTheStoreComesBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &uploadStore{err: cache.ErrUnavailable}
		p := publisherTo(store, time.Minute, time.Second)
		go p.run()
		p.end(0)
		time.Sleep(3 * time.Second) // of the bubble's clock
		synctest.Wait()
		require.Empty(t, store.written())
		store.fail(nil)
		time.Sleep(time.Second)
		synctest.Wait()
		require.Len(t, store.written(), 1)
		require.Equal(t, uploadDone, store.written()[0].Status)
	})
}

func TestOnlySoManyWaitToWriteTheirFinalRecords(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		down := &uploadStore{err: cache.ErrUnavailable}
		waiting := publisherTo(down, time.Minute, time.Second)
		waiting.end(0)
		go waiting.finish()
		synctest.Wait()

		store := &uploadStore{err: cache.ErrUnavailable}
		log, logged := observer.New(zap.DebugLevel)
		p := publisherTo(store, time.Minute, time.Second)
		p.finishing, p.logger = waiting.finishing, zap.New(log)
		p.end(0)
		began := time.Now()
		p.finish()
		require.Zero(t, time.Since(began))
		require.Equal(t, 1, store.tries())
		require.Equal(t, 1, logged.Filter(func(e observer.LoggedEntry) bool {
			return e.ContextMap()["error"] == errTooManyFinishing.Error()
		}).Len())

		store.fail(nil) // what needs no other try is written all the same
		p.finish()
		require.Len(t, store.written(), 1)
		time.Sleep(lastWrite)
		synctest.Wait()
		require.Empty(t, p.finishing)
	})
}

func TestUploadsOfAHandlerShareTheRoomToWait(t *testing.T) {
	t.Parallel()
	ctx, _ := lookuptest.NewApp(t, `{}`)
	h, err := lookuptest.NewHandler(ctx, uploadDirective, `{"id": "a"}`)
	require.NoError(t, err)
	one := h.(*Handler).publisher(t.Context(), &upload{})
	other := h.(*Handler).publisher(t.Context(), &upload{})
	require.Equal(t, maxFinishing, cap(one.finishing))
	one.finishing <- struct{}{}
	require.Len(t, other.finishing, 1)
}

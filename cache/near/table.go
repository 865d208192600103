// The table that holds copies. A copy is one object, to which the table has one
// pointer; beside it, it takes 14 bytes.
//
// Reading takes no lock. Buckets are a cache line each: a byte of the hash for
// each of seven entries, the number of entries that found the bucket full, and
// the entries. (Bronson and Shi, Open-sourcing F14, Facebook 2019.) Writing locks
// a shard.
//
// Eviction is S3-FIFO (Yang and others, FIFO queues are all you need for cache
// eviction, SOSP 2023) with a clock for the main queue: an entry that was not used
// while it was among the freshest tenth is evicted first. Otherwise a hand goes around
// the buckets: it takes a use off each entry that it passes and evicts the first that
// has none left, or the least used after mostPassed entries. An entry that comes back
// soon after its eviction counts as used. So entries that are read once do not drive
// out those that are read often.

package near

import (
	"math"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"
)

// entry is what a table holds: a pointer to T.
type entry[T any] interface {
	*T
	// Key is the key that the entry is kept under.
	Key() string
	// Slot is in the entry, for the near cache alone.
	Slot() *Slot
	// Memory is the size of the entry with its key and all else that is kept with
	// it, in bytes.
	Memory() int
}

// Slot is the part of an entry that the near cache uses.
type Slot struct {
	// until is when the entry may no longer be served, in nanoseconds of Unix time;
	// 0 once it was dropped.
	until   atomic.Int64
	expires int64
	weight  atomic.Uint32
	uses    atomic.Uint32
}

const (
	// dropped is the weight of an entry that is no longer in its table.
	dropped = math.MaxInt32
	// mostUses is the most uses that are counted: the hand passes an entry that is no
	// longer used so many times.
	mostUses = 3
	// freshShare is the part of the entries, a tenth, that are fresh.
	freshShare = 10
	// ghostsPerBucket is how many evicted entries each bucket remembers.
	ghostsPerBucket = 4
	// slotSize is the share of an entry in the table, in bytes: a seventh of a bucket
	// and its ghosts, three quarters of which are full.
	slotSize = 14

	perBucket   = 7
	tagBits     = 1<<(8*perBucket) - 1
	lowBits     = 0x01010101010101
	highBits    = 0x80808080808080
	overflowOne = 1 << (8 * perBucket)
	overflowed  = 0xff // so many that they are no longer counted

	// sizePerShard keeps shards small, because writers of a shard wait while it
	// grows or evicts: at most some 2,500 entries, which move in about a millisecond.
	sizePerShard = 128 << 10
	mostShards   = 1 << 18
	// evictedInTurn is how many entries are evicted under one lock.
	evictedInTurn = 4
	// mostPassed is how many entries the hand passes before it evicts the least used
	// of them.
	mostPassed = 32
	// evictedBeyond is how much one write evicts, in bytes, beyond twice what it has
	// added.
	evictedBeyond = 64 << 10
	// triedByHit is how many shards a hit looks at to evict, if it made the total
	// exceed its limit. It waits for no lock.
	triedByHit = 4
)

type bucket[T any] struct {
	meta    atomic.Uint64 // a byte for each entry, 0 where there is none; the last one counts overflows
	entries [perBucket]atomic.Pointer[T]
}

// table holds entries up to a total weight.
type table[T any, R entry[T]] struct {
	hash   func(key string) uint64
	max    int64
	gone   func(e R, evicted bool) // called under a lock
	weight atomic.Int64
	count  atomic.Int64
	shift  uint // of a hash, to its shard
	shards []shard[T, R]
}

type shard[T any, R entry[T]] struct {
	mu      sync.Mutex
	buckets atomic.Pointer[[]bucket[T]]
	count   int32
	hand    uint32   // the place that was passed last
	fresh   []uint32 // places of new entries, or of what has replaced them
	ghosts  []uint16 // parts of the hashes of the latest evicted entries, by another part of the hash
}

func newTable[T any, R entry[T]](hash func(key string) uint64, maxWeight int64, gone func(e R, evicted bool)) *table[T, R] {
	shards := 1
	for shards < mostShards && maxWeight/int64(2*shards) >= sizePerShard {
		shards *= 2
	}
	t := &table[T, R]{
		hash: hash, max: maxWeight, gone: gone,
		shift: uint(64 - bits.TrailingZeros(uint(shards))), shards: make([]shard[T, R], shards),
	}
	none := new([]bucket[T]) // until an entry is added
	for i := range t.shards {
		t.shards[i].buckets.Store(none)
	}
	return t
}

func (t *table[T, R]) shard(hash uint64) *shard[T, R] { return &t.shards[hash>>t.shift] }
func home[T any](buckets []bucket[T], hash uint64) int {
	return int((hash >> 8 & math.MaxUint32) * uint64(len(buckets)) >> 32)
}
func tagOf(hash uint64) uint64 { return max(hash&0xff, 1) }

// emptyIn has the high bit of each byte of a bucket without an entry.
func emptyIn(meta uint64) uint64 { return zeroBytes(meta & tagBits) }

// zeroBytes has the high bit of each of seven bytes that is 0, exactly.
func zeroBytes(x uint64) uint64 {
	return ^((x&(0x7f*lowBits) + 0x7f*lowBits) | x) & highBits
}

// get finds the entry of a key without a lock.
func (t *table[T, R]) get(hash uint64, key string) R {
	buckets := *t.shard(hash).buckets.Load()
	b, _, _ := findIn[T, R](buckets, hash, key)
	return b
}

func findIn[T any, R entry[T]](buckets []bucket[T], hash uint64, key string) (found R, bucket, slot int) {
	wanted := tagOf(hash) * lowBits
	at := home(buckets, hash)
	for range buckets {
		b := &buckets[at]
		meta := b.meta.Load()
		for matches := zeroBytes(meta&tagBits ^ wanted); matches != 0; matches &= matches - 1 {
			i := bits.TrailingZeros64(matches) / 8
			if e := R(b.entries[i].Load()); e != nil && e.Key() == key {
				return e, at, i
			}
		}
		if meta < overflowOne {
			break
		}
		if at++; at == len(buckets) {
			at = 0
		}
	}
	return nil, 0, 0
}

// update calls change with the entry of a key, or nil, and replaces it by what
// change returns: itself, another entry or nil.
func (t *table[T, R]) update(hash uint64, key string, change func(old R) R) {
	s := t.shard(hash)
	s.mu.Lock()
	old, bucket, slot := findIn[T, R](*s.buckets.Load(), hash, key)
	now := change(old)
	if now != nil && now != old && int64(now.Memory()) > t.max {
		t.gone(now, true)
		now = nil
	}
	switch {
	case now == old:
	case now == nil:
		s.remove(t, old, false, hash, bucket, slot)
	case old != nil:
		t.weigh(now)
		t.release(old, false)
		(*s.buckets.Load())[bucket].entries[slot].Store(now)
	default:
		t.weigh(now)
		s.add(t, now, hash)
	}
	s.mu.Unlock()
	if now != nil && t.weight.Load() > t.max {
		t.evictFor(hash>>t.shift, now.Memory()+slotSize)
	}
}

func (t *table[T, R]) drop(hash uint64, key string) {
	t.update(hash, key, func(R) R { return nil })
}

// weigh adds an entry that is about to enter the table to the total.
func (t *table[T, R]) weigh(e R) {
	weight := min(e.Memory()+slotSize, dropped-1)
	e.Slot().weight.Store(uint32(weight))
	t.weight.Add(int64(weight))
	t.count.Add(1)
}

// reweigh corrects the total for an entry that may have grown, and returns how much
// larger it is.
func (t *table[T, R]) reweigh(e R) (grown int) {
	s, now := e.Slot(), min(e.Memory()+slotSize, dropped-1)
	old := s.weight.Load()
	if old == dropped || int(old) >= now || !s.weight.CompareAndSwap(old, uint32(now)) {
		return 0
	}
	t.weight.Add(int64(now) - int64(old))
	return now - int(old)
}

// release subtracts an entry that leaves the table from the total. Readers that have
// already found it do not serve it any more.
func (t *table[T, R]) release(e R, evicted bool) {
	s := e.Slot()
	s.until.Store(0)
	t.weight.Add(-int64(s.weight.Swap(dropped)))
	t.count.Add(-1)
	t.gone(e, evicted)
}

// used counts a use of an entry that was found.
func (t *table[T, R]) used(hash uint64, e R) {
	s := e.Slot()
	uses := s.uses.Load()
	if uses == mostUses {
		return
	}
	s.uses.Store(uses + 1)
	if grown := t.reweigh(e); grown > 0 && t.weight.Load() > t.max {
		t.tryEvict(hash >> t.shift)
	}
}

// add puts an entry into the shard, which must not have its key.
func (s *shard[T, R]) add(t *table[T, R], e R, hash uint64) {
	if n := len(*s.buckets.Load()); int(s.count) >= n*perBucket*4/5 {
		s.resize(t, n+max(n/4, 2))
	}
	at := put(*s.buckets.Load(), e, hash)
	if s.ghosts[s.ghost(hash)] == ghostOf(hash) {
		e.Slot().uses.Store(1)
	} else {
		if s.fresh = append(s.fresh, at); len(s.fresh) > int(s.count)/freshShare+perBucket {
			s.fresh = s.fresh[1:]
		}
	}
	s.count++
}

// put stores an entry and returns its place.
func put[T any](buckets []bucket[T], e *T, hash uint64) (place uint32) {
	at := home(buckets, hash)
	for {
		b := &buckets[at]
		meta := b.meta.Load()
		if empty := emptyIn(meta); empty != 0 {
			i := bits.TrailingZeros64(empty) / 8
			b.entries[i].Store(e)
			b.meta.Store(meta | tagOf(hash)<<(8*i))
			return uint32(at*perBucket + i)
		}
		if meta>>(8*perBucket) < overflowed {
			b.meta.Store(meta + overflowOne)
		}
		if at++; at == len(buckets) {
			at = 0
		}
	}
}

// remove takes an entry out of its place.
func (s *shard[T, R]) remove(t *table[T, R], e R, evicted bool, hash uint64, bucket, slot int) {
	buckets := *s.buckets.Load()
	b := &buckets[bucket]
	b.meta.Store(b.meta.Load() &^ (0xff << (8 * slot)))
	b.entries[slot].Store(nil)
	for at := home(buckets, hash); at != bucket; {
		if meta := buckets[at].meta.Load(); meta>>(8*perBucket) < overflowed {
			buckets[at].meta.Store(meta - overflowOne)
		}
		if at++; at == len(buckets) {
			at = 0
		}
	}
	s.count--
	t.release(e, evicted)
}

// resize moves the entries into n new buckets.
func (s *shard[T, R]) resize(t *table[T, R], n int) {
	buckets := make([]bucket[T], n)
	old := *s.buckets.Load()
	for i := range old {
		for j := range perBucket {
			if e := R(old[i].entries[j].Load()); e != nil {
				put(buckets, e, t.hash(e.Key()))
			}
		}
	}
	s.buckets.Store(&buckets)
	s.hand, s.fresh, s.ghosts = 0, nil, make([]uint16, n*ghostsPerBucket)
}

// evictFor evicts entries until the total is within its limit: a few of each
// shard in turn, from this one on. Where entries have grown much, it leaves some of
// the work to the writes after it.
func (t *table[T, R]) evictFor(shard uint64, added int) {
	now, work := time.Now().UnixNano(), 2*int64(added)+evictedBeyond
	for ; work > 0 && t.weight.Load() > t.max && t.count.Load() > 0; shard++ {
		s := t.inTurn(shard)
		s.mu.Lock()
		work -= s.evictSome(t, now)
		s.mu.Unlock()
	}
}

// tryEvict is evictFor for a hit.
func (t *table[T, R]) tryEvict(shard uint64) {
	now := time.Now().UnixNano()
	for range triedByHit {
		if s := t.inTurn(shard); s.mu.TryLock() {
			s.evictSome(t, now)
			s.mu.Unlock()
		}
		shard++
	}
}

func (t *table[T, R]) inTurn(shard uint64) *shard[T, R] {
	return &t.shards[shard%uint64(len(t.shards))]
}

// evictSome evicts up to evictedInTurn entries and returns their weight.
func (s *shard[T, R]) evictSome(t *table[T, R], now int64) (weight int64) {
	for n := 0; n < evictedInTurn && s.count > 0 && t.weight.Load() > t.max; n++ {
		weight += s.evictOne(t, now)
	}
	return weight
}

// evictOne evicts one entry and returns its weight: a fresh one that was not used while
// it was among the freshest, or one that the hand finds.
func (s *shard[T, R]) evictOne(t *table[T, R], now int64) int64 {
	for passed := 0; passed < mostPassed && len(s.fresh) > int(s.count)/freshShare; passed++ {
		place := s.fresh[0]
		s.fresh = s.fresh[1:]
		if e := s.at(place); e != nil && e.Slot().uses.Load() == 0 {
			return s.evict(t, e, place)
		}
	}
	var least R // used
	leastUses, place := uint32(mostUses+1), uint32(0)
	for passed := 0; passed < mostPassed && leastUses > 0; {
		if s.hand++; s.hand >= uint32(len(*s.buckets.Load())*perBucket) {
			s.hand = 0
		}
		e := s.at(s.hand)
		if e == nil {
			continue
		}
		uses := e.Slot().uses.Load()
		if e.Slot().until.Load() <= now {
			uses = 0
		}
		if uses < leastUses {
			least, leastUses, place = e, uses, s.hand
		}
		e.Slot().uses.Store(max(uses, 1) - 1)
		passed++
	}
	return s.evict(t, least, place)
}

func (s *shard[T, R]) at(place uint32) R {
	return (*s.buckets.Load())[place/perBucket].entries[place%perBucket].Load()
}

func (s *shard[T, R]) evict(t *table[T, R], e R, place uint32) (weight int64) {
	hash := t.hash(e.Key())
	s.ghosts[s.ghost(hash)] = ghostOf(hash)
	weight = int64(e.Slot().weight.Load())
	s.remove(t, e, true, hash, int(place/perBucket), int(place%perBucket))
	return weight
}

func ghostOf(hash uint64) uint16 { return uint16(hash >> 40) }

func (s *shard[T, R]) ghost(hash uint64) int {
	return int((hash >> 8 & math.MaxUint32) * uint64(len(s.ghosts)) >> 32)
}

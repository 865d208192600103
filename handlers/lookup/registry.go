package lookup

import (
	"maps"
	"slices"
	"sync"

	"go.uber.org/zap"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/handlers/source"
)

// Lookups finds the lookups of one configuration by the names of their routes.
// Several may have one name: those of a snippet that many sites import. The
// zero value is ready to use.
type Lookups struct {
	// OnConflict, if it is set, is called with the error of two lookups that
	// share keys but ask differently, before the configuration is refused.
	OnConflict func(error)

	roots roots

	mu     sync.Mutex
	byName map[string][]*Lookup
	asked  []*asked  // without duplicates
	unlike []*Lookup // without those that equal another one in key, question and identity
}

// add adds a lookup under a name. It returns an error if another lookup shares keys with
// it but asks another question.
func (l *Lookups) add(logger *zap.Logger, name string, lookup *Lookup) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.byName == nil {
		l.byName = make(map[string][]*Lookup)
	}
	mine := lookup.asked(name)
	for _, other := range l.asked {
		if options := mine.differsInKeeping(other); options != nil {
			logger.Warn("two lookups share the answers of their source but store them differently: an answer is stored as the lookup that asked stores it; give one of them a key of its own, or both the same options",
				zap.String("lookup", mine.place), zap.String("other", other.place), zap.Strings("options", options),
				zap.Duration("ttl", mine.keeping.ttl), zap.Duration("other_ttl", other.keeping.ttl))
		}
	}
	known, err := l.ask(mine)
	if err != nil {
		return err
	}
	if !known || !slices.ContainsFunc(l.unlike, lookup.isWrittenAs) {
		l.unlike = append(l.unlike, lookup)
	}
	l.byName[name] = append(l.byName[name], lookup)
	if rooted, ok := lookup.source.(source.Rooted); ok {
		l.roots.add(rooted)
	}
	return nil
}

// Claim notes that records of a family, which clients can influence, are written under
// keys of the family's template. It returns an error if a lookup could use one of them
// as a record of its own.
func (l *Lookups) Claim(name, keyPrefix string, family cache.Family) error {
	key, err := newKeyTemplate(keyPrefix, family.KeyTemplate, 1, false)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	_, err = l.ask(&asked{place: name, key: key, question: question{family: family.Name, parts: 1}})
	return err
}

// ask adds a description, unless the same one is there already.
func (l *Lookups) ask(mine *asked) (known bool, err error) {
	for _, other := range l.asked {
		if err := mine.conflict(other); err != nil {
			if l.OnConflict != nil {
				l.OnConflict(err)
			}
			return false, err
		}
		known = known || mine.sameAs(other)
	}
	if !known {
		l.asked = append(l.asked, mine)
	}
	return known, nil
}

// Named returns the lookups of a name, in the order in which they were added.
func (l *Lookups) Named(name string) []*Lookup {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.byName[name])
}

// Decoding returns a lookup that reads values in an application's own format under
// keys like this one, or nil.
func (l *Lookups) Decoding(key string) *Lookup {
	l.mu.Lock()
	defer l.mu.Unlock()
	var written keyTemplate
	written.add(key)
	for _, lookup := range l.unlike {
		if lookup.kind.Decoder != nil && lookup.key.overlaps(&written) {
			return lookup
		}
	}
	return nil
}

// Names returns the names of all lookups, in the order of [CompareNames].
func (l *Lookups) Names() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.SortedFunc(maps.Keys(l.byName), CompareNames)
}

// distinct returns lookups of which no two have the same keys for the same requests.
func (l *Lookups) distinct() []*Lookup {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.unlike[:len(l.unlike):len(l.unlike)]
}

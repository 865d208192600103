package cache_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/memory"
)

// A record that the application has written is looked up by its key.
func Example() {
	store, err := memory.New(memory.Options{})
	if err != nil {
		log.Fatal(err)
	}
	c := cache.New(store, cache.NewStats())
	defer c.Close()
	sessions, err := c.NewLookup(cache.LookupOptions{
		Name: "sessions", Family: cache.Session, KeyPrefix: "session:user:", TTL: time.Hour,
	})
	if err != nil {
		log.Fatal(err)
	}

	ctx := context.Background()
	session, err := cache.Decode(`{"user_id": 42, "roles": ["reader"]}`, cache.DefaultMaxValueSize)
	if err != nil {
		log.Fatal(err)
	}
	if err := c.Set(ctx, "session:user:s3cret", session, time.Hour); err != nil {
		log.Fatal(err)
	}

	found := sessions.Find(ctx, cache.Request{Key: "session:user:s3cret"})
	user, _ := found.Record.Field("user_id")
	fmt.Println(found.Outcome, user.Text())
	missing := sessions.Find(ctx, cache.Request{Key: "session:user:unknown"})
	fmt.Println(missing.Outcome, missing.OK())
	// Output:
	// hit 42
	// absent false
}

// users is a source of records.
type users map[string]string

func (u users) Name() string { return "users" }

func (u users) Load(_ context.Context, req cache.Request, _ *cache.Record) (cache.Loaded, error) {
	text, ok := u[req.ID]
	if !ok {
		return cache.Loaded{Record: cache.AbsentRecord()}, nil
	}
	record, err := cache.Decode(text, cache.DefaultMaxValueSize)
	return cache.Loaded{Record: record}, err
}

// What no cache has is loaded from the source, once for all who look it up.
func ExampleLookup_Find_source() {
	store, err := memory.New(memory.Options{})
	if err != nil {
		log.Fatal(err)
	}
	c := cache.New(store, cache.NewStats())
	defer c.Close()
	lookup, err := c.NewLookup(cache.LookupOptions{
		Name: "users", Family: cache.Session, KeyPrefix: "user:",
		TTL:         time.Hour,
		NegativeTTL: cache.DefaultNegativeTTL, // absences are stored too
		Source:      &users{"ada": `{"name": "Ada"}`},
		// all that can change the answers of the source
		SourceID: "6a09e667f3bcc908",
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, id := range []string{"ada", "ada", "bob", "bob"} {
		r := lookup.Find(context.Background(), cache.Request{Key: "user:" + id, ID: id})
		fmt.Println(id, r.Outcome, "from a cache:", r.Hit)
	}
	// Output:
	// ada miss from a cache: false
	// ada hit from a cache: true
	// bob absent from a cache: false
	// bob absent from a cache: true
}

// Records that bear a tag are dropped together, however many they are.
func ExampleCache_DropTag() {
	store, err := memory.New(memory.Options{})
	if err != nil {
		log.Fatal(err)
	}
	c := cache.New(store, cache.NewStats())
	defer c.Close()
	lookup, err := c.NewLookup(cache.LookupOptions{
		Name: "sessions", Family: cache.Session, KeyPrefix: "session:", TTL: time.Hour,
		Source: &users{"one": `{"user": "ada"}`, "two": `{"user": "ada"}`},
		Tags: func(_ cache.Request, record *cache.Record) []string {
			user, _ := record.Field("user")
			return []string{"user:" + user.Text()}
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	find := func(id string) {
		fmt.Println(id, lookup.Find(ctx, cache.Request{Key: "session:" + id, ID: id}).Outcome)
	}
	find("one")
	find("one")
	if _, err := c.Delete(ctx, "session:one"); err != nil { // one record
		log.Fatal(err)
	}
	find("one")
	find("two")
	if err := c.DropTag(ctx, "user:ada"); err != nil { // all of Ada's
		log.Fatal(err)
	}
	find("one")
	find("two")
	// Output:
	// one miss
	// one hit
	// one miss
	// two miss
	// one miss
	// two miss
}

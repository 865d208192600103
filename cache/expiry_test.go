package cache_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
)

// A record ends by its own word, and one whose word cannot be read is an error:
// never a hit.
func TestRecordsEndAtTheTimeInTheirExpiryField(t *testing.T) {
	t.Parallel()
	soon := cache.Expiry{}
	for name, test := range map[string]struct {
		expiry cache.Expiry
		text   string
		want   cache.Outcome
	}{
		"seconds":                   {soon, `{"expires_at":4102444800}`, cache.OutcomeHit},
		"seconds with a fraction":   {soon, `{"expires_at":4102444800.5}`, cache.OutcomeHit},
		"seconds, exponent":         {soon, `{"expires_at":4.1024448e9}`, cache.OutcomeHit},
		"seconds in a text":         {soon, `{"expires_at":"4102444800"}`, cache.OutcomeHit},
		"RFC 3339":                  {soon, `{"expires_at":"2100-01-01T00:00:00+02:00"}`, cache.OutcomeHit},
		"last year of RFC 3339":     {soon, `{"expires_at":"9999-12-31T23:59:59Z"}`, cache.OutcomeHit},
		"none":                      {soon, `{"expires_at":null}`, cache.OutcomeHit},
		"in another object":         {soon, `{"a":{"expires_at":1}}`, cache.OutcomeHit},
		"another name":              {soon, `{"Expires_At":1}`, cache.OutcomeHit},
		"the last of two":           {soon, `{"expires_at":1,"expires_at":4102444800}`, cache.OutcomeHit},
		"the last of two, past":     {soon, `{"expires_at":4102444800,"expires_at":1}`, cache.OutcomeAbsent},
		"past":                      {soon, `{"expires_at":1}`, cache.OutcomeAbsent},
		"zero":                      {soon, `{"expires_at":0}`, cache.OutcomeAbsent},
		"before 1970":               {soon, `{"expires_at":-1}`, cache.OutcomeAbsent},
		"long ago":                  {soon, `{"expires_at":"0001-01-01T00:00:00Z"}`, cache.OutcomeAbsent},
		"empty":                     {soon, `{"expires_at":""}`, cache.OutcomeError},
		"words":                     {soon, `{"expires_at":"soon"}`, cache.OutcomeError},
		"a date alone":              {soon, `{"expires_at":"2100-01-01"}`, cache.OutcomeError},
		"SQL":                       {soon, `{"expires_at":"2100-01-01 00:00:00"}`, cache.OutcomeError},
		"not a number":              {soon, `{"expires_at":"NaN"}`, cache.OutcomeError},
		"infinite":                  {soon, `{"expires_at":"Inf"}`, cache.OutcomeError},
		"true":                      {soon, `{"expires_at":true}`, cache.OutcomeError},
		"false":                     {soon, `{"expires_at":false}`, cache.OutcomeError},
		"an array":                  {soon, `{"expires_at":[4102444800]}`, cache.OutcomeError},
		"an object":                 {soon, `{"expires_at":{"$date":4102444800}}`, cache.OutcomeError},
		"milliseconds by mistake":   {soon, `{"expires_at":4102444800000}`, cache.OutcomeError},
		"milliseconds":              {cache.Expiry{Field: "exp", Unit: cache.Milliseconds}, `{"exp":4102444800000}`, cache.OutcomeHit},
		"milliseconds, past":        {cache.Expiry{Field: "exp", Unit: cache.Milliseconds}, `{"exp":1000}`, cache.OutcomeAbsent},
		"another field":             {cache.Expiry{Field: "cookie.expires"}, `{"cookie":{"expires":"2100-01-01T00:00:00Z"},"expires_at":1}`, cache.OutcomeHit},
		"another field, past":       {cache.Expiry{Field: "cookie.expires"}, `{"cookie":{"expires":"2000-01-01T00:00:00Z"}}`, cache.OutcomeAbsent},
		"another field, missing":    {cache.Expiry{Field: "cookie.expires"}, `{"cookie":{}}`, cache.OutcomeHit},
		"another field, unreadable": {cache.Expiry{Field: "cookie.expires"}, `{"cookie":{"expires":"never"}}`, cache.OutcomeError},
		"wrong unit":                {cache.Expiry{Field: "exp", Unit: cache.RFC3339}, `{"exp":4102444800}`, cache.OutcomeError},
		"wrong unit for a text":     {cache.Expiry{Field: "exp", Unit: cache.Seconds}, `{"exp":"2100-01-01T00:00:00Z"}`, cache.OutcomeError},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCache(t, newStore(t))
			stored := newLookup(t, c, cache.LookupOptions{ExpiresAt: true, Expiry: test.expiry})
			require.NoError(t, c.Set(t.Context(), reqA.Key, decode(t, test.text), time.Hour))
			r := stored.Find(t.Context(), reqA)
			require.Equal(t, test.want, r.Outcome)
			require.Equal(t, test.want == cache.OutcomeHit, r.OK())

			asked := newLookup(t, newCache(t, newStore(t)), cache.LookupOptions{
				ExpiresAt: true, Expiry: test.expiry, Source: saying(t, test.text),
			})
			r = asked.Find(t.Context(), reqA)
			if test.want == cache.OutcomeHit {
				require.Equal(t, cache.OutcomeMiss, r.Outcome)
				return
			}
			require.Equal(t, test.want, r.Outcome)
			require.False(t, r.Stored)
		})
	}
}

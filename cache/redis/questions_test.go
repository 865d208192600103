package redis

import (
	"testing"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/cachetest"
	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
)

func TestAnswersToOtherQuestionsAreNotUsed(t *testing.T) {
	t.Parallel()
	cachetest.RunQuestions(t, func(t *testing.T) []*cache.Cache {
		var caches []*cache.Cache
		for _, in := range newFleet(t, 2, at(redistest.Start(t)), cache.LookupOptions{}) {
			caches = append(caches, in.Cache)
		}
		return caches
	})
}

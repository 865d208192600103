package session

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

func TestUndecodableSessionsAreReportedOncePerChange(t *testing.T) {
	t.Parallel()
	core, logs := observer.New(zap.InfoLevel)
	l := newUndecodableLog(zap.New(core))
	failed := func(id string) { l.failed(id, "route", "store", errors.New("reason")) }
	succeeded := func(id string) { l.succeeded(id, "route", "store") }

	succeeded("a")
	require.Zero(t, logs.Len(), "there was nothing wrong")
	for range 3 {
		failed("a")
		failed("b")
		succeeded("c")
	}
	require.Equal(t, 1, logs.Len())
	succeeded("a")
	require.Equal(t, 1, logs.Len(), "b is not well yet")
	succeeded("b")
	require.Equal(t, 1, logs.FilterMessage("sessions can be decoded again").Len())
	succeeded("b")
	require.Equal(t, 2, logs.Len())
	failed("b")
	require.Equal(t, 3, logs.Len())

	for i := range 2 * mostUndecodable {
		failed(fmt.Sprint(i))
	}
	require.Equal(t, 3, logs.Len())
	require.Len(t, l.sessions, mostUndecodable)
	l.forget(time.Now().Add(2 * undecodableFor))
	require.Empty(t, l.sessions)
	for _, entry := range logs.All() {
		require.Equal(t, "route", entry.ContextMap()["route"])
	}
}

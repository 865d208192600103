package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// profile writes a CPU profile of Caddy under the load of a variant, for
// `go tool pprof`. It does nothing for other servers.
func (b *bench) profile(ctx context.Context, v variant) error {
	at := b.sites[v.site]
	if at.admin == "" {
		return nil
	}
	return b.profiled(ctx, v, "", max(1, int(b.duration.Seconds())), func() error {
		_, err := b.measure(ctx, at, load{
			template: v.template, sessions: b.visitors, connections: connections, duration: b.duration + time.Second,
		})
		return err
	})
}

// profiled runs a load, and writes a CPU profile of so many seconds of it if -profiles
// is set.
func (b *bench) profiled(ctx context.Context, v variant, phase string, seconds int, measure func() error) error {
	at := b.sites[v.site]
	if b.profiles == "" || at.admin == "" {
		return measure()
	}
	loaded := make(chan error, 1)
	go func() { loaded <- measure() }()
	name := strings.NewReplacer(" ", "_", "/", "", "`", "").Replace(fmt.Sprint(v.template.method, v.template.path, " ", v.template.want, " ", v.site, " ", phase))
	url := fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", at.admin, seconds)
	if err := download(ctx, url, filepath.Join(b.profiles, name+".pprof")); err != nil {
		return fmt.Errorf("profiling: %w", err)
	}
	return <-loaded
}

func download(ctx context.Context, url, path string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s returned %s", url, response.Status)
	}
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = io.Copy(file, response.Body)
	return err
}

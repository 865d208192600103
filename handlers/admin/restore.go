package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/handlers/admin/wire"
	"github.com/filewallball/caddy-filewallball/handlers/lookup"
)

const (
	// restoreItems is the most records that are written together, and restoreBytes
	// their most bytes, unless one record is larger.
	restoreItems = 500
	restoreBytes = 4 << 20
	// maxLineErrors is the most malformed lines in the report.
	maxLineErrors = 100

	logRestoreFailed = "restore ended early"
)

// restore writes the records of a backup with their remaining TTL. It
// does not replace an existing record or one that is being loaded, unless
// overwrite=true. A malformed line does not stop it, but an outage of the store
// does. It can be run again.
func restore(w http.ResponseWriter, r *http.Request, app lookup.App) error {
	query, err := parameters(r, "overwrite")
	if err != nil {
		return err
	}
	overwrite, err := boolOf(query, "overwrite")
	if err != nil {
		return err
	}
	if err := ping(r, app); err != nil {
		return err
	}
	b := &restorer{app: app, overwrite: overwrite, report: wire.RestoreReport{Errors: []wire.LineError{}}}
	err = b.readAll(r.Context(), newLineReader(patientBody(w, r), maxBackupLine(app.Policy().MaxValueSize)))
	if err == nil {
		return writeJSON(w, b.report)
	}
	status := http.StatusInternalServerError
	var refusal caddy.APIError
	if errors.As(err, &refusal) {
		status, b.report.Error = refusal.HTTPStatus, refusal.Message
		if b.report.Error == "" {
			b.report.Error = refusal.Error()
		}
	}
	b.report.Error += fmt.Sprintf("; stopped before line %d; the records before it are restored, and the restore can be run again", b.report.Line)
	caddy.Log().Named("admin.api").Error(logRestoreFailed, zap.Error(err))
	return writeJSONAs(w, status, "application/json", b.report)
}

// restorer is a restore under way.
type restorer struct {
	app       lookup.App
	overwrite bool
	report    wire.RestoreReport

	batch     []cache.Item
	batchSize int
	batchLine int // the line of its first record
}

// readAll restores all lines. The error is for the client.
func (b *restorer) readAll(ctx context.Context, lines *lineReader) error {
	for {
		line, err := lines.next()
		switch {
		case errors.Is(err, io.EOF):
			return b.write(ctx)
		case errors.Is(err, errLineTooLong):
			b.report.Lines++
			b.bad(err)
			continue
		case err != nil:
			if writeErr := b.write(ctx); writeErr != nil {
				return writeErr
			}
			b.report.Line = b.report.Lines + 1
			return refuse(http.StatusBadRequest, "body ended early")
		}
		b.report.Lines++
		if err := b.take(ctx, line); err != nil {
			return err
		}
	}
}

// take adds the record of a line to the batch, and writes a full batch.
func (b *restorer) take(ctx context.Context, line []byte) error {
	parsed, err := parseBackupLine(line, b.app.Policy(), time.Now())
	switch {
	case errors.Is(err, errNoLine):
		return nil
	case errors.Is(err, errExpired):
		b.report.Expired++
		return nil
	case err != nil:
		b.bad(err)
		return nil
	case parsed.tag != "":
		b.report.Tags++ // the record has it as well
		return nil
	}
	if len(b.batch) == 0 {
		b.batchLine = b.report.Lines
	}
	b.batch = append(b.batch, parsed.item)
	b.batchSize += parsed.item.Record.Size()
	if len(b.batch) >= restoreItems || b.batchSize >= restoreBytes {
		return b.write(ctx)
	}
	return nil
}

// bad counts a malformed line.
func (b *restorer) bad(err error) {
	b.report.Failed++
	if len(b.report.Errors) < maxLineErrors {
		b.report.Errors = append(b.report.Errors, wire.LineError{Line: b.report.Lines, Error: err.Error()})
	}
}

// write writes the batch.
func (b *restorer) write(ctx context.Context) error {
	if len(b.batch) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	var written int
	items, err := b.current(ctx)
	switch {
	case err != nil:
	case b.overwrite:
		if err = b.app.Cache().SetMany(ctx, items); err == nil {
			written = len(items)
		}
	default:
		written, err = b.app.Cache().AddMany(ctx, items)
	}
	b.report.Restored += written
	if err != nil {
		b.report.Line = b.batchLine
		return storeError(err)
	}
	b.report.Kept += len(items) - written
	b.report.Expired += len(b.batch) - len(items)
	clear(b.batch)
	b.batch, b.batchSize = b.batch[:0], 0
	return nil
}

// current returns the records of the batch whose tags were not dropped since the backup.
func (b *restorer) current(ctx context.Context) ([]cache.Item, error) {
	records := make([]*cache.Record, len(b.batch))
	var ttl time.Duration
	for i, item := range b.batch {
		records[i], ttl = item.Record, max(ttl, item.TTL)
	}
	valid, err := b.app.Cache().Store().AdoptTags(ctx, records, ttl)
	if err != nil {
		return nil, err
	}
	var items []cache.Item
	for i, item := range b.batch {
		if valid[i] {
			items = append(items, item)
		}
	}
	return items, nil
}

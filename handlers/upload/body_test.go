package upload

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/handlers/lookup/lookuptest"
)

// errBody is a body of three bytes and an error.
type errBody struct {
	err    error
	closed int
}

func (b *errBody) Read(p []byte) (int, error) { return copy(p, "abc"), b.err }
func (b *errBody) Close() error {
	b.closed++
	return nil
}

func TestBodyErrorsPassAsTheyAre(t *testing.T) {
	t.Parallel()
	tooLarge := &http.MaxBytesError{Limit: 3}
	for name, c := range map[string]struct {
		err     error
		failure int
	}{
		"end":                {io.EOF, 0},
		"too large":          {tooLarge, 413},
		"too large, wrapped": {caddyhttp.Error(http.StatusRequestEntityTooLarge, tooLarge), 413},
		"another refusal":    {caddyhttp.Error(http.StatusUnsupportedMediaType, nil), 415},
		"too slow":           {os.ErrDeadlineExceeded, 408},
		"the client left":    {io.ErrUnexpectedEOF, 499},
		"closed by us":       {http.ErrBodyReadAfterClose, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := &upload{size: -1}
			body := countBody(&errBody{err: c.err}, u)
			n, err := body.Read(make([]byte, 10))
			require.Equal(t, 3, n)
			require.Equal(t, c.err, err) // the very same
			require.EqualValues(t, 3, u.received.Load())
			require.EqualValues(t, c.failure, u.failure.Load())
			require.Equal(t, c.err == io.EOF, u.eof.Load()) //nolint:errorlint // this one itself
		})
	}
}

func TestBodyIsClosedByItsOnlyReader(t *testing.T) {
	t.Parallel()
	inner := &errBody{err: errors.New("used of closed connection")}
	u := &upload{size: -1}
	body := countBody(inner, u)
	require.Zero(t, inner.closed)
	require.NoError(t, body.Close())
	require.Equal(t, 1, inner.closed)
	_, _ = body.Read(make([]byte, 10))
	require.Zero(t, u.failure.Load(), "what comes after Close is not the client's fault")
}

func TestBodyThatWritesItselfStillDoes(t *testing.T) {
	t.Parallel()
	u := &upload{size: -1}
	body := countBody(io.NopCloser(strings.NewReader("hello")), u)
	to, ok := body.(io.WriterTo)
	require.True(t, ok)
	var out bytes.Buffer
	n, err := to.WriteTo(&out)
	require.NoError(t, err)
	require.EqualValues(t, 5, n)
	require.Equal(t, "hello", out.String())
	require.EqualValues(t, 5, u.received.Load())
	require.True(t, u.complete())
	_, ok = countBody(&errBody{}, u).(io.WriterTo)
	require.False(t, ok, "there is nothing that could write")
}

// Over a connection, as net/http has it.
func TestTrailersAndFullDuplexWorkThroughACountedBody(t *testing.T) {
	t.Parallel()
	ctx, _ := lookuptest.NewApp(t, `{}`)
	h, err := lookuptest.NewHandler(ctx, uploadDirective, `{"id": "a"}`)
	require.NoError(t, err)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r = prepared(w, r)
		err := h.ServeHTTP(w, r, caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
			control := http.NewResponseController(w)
			if err := control.EnableFullDuplex(); err != nil {
				return err
			}
			line := make([]byte, 4)
			for {
				if _, err := io.ReadFull(r.Body, line); err != nil {
					break
				}
				_, _ = w.Write(bytes.ToUpper(line))
				if err := control.Flush(); err != nil {
					return err
				}
			}
			_, err := io.WriteString(w, r.Trailer.Get("Sum"))
			return err
		}))
		if err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(server.Close)
	body, pipe := io.Pipe()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL, body)
	require.NoError(t, err)
	r.Trailer = http.Header{"Sum": nil}
	answered := make(chan *http.Response, 1)
	go func() {
		resp, err := server.Client().Do(r)
		if err != nil {
			t.Error(err)
		}
		answered <- resp
	}()
	_, err = pipe.Write([]byte("ping"))
	require.NoError(t, err)
	resp := <-answered // before the request has ended
	require.NotNil(t, resp)
	defer resp.Body.Close()
	for range 3 {
		answer := make([]byte, 4)
		_, err = io.ReadFull(resp.Body, answer)
		require.NoError(t, err)
		require.Equal(t, "PING", string(answer))
		_, err = pipe.Write([]byte("ping"))
		require.NoError(t, err)
	}
	r.Trailer.Set("Sum", "42")
	require.NoError(t, pipe.Close())
	rest, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, "PING42", string(rest))
}

// What the wrapper costs a Read. Run:
//
//	go test -run '^$' -bench UploadBody -benchmem ./handlers
//
// Bare is the same body without the wrapper.
func BenchmarkUploadBody(b *testing.B) {
	for name, wrap := range map[string]func(io.ReadCloser) io.ReadCloser{
		"Bare":    func(body io.ReadCloser) io.ReadCloser { return body },
		"Counted": func(body io.ReadCloser) io.ReadCloser { return countBody(body, &upload{size: -1}) },
	} {
		b.Run(name, func(b *testing.B) {
			body, buffer := wrap(zeros{}), make([]byte, 32<<10)
			b.SetBytes(int64(len(buffer)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := body.Read(buffer); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// zeros is a body without an end that costs as much to read as a copy does.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
func (zeros) Close() error { return nil }

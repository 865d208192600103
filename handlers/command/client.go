// The client of the admin API. Caddy's own AdminAPIRequest takes no context, so
// it could not be interrupted, and returns statuses and bodies as text.

package command

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/pflag"

	"github.com/filewallball/caddy-filewallball/handlers/lookup"
)

const (
	base = "/" + lookup.AppID + "/"

	dialTimeout = 5 * time.Second
	// answerTimeout is how long a command waits for an answer that the admin API can
	// give at once, so that a Caddy that hangs does not hang scripts.
	answerTimeout = 30 * time.Second
	// maxAnswer bounds an answer that is not a stream, in bytes.
	maxAnswer = 64 << 20
)

// client speaks to the admin API at one address.
type client struct {
	address string
	origin  string // http://host:port
	// unix reports whether the address is a socket, for which there is no Origin
	unix     bool
	patience time.Duration // see answerTimeout
	http     http.Client
}

// newClient finds the address as Caddy's own commands do.
func newClient(flags *pflag.FlagSet) (*client, error) {
	address, _ := flags.GetString("address")
	config, _ := flags.GetString("config")
	adapter, _ := flags.GetString("adapter")
	address, err := caddycmd.DetermineAdminAPIAddress(address, nil, config, adapter)
	if err != nil {
		return nil, fmt.Errorf("finding the address of the admin API: %w", err)
	}
	parsed, err := caddy.ParseNetworkAddress(address)
	if err != nil || parsed.PortRangeSize() > 1 || !parsed.IsUnixNetwork() && (parsed.StartPort == 0 || strings.Contains(parsed.Host, "/")) {
		return nil, fmt.Errorf("address %q is not right: want host:port or unix//path", address)
	}
	c := &client{address: address, origin: "http://127.0.0.1", unix: parsed.IsUnixNetwork(), patience: answerTimeout}
	if c.unix {
		// the socket's permissions may stand after its path
		parsed.Host, _, _ = strings.Cut(parsed.Host, "|")
	} else {
		c.origin = "http://" + parsed.JoinHostPort(0)
	}
	dialer := net.Dialer{Timeout: dialTimeout}
	c.http = http.Client{
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return dialer.DialContext(ctx, parsed.Network, parsed.JoinHostPort(0))
			},
		},
		// another path would be another key
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c, nil
}

func (c *client) close() { c.http.CloseIdleConnections() }

// send returns the answer of any status. path is relative to
// /filewallball/ and percent-encoded. The caller closes the body.
func (c *client) send(ctx context.Context, method, path string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.origin+base+path, body)
	if err != nil {
		return nil, fmt.Errorf("making a request: %w", err)
	}
	if !c.unix {
		req.Header.Set("Origin", c.origin)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		var op *net.OpError
		if errors.As(err, &op) && op.Op == "dial" {
			return nil, fmt.Errorf("no Caddy can be reached at %s: %w (--address takes the host:port of its admin API, or unix//path; --config its configuration file)",
				c.address, op.Err)
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if failed := (*url.Error)(nil); errors.As(err, &failed) {
			err = failed.Err
		}
		return nil, fmt.Errorf("asking %s: %w (is that the address of Caddy's admin API, which speaks HTTP without TLS?)", c.address, err)
	}
	return resp, nil
}

// bounded returns a context for an answer that must come soon.
func (c *client) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, c.patience, fmt.Errorf("the Caddy at %s does not answer within %s", c.address, c.patience))
}

// open returns the answer if its status is below 300.
func (c *client) open(ctx context.Context, method, path string, body io.Reader) (*http.Response, error) {
	resp, err := c.send(ctx, method, path, body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode < 300 {
		return resp, nil
	}
	defer resp.Body.Close()
	answer, err := readAnswer(ctx, resp)
	if err != nil {
		return nil, err
	}
	return nil, c.apiError(resp, answer)
}

// ask returns the body of an answer whose status is below 300. It waits no longer than
// answerTimeout for it.
func (c *client) ask(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	return c.askLong(ctx, method, path, body)
}

// askLong is ask for work that may take long.
func (c *client) askLong(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	var reader io.Reader
	if body != nil {
		reader = bytes.NewReader(body)
	}
	resp, err := c.open(ctx, method, path, reader)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return readAnswer(ctx, resp)
}

func readAnswer(ctx context.Context, resp *http.Response) ([]byte, error) {
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil && ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the answer: %w", err)
	}
	if len(answer) > maxAnswer {
		return nil, fmt.Errorf("reading the answer: it is longer than %d bytes", maxAnswer)
	}
	return answer, nil
}

// apiError is the error of an answer with another status.
type apiError struct {
	status  int
	message string
}

func (e *apiError) Error() string { return e.message }

func (c *client) apiError(resp *http.Response, body []byte) error {
	var failure struct {
		Error string `json:"error"`
	}
	switch {
	case json.Unmarshal(body, &failure) == nil && failure.Error != "":
		return &apiError{resp.StatusCode, failure.Error}
	case resp.StatusCode == http.StatusBadRequest && bytes.Contains(body, []byte("HTTP request to an HTTPS server")):
		return &apiError{resp.StatusCode, fmt.Sprintf("%s speaks TLS, as Caddy's remote administration does, which is not supported: "+
			"run the command on the server itself, with the address of its own admin API", c.address)}
	case resp.StatusCode == http.StatusNotFound:
		return &apiError{resp.StatusCode, fmt.Sprintf("the Caddy at %s is built without this plugin, or an older one", c.address)}
	}
	return &apiError{resp.StatusCode, fmt.Sprintf("Caddy at %s answers %s", c.address, resp.Status)}
}

// hasStatus reports whether the admin API has answered with that error status.
func hasStatus(err error, status int) bool {
	var api *apiError
	return errors.As(err, &api) && api.status == status
}

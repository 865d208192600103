package httpsource

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"strings"

	"github.com/filewallball/caddy-filewallball/cache"
)

// withoutAnswer returns an error of a request without what the application has
// answered: net/http repeats the line that it cannot read, which may be a header
// with a secret.
func withoutAnswer(err error) error {
	var network net.Error
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.As(err, &network), errors.As(err, &certificate), errors.Is(err, context.Canceled):
		return err
	}
	text, _, quotes := strings.Cut(err.Error(), `"`)
	text = strings.TrimRight(text, " [") // of one value or a list
	var line textproto.ProtocolError
	if errors.As(err, &line) {
		what, _, _ := strings.Cut(string(line), ":")
		before, _, _ := strings.Cut(err.Error(), string(line))
		text, quotes = before+what, true
	}
	if !quotes {
		return err
	}
	return fmt.Errorf("%w: %s", cache.ErrInvalidRecord, text)
}

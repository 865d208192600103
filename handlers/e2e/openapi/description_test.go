// Reading docs/openapi.yaml, and comparing with it.
//
// kin-openapi takes OpenAPI 3.1 documents as they are, and validates values with a
// validator of JSON Schema 2020-12. OpenAPI cannot describe a body of several JSON
// texts: the schema of application/x-ndjson is that of one line, so each line is
// validated separately.

package openapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/handlers/sitetest"
)

const ndjson = "application/x-ndjson"

var decodeLines = sync.OnceFunc(func() { openapi3filter.RegisterBodyDecoder(ndjson, openapi3filter.JSONBodyDecoder) })

type description struct{ doc *openapi3.T }

func load(t *testing.T) description {
	t.Helper()
	decodeLines()
	doc, err := openapi3.NewLoader().LoadFromFile("../../../docs/openapi.yaml")
	require.NoError(t, err)
	return description{doc}
}

func answer(method, endpoint, status string) string { return method + " " + endpoint + " " + status }

// answers are all in the description.
func (d description) answers() (all []string) {
	for path, item := range d.doc.Paths.Map() {
		for method, operation := range item.Operations() {
			for status := range operation.Responses.Map() {
				all = append(all, answer(method, path, status))
			}
		}
	}
	return all
}

// input is a request to an endpoint as kin-openapi has it.
func (d description) input(method, endpoint, path, body string) (*openapi3filter.RequestValidationInput, error) {
	req, err := http.NewRequest(method, "http://localhost:2019/filewallball"+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	item := d.doc.Paths.Value(endpoint)
	if item == nil || item.GetOperation(method) == nil {
		return nil, errors.New("the description has no " + method + " " + endpoint)
	}
	operation := item.GetOperation(method)
	params := make(map[string]string)
	if key, ok := strings.CutPrefix(req.URL.Path, "/filewallball/keys/"); ok {
		params["key"] = key
	}
	if operation.RequestBody != nil && body != "" {
		for contentType := range operation.RequestBody.Value.Content {
			req.Header.Set("Content-Type", contentType)
		}
	}
	return &openapi3filter.RequestValidationInput{
		Request: req, PathParams: params, QueryParams: req.URL.Query(),
		Route:   &routers.Route{Spec: d.doc, Path: endpoint, PathItem: item, Method: method, Operation: operation},
		Options: &openapi3filter.Options{IncludeResponseStatus: true},
	}, nil
}

func (d description) validateRequest(one call) error {
	input, err := d.input(one.method, one.endpoint, one.path, one.body)
	if err != nil {
		return err
	}
	if input.Request.Header.Get("Content-Type") != ndjson {
		return openapi3filter.ValidateRequest(input.Request.Context(), input)
	}
	for line := range strings.Lines(one.body) {
		input, err := d.input(one.method, one.endpoint, one.path, line)
		if err == nil {
			err = openapi3filter.ValidateRequest(input.Request.Context(), input)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (d description) validateResponse(method, endpoint string, a sitetest.Answer) error {
	request, err := d.input(method, endpoint, endpoint, "")
	if err != nil {
		return err
	}
	bodies := []string{a.Body}
	if a.Header.Get("Content-Type") == ndjson {
		bodies = strings.SplitAfter(strings.TrimSuffix(a.Body, "\n"), "\n")
	}
	for _, body := range bodies {
		err := openapi3filter.ValidateResponse(request.Request.Context(), &openapi3filter.ResponseValidationInput{
			RequestValidationInput: request, Status: a.Status, Header: a.Header,
			Body: io.NopCloser(bytes.NewReader([]byte(body))), Options: request.Options,
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (d description) validate(schema, text string) error {
	return visit(d.doc.Components.Schemas[schema].Value, text)
}

func (d description) validateError(text string) error { return d.validate("Error", text) }

func visit(schema *openapi3.Schema, text string) error {
	var value any
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		return err
	}
	return schema.VisitJSON(value, openapi3.EnableJSONSchema2020())
}

func readAnswer(t *testing.T, resp *http.Response) sitetest.Answer {
	t.Helper()
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return sitetest.Answer{Status: resp.StatusCode, Header: resp.Header, Body: string(body)}
}

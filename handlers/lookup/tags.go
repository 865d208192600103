// Tags of records, by which they are dropped together.

package lookup

import (
	"errors"
	"fmt"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/handlers/template"
)

// tagger makes the tags of records from templates.
type tagger struct {
	prefix    string // of the placeholders that are fields of the record
	templates []string
	hash      bool // {id} is the hash of the identity, which is a secret
}

// newTagger checks templates. They may use only the identity and the record: tags are
// made when a record comes from its source, which may be in the background, without a
// request.
func newTagger(templates []string, prefix string, hash bool) (*tagger, error) {
	t := &tagger{prefix: prefix, hash: hash}
	for _, text := range templates {
		if err := template.CheckDollar(text); err != nil {
			return nil, fmt.Errorf("tag: %w", err)
		}
		var wrong, noField string
		resolved, err := caddy.NewReplacer().ReplaceFunc(text, func(name string, value any) (any, error) {
			switch kind, _, _ := strings.Cut(name, "."); {
			case kind == "env", kind == "file", kind == "system":
				return value, nil
			case name != "id" && !strings.HasPrefix(name, prefix):
				wrong = name
			case name == prefix+"id", name == prefix+"outcome", strings.HasPrefix(name, prefix+"_"):
				noField = name
			}
			return "{" + name + "}", nil
		})
		switch {
		case err != nil:
			return nil, fmt.Errorf("tag: %w", err)
		case wrong != "":
			return nil, fmt.Errorf("tag: {%s} is not known when a record comes from its source: "+
				"want {id} or a field of the record, like {%suser_id}", wrong, prefix)
		case noField != "":
			return nil, fmt.Errorf("tag: {%s} is not a field of the record: want {id} for the identity, or a field, like {%suser_id}", noField, prefix)
		case resolved == "":
			return nil, errors.New("tag: a tag is empty")
		}
		t.templates = append(t.templates, resolved)
	}
	return t, nil
}

// errNoField is the error of a tag for which the record has no value. Such a tag is
// left out.
var errNoField = errors.New("record lacks a field of the tag")

func (t *tagger) tags(req cache.Request, record *cache.Record) []string {
	var tags []string
	repl := caddy.NewEmptyReplacer()
	for _, text := range t.templates {
		tag, err := repl.ReplaceFunc(text, func(name string, _ any) (any, error) {
			if name == "id" {
				return t.id(req), nil
			}
			value, ok := record.Field(strings.TrimPrefix(name, t.prefix))
			if !ok || !value.IsScalar() || value.Text() == "" {
				return nil, errNoField
			}
			return value.Text(), nil
		})
		if err == nil {
			tags = append(tags, tag)
		}
	}
	return tags
}

func (t *tagger) id(req cache.Request) string {
	if t.hash {
		return cache.KeyIdentity(req.ID, true)
	}
	return req.ID
}

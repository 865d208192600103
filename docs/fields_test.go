// Caddy's module documentation is made of the comments of fields.
package docs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/stretchr/testify/require"
)

const repository = "github.com/filewallball/caddy-filewallball"

func TestEveryFieldOfAModuleHasAComment(t *testing.T) {
	f := fields{comments: map[string]map[string]string{}, seen: map[reflect.Type]bool{}}
	for _, id := range ours(t) {
		info, err := caddy.GetModule(id)
		require.NoError(t, err)
		f.check(t, reflect.TypeOf(info.New()))
	}
	require.Greater(t, f.count, 80, "most fields were not found")
}

// fields checks structs once each.
type fields struct {
	comments map[string]map[string]string // by package, then by type.field
	seen     map[reflect.Type]bool
	count    int
}

// check checks the fields with a JSON name of a struct of this repository, and
// of the structs that it consists of.
func (f *fields) check(t *testing.T, kind reflect.Type) {
	t.Helper()
	for kind.Kind() == reflect.Pointer || kind.Kind() == reflect.Slice || kind.Kind() == reflect.Map {
		kind = kind.Elem()
	}
	if kind.Kind() != reflect.Struct || !strings.HasPrefix(kind.PkgPath(), repository) || f.seen[kind] {
		return
	}
	f.seen[kind] = true
	comments := f.commentsOf(t, kind.PkgPath())
	for i := range kind.NumField() {
		field := kind.Field(i)
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if field.Anonymous {
			f.check(t, field.Type)
			continue
		}
		if !field.IsExported() || name == "" || name == "-" {
			continue
		}
		f.count++
		if strings.TrimSpace(comments[kind.Name()+"."+field.Name]) == "" {
			t.Errorf("%s.%s.%s has no comment: say its meaning, default and unit", kind.PkgPath(), kind.Name(), field.Name)
		}
		f.check(t, field.Type)
	}
}

// commentsOf reads the comments of all fields of structs in a package.
func (f *fields) commentsOf(t *testing.T, pkg string) map[string]string {
	t.Helper()
	if comments, ok := f.comments[pkg]; ok {
		return comments
	}
	comments := map[string]string{}
	f.comments[pkg] = comments
	dir := filepath.Join("..", filepath.FromSlash(strings.TrimPrefix(strings.TrimPrefix(pkg, repository), "/")))
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, file := range files {
		if filepath.Ext(file.Name()) != ".go" || strings.HasSuffix(file.Name(), "_test.go") {
			continue
		}
		tree, err := parser.ParseFile(token.NewFileSet(), filepath.Join(dir, file.Name()), nil, parser.ParseComments)
		require.NoError(t, err)
		ast.Inspect(tree, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			body, ok := spec.Type.(*ast.StructType)
			if !ok {
				return true
			}
			for _, field := range body.Fields.List {
				for _, name := range field.Names {
					comments[spec.Name.Name+"."+name.Name] = field.Doc.Text()
				}
			}
			return true
		})
	}
	return comments
}

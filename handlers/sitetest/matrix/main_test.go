// Package matrix tests, over whole configurations, that no lookup is answered by
// what another question brought: pairs of lookups whose keys are equal and whose
// configurations differ ask for the same identities, on one node after the other
// and at the same time, before and after reloads.
//
//	lookups_test.go      the axes, the pairs, and the Caddyfiles they become
//	application_test.go  what is asked; its answers name their question
//	oracle_test.go       which answer a request must have
//	matrix_test.go       what is done to the nodes
package matrix

import (
	"testing"

	_ "github.com/filewallball/caddy-filewallball"
	"github.com/filewallball/caddy-filewallball/handlers/sitetest"
)

func TestMain(m *testing.M) { sitetest.Main(m) }

package deployment

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/yannh/kubeconform/pkg/validator"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/kustomize/kyaml/openapi"
	"sigs.k8s.io/yaml"
)

// object is a Kubernetes object.
type object map[string]any

func (o object) at(t *testing.T, path ...string) any {
	t.Helper()
	var value any = map[string]any(o)
	for _, name := range path {
		fields, ok := value.(map[string]any)
		require.True(t, ok, "%s of %v", name, path)
		value = fields[name]
	}
	return value
}

// build returns the output of `kustomize build`, as YAML and as objects by kind and name.
func build(t *testing.T) (text []byte, objects map[string]object) {
	t.Helper()
	found, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), dir)
	require.NoError(t, err)
	text, err = found.AsYaml()
	require.NoError(t, err)
	objects = make(map[string]object)
	for _, document := range strings.Split(string(text), "\n---\n") {
		var o object
		require.NoError(t, yaml.UnmarshalStrict([]byte(document), &o))
		name := o.at(t, "metadata", "name").(string)
		if o["kind"] == "ConfigMap" && name != "redis-config" {
			name = name[:strings.LastIndex(name, "-")] // the hash of the content
		}
		objects[o["kind"].(string)+" "+name] = o
	}
	return text, objects
}

func TestManifestsAreValid(t *testing.T) {
	text, _ := build(t)
	v := kubeconform(t)
	results := v.Validate("deploy", io.NopCloser(strings.NewReader(string(text))))
	require.Greater(t, len(results), 10)
	for _, r := range results {
		sig, _ := r.Resource.Signature()
		require.Equal(t, validator.Valid, r.Status, "%+v: %v %v", sig, r.Err, r.ValidationErrors)
	}
	for _, wrong := range [][2]string{
		{"replicas: 2", "replicas: two"}, {"minAvailable: 1", "minimum: 1"}, {"secretKeyRef:", "secretRef:"}, {"containerPort: 8080", "containerPort: http"},
		{"path: /metrics", "paths: /metrics"},
	} {
		require.Contains(t, string(text), wrong[0])
		bad := strings.Replace(string(text), wrong[0], wrong[1], 1)
		invalid := slices.ContainsFunc(v.Validate("deploy", io.NopCloser(strings.NewReader(bad))), func(r validator.Result) bool { return r.Status != validator.Valid })
		require.True(t, invalid, "%s is not noticed", wrong[1])
	}
}

// kubeconform validates with the schemas of Kubernetes that kustomize contains, and with
// one in testdata for the Prometheus operator. Unknown fields are errors.
func kubeconform(t *testing.T) validator.Validator {
	t.Helper()
	definitions := strict(t)
	schemas := t.TempDir()
	for name, definition := range definitions {
		kinds, _ := definition["x-kubernetes-group-version-kind"].([]any)
		for _, kind := range kinds {
			gvk := kind.(map[string]any)
			file := strings.ToLower(gvk["kind"].(string))
			if group, _, _ := strings.Cut(gvk["group"].(string), "."); group != "" {
				file += "-" + group
			}
			text, err := json.Marshal(map[string]any{"$ref": "#/definitions/" + name, "definitions": definitions})
			require.NoError(t, err)
			if slices.Contains([]string{"namespace", "configmap", "secret", "service", "statefulset-apps", "deployment-apps", "poddisruptionbudget-policy", "networkpolicy-networking"}, file) {
				require.NoError(t, os.WriteFile(filepath.Join(schemas, file+"-"+gvk["version"].(string)+".json"), text, 0o600))
			}
		}
	}
	own, err := filepath.Abs("testdata")
	require.NoError(t, err)
	v, err := validator.New([]string{
		schemas + "/{{ .ResourceKind }}{{ .KindSuffix }}.json", own + "/{{ .ResourceKind }}{{ .KindSuffix }}.json",
	}, validator.Opts{Strict: true})
	require.NoError(t, err)
	return v
}

// strict returns the definitions, changed to refuse unknown fields.
func strict(t *testing.T) (definitions map[string]map[string]any) {
	t.Helper()
	text, err := json.Marshal(openapi.Schema())
	require.NoError(t, err)
	var swagger struct{ Definitions map[string]map[string]any }
	require.NoError(t, json.Unmarshal(text, &swagger))
	require.Greater(t, len(swagger.Definitions), 500)
	for _, d := range swagger.Definitions {
		if d["properties"] != nil && d["additionalProperties"] == nil {
			d["additionalProperties"] = false
		}
		if d["format"] == "int-or-string" { // a format of Kubernetes' own
			d["type"] = []string{"integer", "string"}
		}
	}
	return swagger.Definitions
}

func TestManifestsRunTwoProbedNodesWithFewRights(t *testing.T) {
	_, objects := build(t)
	require.EqualValues(t, 2, objects["Deployment filewallball"].at(t, "spec", "replicas"))
	require.EqualValues(t, 1, objects["PodDisruptionBudget filewallball"].at(t, "spec", "minAvailable"))
	for _, name := range []string{"Deployment filewallball", "StatefulSet redis"} {
		pod := objects[name].at(t, "spec", "template", "spec").(map[string]any)
		require.Equal(t, false, pod["automountServiceAccountToken"], name)
		require.Equal(t, true, object(pod).at(t, "securityContext", "runAsNonRoot"), name)
		require.NotZero(t, object(pod).at(t, "securityContext", "runAsUser"), name)
		for _, c := range pod["containers"].([]any) {
			container := object(c.(map[string]any))
			require.NotContains(t, container["image"], ":latest")
			require.Contains(t, container["image"], ":", "a version")
			require.Equal(t, true, container.at(t, "securityContext", "readOnlyRootFilesystem"))
			require.Equal(t, false, container.at(t, "securityContext", "allowPrivilegeEscalation"))
			require.NotNil(t, container["livenessProbe"])
			require.NotNil(t, container["readinessProbe"])
			require.NotNil(t, container.at(t, "resources", "limits", "memory"))
		}
	}
	// TestNodeOfKubernetesWorks checks that the Caddyfile answers the probes
	for _, probe := range []string{"startupProbe", "livenessProbe", "readinessProbe"} {
		container := objects["Deployment filewallball"].at(t, "spec", "template", "spec", "containers").([]any)[0].(map[string]any)
		require.Equal(t, livePath, object(container).at(t, probe, "httpGet", "path"))
	}
}

// The policies close everything, and open the site, the status port to Prometheus, and
// Redis to the nodes and the application.
func TestManifestsCloseRedisAndTheAdminPort(t *testing.T) {
	_, objects := build(t)
	closed := objects["NetworkPolicy closed"].at(t, "spec").(map[string]any)
	require.Equal(t, map[string]any{"podSelector": map[string]any{}, "policyTypes": []any{"Ingress"}}, closed)
	open := make(map[float64]int) // how many peers a port has, 0 for everybody
	for name, o := range objects {
		if o["kind"] != "NetworkPolicy" || name == "NetworkPolicy closed" {
			continue
		}
		for _, rule := range o.at(t, "spec", "ingress").([]any) {
			from, _ := rule.(map[string]any)["from"].([]any)
			for _, port := range rule.(map[string]any)["ports"].([]any) {
				open[port.(map[string]any)["port"].(float64)] = len(from)
			}
		}
	}
	require.Equal(t, map[float64]int{6379: 2, 8080: 0, 9180: 1}, open)
}

// argo shows what Argo CD would make of objects, by Argo CD's own code: its health scripts and its comparison.
//
//	argo health DIRECTORY <objects     a line for each: KIND/NAME STATUS MESSAGE; DIRECTORY/KIND.lua goes before built-in scripts
//	argo diff [NAMESPACE] <manifests   what Argo CD would call OutOfSync in the cluster of KUBECONFIG; fails if there is anything
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/argoproj/argo-cd/gitops-engine/pkg/diff"
	"github.com/argoproj/argo-cd/v3/pkg/apis/application/v1alpha1"
	"github.com/argoproj/argo-cd/v3/util/lua"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/kube-openapi/pkg/util/proto"
)

// The manager of fields that Argo CD applies.
const manager = "argocd-controller"

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "argo:", err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	if len(arguments) == 0 {
		return errors.New("health or diff")
	}
	objects, err := read(os.Stdin)
	if err != nil {
		return err
	}
	switch command, rest := arguments[0], arguments[1:]; {
	case command == "health" && len(rest) == 1:
		return health(rest[0], objects)
	case command == "diff" && len(rest) <= 1:
		return compare(append(rest, "default")[0], objects)
	}
	return errors.New("health DIRECTORY or diff [NAMESPACE]")
}

// read takes YAML documents or JSON, lists as their items.
func read(from io.Reader) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured
	decoder := yaml.NewYAMLOrJSONDecoder(from, 4096)
	for {
		object := &unstructured.Unstructured{}
		if err := decoder.Decode(object); errors.Is(err, io.EOF) {
			return objects, nil
		} else if err != nil {
			return nil, err
		}
		if len(object.Object) == 0 {
			continue
		}
		if !object.IsList() {
			objects = append(objects, object)
			continue
		}
		list, err := object.ToList()
		if err != nil {
			return nil, err
		}
		for index := range list.Items {
			objects = append(objects, &list.Items[index])
		}
	}
}

func health(directory string, objects []*unstructured.Unstructured) error {
	for _, object := range objects {
		machine, kind := lua.VM{}, object.GroupVersionKind()
		text, err := os.ReadFile(filepath.Join(directory, kind.Kind+".lua"))
		if err == nil {
			key := kind.Group + "/" + kind.Kind
			machine.ResourceOverrides = map[string]v1alpha1.ResourceOverride{key: {HealthLua: string(text)}}
		} else if !errors.Is(err, os.ErrNotExist) {
			return err
		}
		script, libraries, err := machine.GetHealthScript(object)
		if err != nil {
			return err
		}
		machine.UseOpenLibs = libraries
		if script == "" {
			fmt.Printf("%s/%s none\n", kind.Kind, object.GetName())
			continue
		}
		status, err := machine.ExecuteHealthLua(object, script)
		if err != nil {
			return fmt.Errorf("%s/%s: %w", kind.Kind, object.GetName(), err)
		}
		fmt.Printf("%s/%s %s %s\n", kind.Kind, object.GetName(), status.Status, status.Message)
	}
	return nil
}

// cluster answers as the API server does.
type cluster struct {
	client    dynamic.Interface
	mapper    meta.RESTMapper
	parser    *managedfields.GvkParser
	namespace string // of what names none
}

func connect(namespace string) (*cluster, error) {
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		return nil, err
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	finder, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, err
	}
	document, err := finder.OpenAPISchema()
	if err != nil {
		return nil, err
	}
	models, err := proto.NewOpenAPIData(document)
	if err != nil {
		return nil, err
	}
	parser, err := managedfields.NewGVKParser(models, false)
	if err != nil {
		return nil, err
	}
	mapper := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(finder))
	return &cluster{client: client, mapper: mapper, parser: parser, namespace: namespace}, nil
}

func (c *cluster) at(object *unstructured.Unstructured) (dynamic.ResourceInterface, error) {
	kind := object.GroupVersionKind()
	mapping, err := c.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if err != nil {
		return nil, err
	}
	if mapping.Scope.Name() == meta.RESTScopeNameRoot {
		return c.client.Resource(mapping.Resource), nil
	}
	if object.GetNamespace() == "" {
		object.SetNamespace(c.namespace)
	}
	return c.client.Resource(mapping.Resource).Namespace(object.GetNamespace()), nil
}

// Run is Argo CD's question what the API server would make of an object: diff.ServerSideDryRunner.
func (c *cluster) Run(ctx context.Context, object *unstructured.Unstructured, manager string) (string, error) {
	resource, err := c.at(object)
	if err != nil {
		return "", err
	}
	options := metav1.ApplyOptions{DryRun: []string{metav1.DryRunAll}, FieldManager: manager, Force: true}
	predicted, err := resource.Apply(ctx, object.GetName(), object, options)
	if err != nil {
		return "", err
	}
	text, err := predicted.MarshalJSON()
	return string(text), err
}

func compare(namespace string, objects []*unstructured.Unstructured) error {
	cluster, err := connect(namespace)
	if err != nil {
		return err
	}
	differences := 0
	for _, wanted := range objects {
		for name, options := range map[string][]diff.Option{
			"client-side": nil,
			"server-side": {
				diff.WithServerSideDiff(true), diff.WithServerSideDryRunner(cluster),
				diff.WithGVKParser(cluster.parser), diff.WithManager(manager),
			},
		} {
			different, err := cluster.differs(wanted, options)
			if err != nil {
				return fmt.Errorf("%s/%s, %s: %w", wanted.GetKind(), wanted.GetName(), name, err)
			}
			if different != "" {
				differences++
				fmt.Printf("%s/%s is out of sync, %s:\n%s", wanted.GetKind(), wanted.GetName(), name, different)
			}
		}
	}
	if differences > 0 {
		return fmt.Errorf("%d differences", differences)
	}
	return nil
}

func (c *cluster) differs(wanted *unstructured.Unstructured, options []diff.Option) (string, error) {
	resource, err := c.at(wanted)
	if err != nil {
		return "", err
	}
	live, err := resource.Get(context.Background(), wanted.GetName(), metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	result, err := diff.Diff(wanted.DeepCopy(), live, options...)
	if err != nil || !result.Modified {
		return "", err
	}
	var text bytes.Buffer
	for prefix, state := range map[string][]byte{"- live: ": result.NormalizedLive, "+ wanted: ": result.PredictedLive} {
		text.WriteString(prefix)
		if err := json.Compact(&text, state); err != nil {
			return "", err
		}
		text.WriteByte('\n')
	}
	return text.String(), nil
}

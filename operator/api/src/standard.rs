//! Schemas of the Gateway API's standard channel v1.6.3, for the places where our kinds use its types.
//!
//! nothing → schemas with that channel's limits, patterns and CEL
//!
//! The derived schemas of the `gateway-api` crate have no limits, and the CRDs' own have defaults inside list items. So the
//! schemas stand here without defaults; CEL that relies on a default says what absence means instead.
//!
//! **Invariant:** apart from defaults, texts and that CEL, each schema equals the channel's (the tests compare them).
//!
//! It must not know our kinds.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

const HOSTNAME: &str = r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
const SUBDOMAIN: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
const GROUP: &str = r"^$|^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
const KIND: &str = "^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$";
const LABEL: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
const LABEL_VALUE: &str = "^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$";
const HEADER_NAME: &str = r"^[A-Za-z0-9!#$%&'*+\-.^_\x60|~]+$";
const DURATION: &str = "^([0-9]{1,5}(h|m|s|ms)){1,4}$";
const GATEWAY_GROUP: &str = "gateway.networking.k8s.io";

/// A Gateway API duration (GEP-2257).
pub(crate) fn duration(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "pattern": DURATION, "maxLength": 32})
}

/// A namespace's name.
pub(crate) fn namespace(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "minLength": 1, "maxLength": 63, "pattern": LABEL})
}

/// A DNS label, for entries of our own lists.
pub(crate) fn label_name(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "minLength": 1, "maxLength": 63, "pattern": LABEL})
}

/// An object's name.
pub(crate) fn object_name(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "minLength": 1, "maxLength": 253})
}

/// A domain without wildcard.
pub(crate) fn domain(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "minLength": 1, "maxLength": 253, "pattern": SUBDOMAIN})
}

/// The name of a listener or of a rule.
pub(crate) fn section_name(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "minLength": 1, "maxLength": 253, "pattern": SUBDOMAIN})
}

/// An API group.
pub(crate) fn group(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "maxLength": 253, "pattern": GROUP})
}

/// A kind.
pub(crate) fn kind(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "minLength": 1, "maxLength": 63, "pattern": KIND})
}

/// The Gateway API's group and no other.
pub(crate) fn gateway_group(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "enum": [GATEWAY_GROUP]})
}

/// GRPCRoute and no other kind.
pub(crate) fn grpcroute_kind(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "enum": ["GRPCRoute"]})
}

/// `hostnames` of a route. All-numeric last labels are refused, which no name has and every IPv4 address has.
pub(crate) fn hostnames(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array", "minItems": 1, "maxItems": 16, "x-kubernetes-list-type": "set",
        "items": {"type": "string", "minLength": 1, "maxLength": 253, "pattern": HOSTNAME},
        "x-kubernetes-validations": [rule(
            r"self.all(h, !h.matches('(^|\\.)[0-9]+$'))",
            "a hostname is an IP address: write the DNS name that clients call",
        )],
    })
}

/// A parent of a route: Gateway or ListenerSet.
pub(crate) fn parent_ref(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object", "required": ["name"],
        "properties": {
            "group": described(json!({"type": "string", "enum": [GATEWAY_GROUP]}), "API group. Default: gateway.networking.k8s.io."),
            "kind": described(json!({"type": "string", "enum": ["Gateway", "ListenerSet"]}), "Gateway or ListenerSet. Default: Gateway."),
            "name": described(name(), "Name of the Gateway or ListenerSet."),
            "namespace": described(namespace_name(), "Its namespace, whose listeners must allow routes of this one. Default: this namespace."),
            "port": described(port(), "Port of the listeners to attach to, 1 to 65535. Default: any."),
            "sectionName": described(section(), "Name of the listener to attach to. Default: any."),
        },
    })
}

/// The Gateway or ListenerSet above the target of a policy.
pub(crate) fn ancestor_ref(generator: &mut SchemaGenerator) -> Schema {
    parent_ref(generator)
}

/// `certificateRefs` of a listener.
pub(crate) fn certificate_refs(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array", "minItems": 1, "maxItems": 4, "x-kubernetes-list-type": "atomic",
        "items": {
            "type": "object", "required": ["name"],
            "properties": {
                "group": described(group_name(), "API group. Default: the core group (empty)."),
                "kind": described(kind_name(), "Kind. Default: Secret."),
                "name": described(name(), "Name of the Secret."),
                "namespace": described(namespace_name(), "Namespace of the Secret. Default: this namespace."),
            },
        },
    })
}

/// `allowedRoutes` of a listener.
pub(crate) fn allowed_routes(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "properties": {
            "kinds": {
                "type": "array", "maxItems": 8, "x-kubernetes-list-type": "atomic",
                "description": "Kinds of routes that may attach. Default: GRPCRoute.",
                "items": {
                    "type": "object", "required": ["kind"],
                    "properties": {
                        "group": described(group_name(), "API group. Default: gateway.networking.k8s.io."),
                        "kind": described(kind_name(), "Kind of route."),
                    },
                },
            },
            "namespaces": {
                "type": "object",
                "description": "Namespaces whose routes may attach.",
                "properties": {
                    "from": described(
                        json!({"type": "string", "enum": ["All", "Selector", "Same"]}),
                        "All namespaces, those that the selector matches, or the same one. Default: Same.",
                    ),
                    "selector": label_selector(),
                },
            },
        },
    })
}

fn label_selector() -> Value {
    json!({
        "type": "object", "x-kubernetes-map-type": "atomic",
        "description": "Labels of the namespaces, with from: Selector.",
        "properties": {
            "matchExpressions": {
                "type": "array", "x-kubernetes-list-type": "atomic",
                "description": "Requirements, all of which must hold.",
                "items": {
                    "type": "object", "required": ["key", "operator"],
                    "properties": {
                        "key": {"type": "string", "description": "Label key."},
                        "operator": {"type": "string", "description": "In, NotIn, Exists or DoesNotExist."},
                        "values": {
                            "type": "array", "x-kubernetes-list-type": "atomic", "items": {"type": "string"},
                            "description": "Values for In and NotIn.",
                        },
                    },
                },
            },
            "matchLabels": {
                "type": "object", "additionalProperties": {"type": "string"},
                "description": "Labels with their values, all of which must be there.",
            },
        },
    })
}

/// `infrastructure` of a Gateway.
pub(crate) fn infrastructure(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "properties": {
            "annotations": with_rules(annotations(), "Annotations, at most 16.", &key_rules("Annotation", "annotation")),
            "labels": with_rules(labels(8), "Labels, at most 8.", &key_rules("Label", "label")),
            "parametersRef": {
                "type": "object", "required": ["group", "kind", "name"],
                "description": "Parameters of the Gateway's controller.",
                "properties": {
                    "group": described(group_name(), "API group."),
                    "kind": described(kind_name(), "Kind."),
                    "name": described(name(), "Name."),
                },
            },
        },
    })
}

/// Labels for generated objects. Without keys by which tools find the objects that they own (and then prune).
pub(crate) fn generated_labels(_: &mut SchemaGenerator) -> Schema {
    let rules = [key_rules("Label", "label"), tracking_rules()].concat();
    as_schema(with_rules(labels(16), "", &rules))
}

/// Annotations for generated objects, under the same rule.
pub(crate) fn generated_annotations(_: &mut SchemaGenerator) -> Schema {
    let rules = [key_rules("Annotation", "annotation"), tracking_rules()].concat();
    as_schema(with_rules(annotations(), "", &rules))
}

fn tracking_rules() -> Vec<Value> {
    vec![rule(
        "!self.exists(key, key in ['app.kubernetes.io/instance', 'app.kubernetes.io/managed-by', \
         'kubectl.kubernetes.io/last-applied-configuration'] || key.startsWith('argocd.argoproj.io/') \
         || key.startsWith('kustomize.toolkit.fluxcd.io/') || key.startsWith('helm.toolkit.fluxcd.io/') \
         || key.startsWith('meta.helm.sh/') || key.startsWith('sluice.dev/'))",
        "a key by which Argo CD, Flux, Helm, kubectl or Sluice track objects is not allowed here, or they would prune what is generated: remove it",
    )]
}

fn key_rules(capital: &str, small: &str) -> Vec<Value> {
    vec![
        rule(
            r#"self.all(key, key.matches(r"""^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?([A-Za-z0-9][-A-Za-z0-9_.]{0,61})?[A-Za-z0-9]$"""))"#,
            &format!(
                "{capital} keys must be in the form of an optional DNS subdomain prefix followed by a required name segment of up to 63 characters."
            ),
        ),
        rule(
            r#"self.all(key, key.split("/")[0].size() < 253)"#,
            &format!(
                "If specified, the {small} key's prefix must be a DNS subdomain not longer than 253 characters in total."
            ),
        ),
    ]
}

fn labels(limit: u32) -> Value {
    json!({
        "type": "object", "maxProperties": limit,
        "additionalProperties": {"type": "string", "minLength": 0, "maxLength": 63, "pattern": LABEL_VALUE},
    })
}

fn annotations() -> Value {
    json!({
        "type": "object", "maxProperties": 16,
        "additionalProperties": {"type": "string", "minLength": 0, "maxLength": 4096},
    })
}

/// `matches` of a rule of a GRPCRoute.
pub(crate) fn matches(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array", "maxItems": 64, "x-kubernetes-list-type": "atomic",
        "items": {
            "type": "object",
            "description": "A match holds if its method and all of its headers do.",
            "properties": {"headers": header_matches(), "method": method_match()},
        },
    })
}

fn header_matches() -> Value {
    json!({
        "type": "array", "maxItems": 16,
        "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
        "description": "Headers of the call, at most 16, all of which must match. Default: any.",
        "items": {
            "type": "object", "required": ["name", "value"],
            "properties": {
                "name": described(header_name(), "Name of the header, in any case."),
                "type": match_type(),
                "value": described(header_value(), "The value, or an expression for it."),
            },
        },
    })
}

fn method_match() -> Value {
    json!({
        "type": "object",
        "description": "The gRPC service and method. Default: any.",
        "properties": {
            "type": match_type(),
            "service": {"type": "string", "maxLength": 1024, "description": "Full name of the service, such as echo.Echo. Default: any."},
            "method": {"type": "string", "maxLength": 1024, "description": "Name of the method. Default: any."},
        },
        "x-kubernetes-validations": [
            rule("has(self.service) || has(self.method)", "One or both of 'service' or 'method' must be specified"),
            rule(
                r#"(!has(self.type) || self.type == 'Exact') && has(self.service) ? self.service.matches(r"""^(?i)\.?[a-z_][a-z_0-9]*(\.[a-z_][a-z_0-9]*)*$"""): true"#,
                r"service must only contain valid characters (matching ^(?i)\.?[a-z_][a-z_0-9]*(\.[a-z_][a-z_0-9]*)*$)",
            ),
            rule(
                r#"(!has(self.type) || self.type == 'Exact') && has(self.method) ? self.method.matches(r"""^[A-Za-z_][A-Za-z_0-9]*$"""): true"#,
                "method must only contain valid characters (matching ^[A-Za-z_][A-Za-z_0-9]*$)",
            ),
        ],
    })
}

fn match_type() -> Value {
    json!({
        "type": "string", "enum": ["Exact", "RegularExpression"],
        "description": "Exact or RegularExpression (RE2, of the whole text). Default: Exact.",
    })
}

/// `filters` of a rule, or of a backend of a rule, of a GRPCRoute.
pub(crate) fn filters(_: &mut SchemaGenerator) -> Schema {
    let fields = ["requestHeaderModifier", "responseHeaderModifier", "requestMirror", "extensionRef"];
    let union_rules = fields.map(set_with_its_type).concat();
    json_schema!({
        "type": "array", "maxItems": 16, "x-kubernetes-list-type": "atomic",
        "items": {
            "type": "object", "required": ["type"],
            "properties": {
                "type": {
                    "type": "string", "enum": ["ResponseHeaderModifier", "RequestHeaderModifier", "RequestMirror", "ExtensionRef"],
                    "description": "Which of the other fields is set.",
                },
                "requestHeaderModifier": header_modifier("Changes headers of the call."),
                "responseHeaderModifier": header_modifier("Changes headers of the answer."),
                "requestMirror": request_mirror(),
                "extensionRef": {
                    "type": "object", "required": ["group", "kind", "name"],
                    "description": "A filter of the Gateway's controller.",
                    "properties": {
                        "group": described(group_name(), "API group."),
                        "kind": described(kind_name(), "Kind."),
                        "name": described(name(), "Name."),
                    },
                },
            },
            "x-kubernetes-validations": union_rules,
        },
        "x-kubernetes-validations": [once("RequestHeaderModifier"), once("ResponseHeaderModifier")],
    })
}

fn once(kind: &str) -> Value {
    rule(&format!("self.filter(f, f.type == '{kind}').size() <= 1"), &format!("{kind} filter cannot be repeated"))
}

/// A field of the filter union is set exactly with its own type, which is the field's name with a capital.
fn set_with_its_type(field: &str) -> [Value; 2] {
    let kind = format!("{}{}", field.get(..1).unwrap_or_default().to_uppercase(), field.get(1..).unwrap_or_default());
    [
        rule(
            &format!("!(has(self.{field}) && self.type != '{kind}')"),
            &format!("filter.{field} must be nil if the filter.type is not {kind}"),
        ),
        rule(
            &format!("!(!has(self.{field}) && self.type == '{kind}')"),
            &format!("filter.{field} must be specified for {kind} filter.type"),
        ),
    ]
}

fn header_modifier(text: &str) -> Value {
    json!({
        "type": "object", "description": text,
        "properties": {
            "add": headers("Headers to add to those that are there, at most 16."),
            "set": headers("Headers to put in place of those that are there, at most 16."),
            "remove": {
                "type": "array", "maxItems": 16, "x-kubernetes-list-type": "set", "items": {"type": "string"},
                "description": "Names of headers to remove, at most 16.",
            },
        },
    })
}

fn headers(text: &str) -> Value {
    json!({
        "type": "array", "maxItems": 16, "description": text,
        "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
        "items": {
            "type": "object", "required": ["name", "value"],
            "properties": {
                "name": described(header_name(), "Name of the header."),
                "value": described(header_value(), "Its value."),
            },
        },
    })
}

fn request_mirror() -> Value {
    json!({
        "type": "object", "required": ["backendRef"],
        "description": "Sends a copy of the call to another backend, whose answers are dropped.",
        "properties": {
            "backendRef": {
                "type": "object", "required": ["name"],
                "description": "The backend that gets the copy.",
                "properties": {
                    "group": described(group_name(), "API group. Default: the core group (empty)."),
                    "kind": described(kind_name(), "Kind. Default: Service."),
                    "name": described(name(), "Name."),
                    "namespace": described(namespace_name(), "Namespace. Default: this namespace."),
                    "port": described(port(), "Port of the Service, 1 to 65535."),
                },
                "x-kubernetes-validations": [rule(
                    "((!has(self.group) || size(self.group) == 0) && (!has(self.kind) || self.kind == 'Service')) ? has(self.port) : true",
                    "Must have port for Service reference",
                )],
            },
            "fraction": {
                "type": "object", "required": ["numerator"],
                "description": "Share of the calls that are copied, as a fraction. Default: all.",
                "properties": {
                    "numerator": {"type": "integer", "format": "int32", "minimum": 0, "description": "Above the line."},
                    "denominator": {"type": "integer", "format": "int32", "minimum": 1, "description": "Below the line. Default: 100."},
                },
                "x-kubernetes-validations": [rule(
                    "self.numerator <= (has(self.denominator) ? self.denominator : 100)",
                    "numerator must be less than or equal to denominator",
                )],
            },
            "percent": {
                "type": "integer", "format": "int32", "minimum": 0, "maximum": 100,
                "description": "Share of the calls that are copied, in percent. Default: 100.",
            },
        },
        "x-kubernetes-validations": [rule(
            "!(has(self.percent) && has(self.fraction))",
            "Only one of percent or fraction may be specified in HTTPRequestMirrorFilter",
        )],
    })
}

fn name() -> Value {
    json!({"type": "string", "minLength": 1, "maxLength": 253})
}

fn namespace_name() -> Value {
    json!({"type": "string", "minLength": 1, "maxLength": 63, "pattern": LABEL})
}

fn section() -> Value {
    json!({"type": "string", "minLength": 1, "maxLength": 253, "pattern": SUBDOMAIN})
}

fn group_name() -> Value {
    json!({"type": "string", "maxLength": 253, "pattern": GROUP})
}

fn kind_name() -> Value {
    json!({"type": "string", "minLength": 1, "maxLength": 63, "pattern": KIND})
}

fn port() -> Value {
    json!({"type": "integer", "format": "int32", "minimum": 1, "maximum": 65535})
}

fn header_name() -> Value {
    json!({"type": "string", "minLength": 1, "maxLength": 256, "pattern": HEADER_NAME})
}

fn header_value() -> Value {
    json!({"type": "string", "minLength": 1, "maxLength": 4096})
}

fn rule(rule: &str, message: &str) -> Value {
    json!({"rule": rule, "message": message})
}

fn described(mut schema: Value, text: &str) -> Value {
    if let Some(fields) = schema.as_object_mut() {
        fields.insert("description".to_owned(), text.into());
    }
    schema
}

fn with_rules(mut schema: Value, text: &str, rules: &[Value]) -> Value {
    if let Some(fields) = schema.as_object_mut() {
        fields.insert("x-kubernetes-validations".to_owned(), rules.into());
        if !text.is_empty() {
            fields.insert("description".to_owned(), text.into());
        }
    }
    schema
}

fn as_schema(schema: Value) -> Schema {
    schema.try_into().unwrap_or_default()
}

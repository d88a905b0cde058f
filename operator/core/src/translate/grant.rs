//! ReferenceGrants: who may refer into another namespace.
//!
//! a reference → whether it is permitted
//!
//! **Invariant:** a reference inside one namespace needs no grant; any other needs one in the namespace of its target.
//! **Invariant:** a grant that is removed revokes at once: the set of grants of the namespace is read each time.
//!
//! Knows nothing of what is done with the reference. Source: Gateway API, `ReferenceGrant` (`from` and `to` are each
//! ORed).

use crate::{
    key::{GATEWAY_GROUP, Kind, NsName, Ref, Text},
    world::{
        Reader,
        backend::{GrantFrom, GrantTo, ReferenceGrant},
    },
};

/// Whether objects of `from` in `namespace` may refer to `target`. O(grants in the target's namespace).
pub fn permits(from: Kind, namespace: &Text, target: &Ref, read: &Reader) -> bool {
    *namespace == target.key.namespace
        || read.grants(&target.key.namespace).iter().any(|grant| covers(grant, from, namespace, target))
}

fn covers(grant: &ReferenceGrant, from: Kind, namespace: &Text, target: &Ref) -> bool {
    grant.spec.from.iter().any(|entry| is_from(entry, from, namespace))
        && grant.spec.to.iter().any(|entry| is_to(entry, target))
}

fn is_from(entry: &GrantFrom, from: Kind, namespace: &Text) -> bool {
    &*entry.group == from.group() && &*entry.kind == from.name() && entry.namespace == *namespace
}

fn is_to(entry: &GrantTo, target: &Ref) -> bool {
    &*entry.group == target.kind.group()
        && &*entry.kind == target.kind.name()
        && entry.name.as_ref().is_none_or(|name| *name == target.key.name)
}

/// The object to write so that the reference is permitted, in one line of YAML: messages end with it.
pub fn remedy(from: Kind, namespace: &Text, target: &Ref) -> String {
    let NsName { namespace: target_namespace, name } = &target.key;
    format!(
        "create in namespace {target_namespace} a ReferenceGrant ({GATEWAY_GROUP}) with spec: {{from: [{{group: {}, \
         kind: {from}, \
         namespace: {namespace}}}], to: [{{group: \"{}\", kind: {}, name: {name}}}]}}",
        from.group(),
        target.kind.group(),
        target.kind,
    )
}

#[cfg(test)]
mod tests {
    use super::{permits, remedy};
    use crate::{
        key::{Kind, NsName, Ref},
        world::{Object, Reader, Settings, Surfaces, World},
    };
    use serde_json::{Value, json};

    fn world(grants: &[Value]) -> World {
        let mut world = World::new(Settings::default());
        for grant in grants {
            let object = Object::decode(Kind::ReferenceGrant, grant.clone()).unwrap();
            world.apply(object.into());
        }
        world
    }

    fn grant(namespace: &str, from: &Value, to: &Value) -> Value {
        json!({"metadata": {"namespace": namespace, "name": "grant"}, "spec": {"from": [from], "to": [to]}})
    }

    fn secret() -> Ref {
        Ref::new(Kind::Secret, NsName::new("certs", "web"))
    }

    fn allowed(world: &World) -> bool {
        permits(Kind::Gateway, &"infra".into(), &secret(), &Reader::new(world, &Surfaces::new()))
    }

    #[test]
    fn a_grant_permits_exactly_what_it_names() {
        let gateway = json!({"group": "gateway.networking.k8s.io", "kind": "Gateway", "namespace": "infra"});
        let any = json!({"group": "", "kind": "Secret"});
        let table = [
            ("of all Secrets", grant("certs", &gateway, &any), true),
            ("of this Secret", grant("certs", &gateway, &json!({"group": "", "kind": "Secret", "name": "web"})), true),
            (
                "of another Secret",
                grant("certs", &gateway, &json!({"group": "", "kind": "Secret", "name": "x"})),
                false,
            ),
            ("of another kind", grant("certs", &gateway, &json!({"group": "", "kind": "Service"})), false),
            ("of another group", grant("certs", &gateway, &json!({"group": "x", "kind": "Secret"})), false),
            ("in another namespace", grant("other", &gateway, &any), false),
            (
                "for another namespace",
                grant(
                    "certs",
                    &json!({"group": "gateway.networking.k8s.io", "kind": "Gateway", "namespace": "x"}),
                    &any,
                ),
                false,
            ),
            (
                "for another kind",
                grant(
                    "certs",
                    &json!({"group": "gateway.networking.k8s.io", "kind": "ListenerSet", "namespace": "infra"}),
                    &any,
                ),
                false,
            ),
            (
                "for another group",
                grant("certs", &json!({"group": "x", "kind": "Gateway", "namespace": "infra"}), &any),
                false,
            ),
        ];
        for (name, object, expected) in table {
            assert_eq!(allowed(&world(&[object])), expected, "a grant {name}");
        }
    }

    #[test]
    fn a_removed_grant_permits_nothing() {
        let from = json!({"group": "gateway.networking.k8s.io", "kind": "Gateway", "namespace": "infra"});
        let mut world = world(&[grant("certs", &from, &json!({"group": "", "kind": "Secret"}))]);
        assert!(allowed(&world));
        world.apply(crate::world::Change::Delete(Ref::new(Kind::ReferenceGrant, NsName::new("certs", "grant"))));
        assert!(!allowed(&world));
    }

    #[test]
    fn a_namespace_needs_no_grant_for_itself() {
        let world = world(&[]);
        assert!(permits(Kind::Gateway, &"certs".into(), &secret(), &Reader::new(&world, &Surfaces::new())));
    }

    #[test]
    fn the_remedy_is_the_object_to_write() {
        assert_eq!(
            remedy(Kind::Gateway, &"infra".into(), &secret()),
            "create in namespace certs a ReferenceGrant (gateway.networking.k8s.io) with spec: {from: [{group: \
             gateway.networking.k8s.io, kind: Gateway, namespace: infra}], to: [{group: \"\", kind: Secret, name: web}]}"
        );
    }
}

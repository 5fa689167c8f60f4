//! Manifests and packing.

use purlin_registry::{Manifest, ManifestError, PackError, layout, pack};

use crate::fixture::{artifact, manifest, module};

#[test]
fn packing_is_repeatable_and_the_manifest_is_read_back() {
    let wanted = manifest("tuner-random");
    let first = pack(&module(), &wanted).expect("pack");
    assert_eq!(first, pack(&module(), &wanted).expect("pack again"));
    assert_eq!(Manifest::from_component(&first).expect("read back"), wanted);
    assert_eq!(artifact("tuner-random").digest(), artifact("tuner-random").digest());
    assert!(matches!(pack(&first, &wanted), Err(PackError::AlreadyPacked)));
}

#[test]
fn a_manifest_that_does_not_fit_is_refused_by_field() {
    let mut wanted = manifest("tuner-random");
    wanted.capabilities.clear();
    let error = pack(&module(), &wanted).expect_err("must be refused").to_string();
    assert!(error.contains("capabilities: the component imports purlin:plugin/tuners@0.1.0"), "{error}");
}

#[test]
fn everything_wrong_is_said_at_once() {
    let text = r#"{"name": "Bad_Name", "version": "0.1.0", "wit": "9.0.0", "stages": ["tuner", "dialect"],
        "owns": [{"crd": {"apiVersion": "v1", "kind": "ConfigMap"}}], "children": [{"apiVersion": "a/b/c", "kind": "x"}]}"#;
    let Err(ManifestError::Invalid(errors)) = Manifest::from_json(text.as_bytes()) else {
        panic!("must be refused")
    };
    let fields: Vec<&str> = errors.iter().map(|error| error.field.as_str()).collect();
    for field in [
        "name",
        "wit",
        "algorithms",
        "owns[0].crd.apiVersion",
        "owns[0].crd.kind",
        "owns[0].crd.spec.group",
        "children[0].apiVersion",
        "children[0].kind",
    ] {
        assert!(fields.contains(&field), "{field} is not in {fields:?}");
    }
    let unknown =
        r#"{"name": "a", "version": "0.1.0", "wit": "0.1.0", "stages": ["tuner"], "algoritms": []}"#;
    assert!(matches!(Manifest::from_json(unknown.as_bytes()), Err(ManifestError::Json(_))));
}

#[test]
fn a_yaml_manifest_takes_its_crds_from_files() {
    let dir = tempfile::tempdir().expect("dir");
    std::fs::create_dir(dir.path().join("crds")).expect("crds");
    let crd = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: things.test.dev}\n\
        spec:\n  group: test.dev\n  scope: Namespaced\n  names: {kind: Thing, plural: things}\n  versions:\n\
        \x20 - {name: v1, served: true, storage: true}\n";
    std::fs::write(dir.path().join("crds/things.yaml"), crd).expect("write");
    let plugin =
        "name: dialect-test\nversion: 0.1.0\nwit: 0.1.0\nstages: [dialect]\nowns:\n- crd: crds/things.yaml\n";
    let path = dir.path().join("plugin.yaml");
    std::fs::write(&path, plugin).expect("write");
    let manifest = Manifest::from_yaml_file(&path).expect("manifest");
    assert_eq!(manifest.owns[0].kind_ref().api_version, "test.dev/v1");
    assert_eq!(manifest.owns[0].kind(), "Thing");
    std::fs::remove_file(dir.path().join("crds/things.yaml")).expect("remove");
    let error = Manifest::from_yaml_file(&path).expect_err("no file").to_string();
    assert!(error.contains("things.yaml"), "{error}");
}

#[test]
fn a_layout_is_read_back_and_damage_is_found() {
    let dir = tempfile::tempdir().expect("dir");
    let artifact = artifact("tuner-random");
    let named = vec![("purlin/tuner-random:0.1.0".to_owned(), artifact.clone())];
    layout::write(dir.path(), &named).expect("write");
    assert_eq!(layout::read(dir.path()).expect("read"), named);
    let blob = dir.path().join("blobs/sha256").join(artifact.component_digest().hex());
    let mut content = std::fs::read(&blob).expect("blob");
    content.truncate(content.len() - 1);
    std::fs::write(&blob, content).expect("truncate");
    let error = layout::read(dir.path()).expect_err("damaged").to_string();
    assert!(error.contains("damaged or altered"), "{error}");
}

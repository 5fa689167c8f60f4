//! What keeps a component from being loaded, and the code cache.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use purlin_registry::Manifest;
use purlin_sandbox::{Capability, Config, LoadError, Metrics, Sandbox};

use crate::fixture::{
    ECHO, IMPORT_SUGGEST, dialect, load, request, sandbox, sandbox_with, subject, sync_request, try_load,
    tuner,
};

const FORWARD: &str = "(call $suggest (local.get 0) (i32.const 1024)) (i32.const 1024))";

#[tokio::test]
async fn a_capability_that_was_not_granted_is_named() {
    let component = tuner("forward", IMPORT_SUGGEST, FORWARD);
    let error = try_load(&sandbox(), component.clone(), &[]).await.expect_err("must be refused");
    assert_eq!(
        error.to_string(),
        "the capability `call(tuner)` is needed and was not granted; add it to spec.grants \
         (asked for because: asks another tuner)"
    );
    try_load(&sandbox(), component, &[Capability::CallTuner]).await.expect("granted");
}

#[tokio::test]
async fn an_import_that_no_capability_gives_is_named() {
    // A component (not a module) that imports a way outside, with a manifest that does not mention it.
    let mut component =
        wat::parse_str(r#"(component (import "wasi:http/outgoing-handler@0.2.0" (instance)))"#)
            .expect("component");
    let manifest = Manifest::from_component(&tuner("t", "", "(i32.const 4096))")).expect("manifest");
    append_manifest(&mut component, &manifest);
    let error = try_load(&sandbox(), component, &[Capability::CallTuner]).await.expect_err("must be refused");
    assert!(
        matches!(&error, LoadError::UnknownImport { import } if import == "wasi:http/outgoing-handler@0.2.0"),
        "{error}"
    );
}

fn append_manifest(component: &mut Vec<u8>, manifest: &Manifest) {
    let text = manifest.to_json().expect("json");
    let name = purlin_registry::manifest::SECTION;
    let mut section = vec![u8::try_from(name.len()).expect("short")];
    section.extend_from_slice(name.as_bytes());
    section.extend_from_slice(text.as_bytes());
    component.push(0);
    let mut size = section.len();
    while size >= 0x80 {
        component.push((size & 0x7f) as u8 | 0x80);
        size >>= 7;
    }
    component.push(size as u8);
    component.extend(section);
}

#[tokio::test]
async fn another_version_of_the_contract_is_named() {
    let mut component =
        wat::parse_str(r#"(component (import "purlin:plugin/log@0.9.0" (instance)))"#).expect("wat");
    let manifest = Manifest::from_component(&tuner("t", "", "(i32.const 4096))")).expect("manifest");
    append_manifest(&mut component, &manifest);
    let error = try_load(&sandbox(), component, &[]).await.expect_err("must be refused");
    assert!(matches!(&error, LoadError::WrongVersion { .. }), "{error}");
}

#[tokio::test]
async fn altered_bytes_are_refused() {
    let mut wanted = request(dialect("echo", "", ECHO), &[]);
    wanted.digest = format!("sha256:{}", "0".repeat(64));
    let error = sandbox().load(wanted).await.expect_err("must be refused");
    assert!(matches!(error, LoadError::DigestMismatch { .. }), "{error}");
}

#[tokio::test]
async fn bytes_that_are_no_component_are_refused() {
    for (bytes, hint) in [
        (b"not wasm at all".to_vec(), "not a valid WebAssembly component"),
        (wat::parse_str("(module)").expect("module"), "core WebAssembly module"),
        (wat::parse_str("(component)").expect("component"), "no `purlin:manifest` section"),
        (vec![], "not a valid WebAssembly component"),
    ] {
        let error = try_load(&sandbox(), bytes, &[]).await.expect_err("must be refused");
        assert!(error.to_string().contains(hint), "{error}");
    }
}

#[tokio::test]
async fn a_manifest_that_names_another_stage_is_refused() {
    let mut wanted = request(dialect("echo", "", ECHO), &[]);
    wanted.manifest = Some(Manifest::from_component(&tuner("t", "", "(i32.const 4096))")).expect("manifest"));
    let error = sandbox().load(wanted).await.expect_err("must be refused");
    assert!(error.to_string().contains("does not export purlin:plugin/tuner@0.1.0"), "{error}");
}

#[tokio::test]
async fn a_component_over_the_size_limit_is_refused() {
    let sandbox = sandbox_with(Config { max_component: 100, ..Config::default() });
    let error = try_load(&sandbox, dialect("echo", "", ECHO), &[]).await.expect_err("must be refused");
    assert!(matches!(error, LoadError::TooLarge { limit: 100, .. }), "{error}");
}

#[tokio::test]
async fn compiled_code_is_kept_checked_and_made_again_when_damaged() {
    let dir = tempfile::tempdir().expect("dir");
    let cache = dir.path().join("code-cache");
    let lookups = async || {
        let mut registry = Default::default();
        let config = Config { cache_dir: Some(cache.clone()), ..Config::default() };
        let sandbox = Sandbox::new(config, Default::default(), Metrics::new(&mut registry)).expect("sandbox");
        let plugin = load(&sandbox, dialect("echo", "", ECHO)).await;
        plugin.sync(&subject(), sync_request(&plugin)).await.expect("echo");
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("encode");
        let result =
            text.lines().find_map(|line| line.strip_prefix("purlin_sandbox_code_cache_lookups_total"));
        result.expect("metric").to_owned()
    };
    assert_eq!(lookups().await, r#"{result="miss"} 1"#);
    assert_eq!(fs::metadata(&cache).expect("cache").permissions().mode() & 0o777, 0o700);
    assert_eq!(lookups().await, r#"{result="hit"} 1"#);

    let is_code = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "cwasm");
    let files = fs::read_dir(&cache).expect("list").map(|entry| entry.expect("entry").path());
    let file = files.into_iter().find(is_code).expect("one file");
    let mut code = fs::read(&file).expect("read");
    let middle = code.len() / 2;
    code[middle] ^= 1;
    fs::write(&file, &code).expect("damage");
    assert_eq!(lookups().await, r#"{result="corrupt"} 1"#);
    assert_eq!(lookups().await, r#"{result="hit"} 1"#);

    fs::write(&file, b"short").expect("truncate");
    assert_eq!(lookups().await, r#"{result="corrupt"} 1"#);

    // Functions that were compiled are found again where the component's code is not. The compiler's key of a function
    // is another now and then, so the store may grow by some.
    let functions = cache.join("functions.newer");
    let size = || fs::metadata(&functions).expect("functions").len();
    assert_eq!(fs::metadata(&functions).expect("functions").permissions().mode() & 0o777, 0o600);
    let before = size();
    assert!(before > 0);
    fs::remove_file(&file).expect("remove");
    assert_eq!(lookups().await, r#"{result="miss"} 1"#);
    assert!((before..before + before / 2).contains(&size()), "{before} and then {}", size());

    // Damaged, they are compiled again.
    fs::remove_file(&file).expect("remove");
    let damaged: Vec<u8> = fs::read(&functions).expect("read").iter().map(|byte| !byte).collect();
    fs::write(&functions, damaged).expect("damage");
    assert_eq!(lookups().await, r#"{result="miss"} 1"#);
    let again = size();
    assert!(again > 0);
    fs::remove_file(&file).expect("remove");
    assert_eq!(lookups().await, r#"{result="miss"} 1"#);
    assert!((again..again + again / 2).contains(&size()), "{again} and then {}", size());
}

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn rule(value: Value) -> Rule {
    Rule::deserialize(&value).expect("a rule")
}

/// `group/plural[/subresource] [name]`, for which a verb is asked.
fn resource<'a>(verb: &'a str, group: &'a str, of: (&'a str, &'a str), name: &'a str) -> Attributes<'a> {
    let (resource, subresource) = of;
    Attributes { verb, wanted: Wanted::Resource { group, resource, subresource, namespace: "n", name } }
}

#[test]
fn a_subresource_is_not_its_resource() {
    let pods = rule(json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}));
    let logs = rule(json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods/log"]}));
    let scales = rule(json!({"verbs": ["get"], "apiGroups": ["*"], "resources": ["*/scale"]}));
    let all = rule(json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}));
    for (of, allowed) in [
        (("pods", ""), [true, false, false, true]),
        (("pods", "log"), [false, true, false, true]),
        (("pods", "scale"), [false, false, true, true]),
        (("nodes", ""), [false, false, false, true]),
    ] {
        let found = [&pods, &logs, &scales, &all].map(|rule| rule.allows(&resource("get", "", of, "x")));
        assert_eq!(found, allowed, "{of:?}");
    }
    assert!(!pods.allows(&resource("list", "", ("pods", ""), "")));
    assert!(!pods.allows(&resource("get", "batch", ("pods", ""), "")));
}

#[test]
fn a_rule_with_names_is_about_these_alone() {
    let named = rule(json!({
        "verbs": ["get", "create"], "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["a", "b"],
    }));
    assert!(named.allows(&resource("get", "", ("secrets", ""), "b")));
    assert!(!named.allows(&resource("get", "", ("secrets", ""), "c")));
    // A create has no name in its path.
    assert!(!named.allows(&resource("create", "", ("secrets", ""), "")));
}

#[test]
fn paths_may_end_in_anything() {
    let paths = rule(json!({"verbs": ["get"], "nonResourceURLs": ["/healthz", "/apis/*"]}));
    let get = |path| paths.allows(&Attributes { verb: "get", wanted: Wanted::Path(path) });
    assert!(get("/healthz") && get("/apis/") && get("/apis/batch/v1"));
    assert!(!get("/healthz/etcd") && !get("/apis") && !get("/api"));
    assert!(!paths.allows(&resource("get", "", ("healthz", ""), "")));
}

#[test]
fn what_is_missing_is_said_in_few_rules() {
    let owned = rule(json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods", "pods/log"]}));
    let wanted = [
        rule(json!({"verbs": ["get", "list", "watch"], "apiGroups": ["", "batch"], "resources": ["pods"]})),
        rule(json!({"verbs": ["get"], "nonResourceURLs": ["/metrics"]})),
    ];
    let said: Vec<String> = missing(&[owned], &wanted).iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            r#"{APIGroups:[""], Resources:["pods"], Verbs:["list" "watch"]}"#,
            r#"{APIGroups:["batch"], Resources:["pods"], Verbs:["get" "list" "watch"]}"#,
            r#"{NonResourceURLs:["/metrics"], Verbs:["get"]}"#,
        ]
    );
}

fn some(words: &'static [&'static str]) -> impl Strategy<Value = Vec<String>> {
    proptest::sample::subsequence(words, 1..=words.len().min(3))
        .prop_map(|words| words.into_iter().map(str::to_owned).collect())
}

fn any_rule() -> impl Strategy<Value = Rule> {
    let names = prop_oneof![Just(Vec::new()), some(&["a", "b"])];
    let objects = (
        some(&["get", "list", "create", "*"]),
        some(&["", "batch", "*"]),
        some(&["pods", "pods/log", "jobs", "*/log", "*"]),
        names,
    )
        .prop_map(|(verbs, api_groups, resources, resource_names)| Rule {
            verbs,
            api_groups,
            resources,
            resource_names,
            paths: Vec::new(),
        });
    let paths = (some(&["get", "post", "*"]), some(&["/a", "/a/*", "/b", "*"]))
        .prop_map(|(verbs, paths)| Rule { verbs, paths, ..Rule::default() });
    prop_oneof![3 => objects, 1 => paths]
}

/// Requests of every kind that the rules above may tell apart.
fn requests() -> Vec<Attributes<'static>> {
    let mut all = Vec::new();
    for verb in ["get", "list", "create", "post", "delete"] {
        for group in ["", "batch", "apps"] {
            for of in [("pods", ""), ("pods", "log"), ("jobs", ""), ("jobs", "log"), ("jobs", "scale")] {
                for name in ["", "a", "b", "c"] {
                    all.push(resource(verb, group, of, name));
                }
            }
        }
        for path in ["/a", "/a/", "/a/x", "/b", "/c"] {
            all.push(Attributes { verb, wanted: Wanted::Path(path) });
        }
    }
    all
}

proptest! {
    /// The atoms of a rule allow what the rule does, no more and no less.
    #[test]
    fn a_rule_is_its_atoms(rule in any_rule()) {
        let atoms = rule.atoms();
        for asked in requests() {
            prop_assert_eq!(rule.allows(&asked), atoms.iter().any(|atom| atom.allows(&asked)), "{:?}", asked);
        }
    }

    /// Who is told that nothing is missing gives nothing that they do not have.
    #[test]
    fn nothing_can_be_given_that_is_not_held(
        owned in proptest::collection::vec(any_rule(), 0..4),
        wanted in proptest::collection::vec(any_rule(), 0..3),
    ) {
        let lacking = missing(&owned, &wanted);
        for asked in requests() {
            let given = wanted.iter().any(|rule| rule.allows(&asked));
            let held = owned.iter().any(|rule| rule.allows(&asked));
            let said = lacking.iter().any(|rule| rule.allows(&asked));
            prop_assert!(!given || held || said, "{:?}", asked);
        }
        prop_assert_eq!(missing(&wanted, &wanted), Vec::<Rule>::new());
        prop_assert_eq!(missing(&Rule::everything(), &wanted), Vec::<Rule>::new());
    }
}

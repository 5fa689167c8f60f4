use std::net::IpAddr;

use proptest::prelude::*;

use super::{Access, Capability, Method, Rights, Scheme, is_public};

fn parsed(text: &str) -> Capability {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

fn refused(text: &str) -> String {
    text.parse::<Capability>().expect_err(text).to_string()
}

fn rights(asked: &[&str], granted: &[&str]) -> Rights {
    let parse = |texts: &[&str]| texts.iter().map(|text| parsed(text)).collect::<Vec<_>>();
    Rights::of(&parse(asked), &parse(granted))
}

#[test]
fn each_form_is_read_and_written_alike() {
    for text in [
        "call(tuner)",
        "http(GET,POST api.example.com)",
        "http(* http://*.example.com:8080 in 10.0.0.0/8,fd00::/8)",
        "http(GET 10.1.2.3:8443)",
        "http(GET [fd00::1]:8443)",
        "http(* *)",
        "http(GET http://a.example:*)",
        "http(GET http://[::1]:* in ::/64)",
        "kube(write batch/Job)",
        "kube(read core/Pod in team-a,team-b)",
        "kube(write apps/*)",
        "pod-security(privileged)",
        "pod-security(privileged in team-a)",
        "secret(creds)",
        "secret(team-a/creds)",
        "kv",
        "blob",
        "events(com.example.done)",
        "events(com.example.*)",
        "events(*)",
        "nn(onnx on cpu)",
        "nn(* on cpu,gpu)",
    ] {
        assert_eq!(parsed(text).to_string(), text);
    }
    assert_eq!(parsed("http(POST,GET https://a.example:443)").to_string(), "http(GET,POST a.example)");
}

#[test]
fn what_is_no_capability_says_why() {
    for (text, why) in [
        ("call(dialect)", "cannot be called"),
        ("network", "the forms are"),
        ("kv(1)", "takes no argument"),
        ("http(GET)", "write http("),
        ("http(get a.example)", "no method"),
        ("http(GET ftp://a.example)", "no scheme"),
        ("http(GET A.example)", "no host"),
        ("http(GET a.example/path)", "no host"),
        ("http(GET user@a.example)", "no host"),
        ("http(GET 0x7f.1)", "no host"),
        ("http(GET 127.1)", "no host"),
        ("http(GET *.*.example)", "no host"),
        ("http(GET a.example:0)", "no port"),
        ("http(GET a.example:+80)", "no port"),
        ("http(GET a.example in 10.1.0.0/8)", "write 10.0.0.0/8"),
        ("http(GET a.example in all)", "no range"),
        ("kube(delete batch/Job)", "neither `read` nor `write`"),
        ("kube(write Job)", "write kube("),
        ("kube(write batch/job)", "no kind"),
        ("kube(write */*)", "no API group"),
        ("kube(write batch/Job in *)", "no name of a namespace"),
        ("kube(write purlin.dev/Plugin)", "plugins do not install plugins"),
        ("pod-security(restricted)", "no level"),
        ("secret(*)", "no name of a Secret"),
        ("secret(a/b/c)", "no name of a Secret"),
        ("events()", "no type"),
        ("events(com.*.done)", "no type"),
        ("nn(onnx)", "write nn("),
        ("nn(magic on cpu)", "no encoding"),
        ("kube(write batch/Job", "parenthesis"),
        ("kv\n", "printable"),
    ] {
        assert!(refused(text).contains(why), "{text}: {}", refused(text));
    }
    assert!(refused(&format!("secret({})", "a".repeat(2000))).contains("longer"));
}

#[test]
fn a_plugin_has_what_it_asked_for_and_was_granted() {
    let both = rights(
        &["kube(write batch/Job)", "http(GET,POST *.example.com)", "secret(a)", "kv"],
        &["kube(write batch/Job in team-a)", "http(GET,PUT api.example.com)", "secret(b)", "blob"],
    );
    let texts: Vec<_> = both.iter().map(ToString::to_string).collect();
    assert_eq!(texts, ["http(GET api.example.com)", "kube(write batch/Job in team-a)"]);
    assert!(both.kube(Access::Write, "batch", "Job", "team-a", false));
    assert!(!both.kube(Access::Write, "batch", "Job", "team-b", false));
    assert!(!both.kube(Access::Read, "batch", "Job", "team-a", false));
    assert!(!both.allow_interface("kv") && both.allow_interface("http"));
}

#[test]
fn a_pattern_over_kinds_covers_neither_foreign_nor_powerful_ones() {
    let all = rights(&["kube(write kubeflow.org/*)"], &["kube(write kubeflow.org/*)"]);
    assert!(all.kube(Access::Write, "kubeflow.org", "TFJob", "a", false));
    assert!(!all.kube(Access::Write, "kubeflow.org", "TFJob", "a", true));
    // Nor does it where the plugin names the kind: what was granted decides.
    let asked = "kube(write kubeflow.org/TFJob)";
    let some = rights(&[asked], &["kube(write kubeflow.org/*)"]);
    assert!(some.kube(Access::Write, "kubeflow.org", "TFJob", "a", false));
    assert!(!some.kube(Access::Write, "kubeflow.org", "TFJob", "a", true));
    let shown: Vec<_> = some.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["kube(write kubeflow.org/TFJob unless owned)"]);
    assert!(rights(&[asked], &[asked]).kube(Access::Write, "kubeflow.org", "TFJob", "a", true));
    assert!("kube(write kubeflow.org/* unless owned)".parse::<Capability>().is_err());
    let all =
        rights(&["kube(write rbac.authorization.k8s.io/*)"], &["kube(write rbac.authorization.k8s.io/*)"]);
    assert!(!all.kube(Access::Write, "rbac.authorization.k8s.io", "Role", "a", false));
    let named = "kube(write rbac.authorization.k8s.io/Role)";
    assert!(rights(&[named], &[named]).kube(Access::Write, "rbac.authorization.k8s.io", "Role", "a", false));
    let broad = "kube(write rbac.authorization.k8s.io/*)";
    assert_eq!(
        rights(&[named], &[broad]).iter().count(),
        0,
        "a broad grant must not stand for a powerful kind"
    );
}

#[test]
fn a_pattern_over_hosts_is_no_private_address_that_a_plugin_writes() {
    let asked = ["http(GET http://169.254.169.254)"];
    assert_eq!(rights(&asked, &["http(GET http://*)"]).iter().count(), 0);
    assert_eq!(rights(&["http(GET http://8.8.8.8)"], &["http(GET http://*)"]).iter().count(), 1);
    for granted in ["http(GET http://* in 169.254.0.0/16)", asked[0]] {
        assert_eq!(rights(&asked, &[granted]).iter().count(), 1, "{granted}");
    }
}

#[test]
fn secrets_are_found_where_they_were_granted() {
    let own = rights(&["secret(a)"], &["secret(a)"]);
    assert_eq!(own.secret("a", "team"), Some(("team".to_owned(), "a".to_owned())));
    assert_eq!(own.secret("a", ""), None, "no object, no namespace");
    for other in ["b", "other/a", "team/a", "../a", "a/", "A", "", "a)(b"] {
        assert_eq!(own.secret(other, "team"), None, "{other}");
    }
    let fixed = rights(&["secret(ops/a)"], &["secret(ops/a)"]);
    assert_eq!(fixed.secret("ops/a", "team"), Some(("ops".to_owned(), "a".to_owned())));
    assert_eq!(fixed.secret("a", "ops"), None);
}

#[test]
fn hosts_match_as_written() {
    let rights = rights(&["http(GET *.example.com)"], &["http(GET *.example.com)"]);
    let may = |host: &str| !rights.http(Method::Get, Scheme::Https, host, 443).is_empty();
    assert!(may("a.example.com") && may("a.b.example.com") && may("a.example.com."));
    for host in
        ["example.com", "badexample.com", "example.com.evil.org", "", ".example.com", "127.0.0.1", "::1"]
    {
        assert!(!may(host), "{host}");
    }
    assert!(rights.http(Method::Post, Scheme::Https, "a.example.com", 443).is_empty());
    assert!(rights.http(Method::Get, Scheme::Http, "a.example.com", 443).is_empty());
    assert!(rights.http(Method::Get, Scheme::Https, "a.example.com", 8443).is_empty());
}

#[test]
fn addresses_that_are_not_public_need_their_range() {
    for address in [
        "127.0.0.1",
        "127.255.255.254",
        "0.0.0.0",
        "10.0.0.1",
        "100.64.0.1",
        "169.254.169.254",
        "172.31.0.1",
        "192.168.1.1",
        "198.18.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "192.0.0.8",
        "::",
        "::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b:1::1",
        "2002:7f00:1::",
        "2001:0:1::1",
        "fc00::1",
        "fd00::1",
        "fe80::1",
        "fec0::1",
        "ff02::1",
        "2001:db8::1",
        "100::1",
    ] {
        assert!(!is_public(address.parse().unwrap()), "{address}");
    }
    for address in
        ["8.8.8.8", "172.32.0.1", "192.169.0.1", "2606:4700::1", "::ffff:8.8.8.8", "64:ff9b::808:808"]
    {
        assert!(is_public(address.parse().unwrap()), "{address}");
    }
    let grant = |text: &str| match parsed(text) {
        Capability::Http(grant) => grant,
        other => panic!("{other}"),
    };
    let address = |text: &str| text.parse::<IpAddr>().unwrap();
    assert!(!grant("http(GET a.example)").admits(address("10.0.0.1")));
    assert!(grant("http(GET a.example in 10.0.0.0/8)").admits(address("10.0.0.1")));
    assert!(grant("http(GET a.example in 10.0.0.0/8)").admits(address("::ffff:10.0.0.1")));
    assert!(!grant("http(GET a.example in 10.0.0.0/8)").admits(address("127.0.0.1")));
    assert!(grant("http(GET 10.0.0.1)").admits(address("10.0.0.1")), "the address itself was granted");
    assert!(!grant("http(GET 10.0.0.1)").admits(address("10.0.0.2")));
}

fn capability() -> impl Strategy<Value = Capability> {
    let text = prop_oneof![
        "http\\((GET|POST|GET,POST|\\*) (http://)?(\\*|a\\.x|b\\.x|\\*\\.x|\\*\\.a\\.x|10\\.0\\.0\\.1)(:80|:443|:\\*)?( in 10\\.0\\.0\\.0/(8|16))?\\)",
        "kube\\((read|write) (core|batch|purlin\\.dev)/(Job|Pod|Job unless owned|\\*)( in (a|b|a,b))?\\)",
        "pod-security\\(privileged( in (a|b|a,b))?\\)",
        "secret\\((a/)?(s|t)\\)",
        "kv|blob|call\\(tuner\\)",
        "events\\((\\*|a\\.\\*|a\\.b\\.\\*|a|a\\.b|a\\.b\\.c)\\)",
        "nn\\((\\*|onnx|onnx,ggml) on (\\*|cpu|cpu,gpu)\\)",
    ];
    text.prop_map(|text| parsed(&text))
}

/// Whether a capability allows each of many deeds.
fn deeds(capability: &Capability) -> Vec<bool> {
    let alone = Rights::of([capability], [capability]);
    let mut allowed = Vec::new();
    for method in [Method::Get, Method::Post] {
        for scheme in [Scheme::Http, Scheme::Https] {
            for host in ["a.x", "b.x", "c.a.x", "x", "10.0.0.1", "10.0.0.2"] {
                for port in [80, 443] {
                    let grants = alone.http(method, scheme, host, port);
                    for address in ["10.0.0.1", "10.1.0.1", "8.8.8.8"] {
                        allowed.push(grants.iter().any(|grant| grant.admits(address.parse().unwrap())));
                    }
                }
            }
        }
    }
    for access in [Access::Read, Access::Write] {
        for group in ["", "batch", "purlin.dev"] {
            for kind in ["Job", "Pod"] {
                for namespace in ["a", "b", "c", ""] {
                    for foreign in [false, true] {
                        allowed.push(alone.kube(access, group, kind, namespace, foreign));
                    }
                }
            }
        }
    }
    allowed.extend(["a", "b", "c"].map(|namespace| alone.privileged_pods(namespace)));
    allowed.extend(["s", "t", "a/s", "a/t"].map(|name| alone.secret(name, "a").is_some()));
    allowed.extend(["a", "a.b", "a.b.c", "b"].map(|kind| alone.event(kind)));
    for encoding in ["onnx", "ggml", "pytorch"] {
        allowed.extend(["cpu", "gpu"].map(|device| alone.nn(encoding, device)));
    }
    allowed.extend(["kv", "blobs", "tuners"].map(|interface| alone.allow_interface(interface)));
    allowed
}

proptest! {
    // Many, because what lets a plugin through is a rare pair: two were found after some thousands.
    #![proptest_config(ProptestConfig::with_cases(8_000))]

    #[test]
    fn any_text_is_a_capability_or_none(text in "\\PC{0,40}") {
        if let Ok(capability) = text.parse::<Capability>() {
            prop_assert_eq!(capability.to_string().parse::<Capability>().unwrap(), capability);
        }
    }

    #[test]
    fn what_is_written_is_read_back(capability in capability()) {
        prop_assert_eq!(parsed(&capability.to_string()), capability);
    }

    #[test]
    fn an_intersection_allows_nothing_that_either_does_not(a in capability(), b in capability()) {
        let allowed = match a.intersect(&b) {
            Some(both) => deeds(&both),
            None => vec![false; deeds(&a).len()],
        };
        for ((a, b), both) in deeds(&a).into_iter().zip(deeds(&b)).zip(allowed) {
            prop_assert!(!both || (a && b));
        }
    }

    #[test]
    fn an_intersection_does_not_depend_on_the_order(a in capability(), b in capability()) {
        prop_assert_eq!(a.intersect(&b), b.intersect(&a));
        prop_assert_eq!(a.intersect(&a), Some(a));
    }
}

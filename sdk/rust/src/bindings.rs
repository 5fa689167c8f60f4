//! What wit-bindgen makes of `wit/v0.1`: the one place with generated code and with `unsafe` in it.
//!
//! `tuner` and `dialect` are the two worlds; the second takes its shared interfaces from the first, so that a `Context`
//! or a `Fault` is the same type in both. Plugins use the names that the other modules re-export and the macros
//! [`export_tuner!`](crate::export_tuner) and [`export_dialect!`](crate::export_dialect), never this module.
#![allow(missing_docs, unreachable_pub, reason = "generated; the contract in wit/ carries the documentation")]

/// The world `tuner-plugin`, and the interfaces that both worlds share.
pub mod tuner {
    wit_bindgen::generate!({
        path: "../../wit/v0.1",
        world: "tuner-plugin",
        pub_export_macro: true,
        export_macro_name: "__export_tuner_world",
        additional_derives: [PartialEq],
        generate_all,
    });
}

/// The world `dialect-plugin`.
pub mod dialect {
    wit_bindgen::generate!({
        path: "../../wit/v0.1",
        world: "dialect-plugin",
        pub_export_macro: true,
        export_macro_name: "__export_dialect_world",
        additional_derives: [PartialEq],
        with: {
            "purlin:plugin/types@0.1.0": crate::bindings::tuner::purlin::plugin::types,
            "purlin:plugin/tuning@0.1.0": crate::bindings::tuner::purlin::plugin::tuning,
            "purlin:plugin/tuners@0.1.0": crate::bindings::tuner::purlin::plugin::tuners,
            "purlin:plugin/log@0.1.0": crate::bindings::tuner::purlin::plugin::log,
        },
    });
}

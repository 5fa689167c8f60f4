//! What wit-bindgen makes of `wit/v0.3`: the one place with generated code and with `unsafe` in it.
//!
//! `base` is what every plugin has: the capabilities and `lifecycle`. `tuner` and `dialect` add a stage each, and take the
//! shared interfaces from `base`, so that a `Context` or a `Fault` is one type. They are worlds of their own, because what
//! exports an interface can be generated once only. Plugins use the names that the other modules re-export and the macros
//! [`export_tuner!`](crate::export_tuner) and [`export_dialect!`](crate::export_dialect), never this module.
#![allow(missing_docs, unreachable_pub, reason = "generated; the contract in wit/ carries the documentation")]

/// What every plugin imports and exports.
pub mod base {
    wit_bindgen::generate!({
        path: "../../wit/v0.3",
        inline: "
            package purlin:sdk;

            world base {
                include purlin:plugin/capabilities@0.3.0;
                export purlin:plugin/lifecycle@0.3.0;
            }
        ",
        world: "purlin:sdk/base",
        pub_export_macro: true,
        export_macro_name: "__export_base_world",
        additional_derives: [PartialEq],
        generate_all,
    });
}

/// The stage of a tuner.
pub mod tuner {
    wit_bindgen::generate!({
        path: "../../wit/v0.3",
        inline: "
            package purlin:sdk;

            world tuner {
                export purlin:plugin/tuner@0.3.0;
            }
        ",
        world: "purlin:sdk/tuner",
        pub_export_macro: true,
        export_macro_name: "__export_tuner_world",
        additional_derives: [PartialEq],
        with: {
            "purlin:plugin/types@0.3.0": crate::bindings::base::purlin::plugin::types,
            "purlin:plugin/tuning@0.3.0": crate::bindings::base::purlin::plugin::tuning,
        },
    });
}

/// The stage of a dialect.
pub mod dialect {
    wit_bindgen::generate!({
        path: "../../wit/v0.3",
        inline: "
            package purlin:sdk;

            world dialect {
                export purlin:plugin/controller@0.3.0;
            }
        ",
        world: "purlin:sdk/dialect",
        pub_export_macro: true,
        export_macro_name: "__export_dialect_world",
        additional_derives: [PartialEq],
        with: {
            "purlin:plugin/types@0.3.0": crate::bindings::base::purlin::plugin::types,
        },
    });
}

/// What those who serve models import: tensors, inference, the files of their model, the model that they explain.
pub mod inference {
    wit_bindgen::generate!({
        path: "../../wit/v0.3",
        inline: "
            package purlin:sdk;

            world serving-imports {
                import purlin:plugin/tensors@0.3.0;
                import purlin:plugin/serving@0.3.0;
                import purlin:plugin/model-files@0.3.0;
                import purlin:plugin/predictor@0.3.0;
                import purlin:plugin/graphs@0.3.0;
                import purlin:plugin/language-models@0.3.0;
                import wasi:nn/graph@0.2.0-rc-2024-10-28;
                import wasi:nn/inference@0.2.0-rc-2024-10-28;
                import wasi:nn/tensor@0.2.0-rc-2024-10-28;
                import wasi:nn/errors@0.2.0-rc-2024-10-28;
            }
        ",
        world: "purlin:sdk/serving-imports",
        with: {
            "purlin:plugin/types@0.3.0": crate::bindings::base::purlin::plugin::types,
        },
        generate_all,
    });
}

/// The stage of a serving runtime.
pub mod serving_runtime {
    wit_bindgen::generate!({
        path: "../../wit/v0.3",
        inline: "
            package purlin:sdk;

            world serving-runtime {
                export purlin:plugin/serving-runtime@0.3.0;
            }
        ",
        world: "purlin:sdk/serving-runtime",
        pub_export_macro: true,
        export_macro_name: "__export_serving_runtime_world",
        with: {
            "purlin:plugin/types@0.3.0": crate::bindings::base::purlin::plugin::types,
            "purlin:plugin/tensors@0.3.0": crate::bindings::inference::purlin::plugin::tensors,
            "purlin:plugin/serving@0.3.0": crate::bindings::inference::purlin::plugin::serving,
        },
    });
}

/// The stage of an explainer.
pub mod explainer {
    wit_bindgen::generate!({
        path: "../../wit/v0.3",
        inline: "
            package purlin:sdk;

            world explainer {
                export purlin:plugin/explainer@0.3.0;
            }
        ",
        world: "purlin:sdk/explainer",
        pub_export_macro: true,
        export_macro_name: "__export_explainer_world",
        with: {
            "purlin:plugin/types@0.3.0": crate::bindings::base::purlin::plugin::types,
            "purlin:plugin/tensors@0.3.0": crate::bindings::inference::purlin::plugin::tensors,
            "purlin:plugin/serving@0.3.0": crate::bindings::inference::purlin::plugin::serving,
        },
    });
}

/// The stage of a monitor.
pub mod monitor {
    wit_bindgen::generate!({
        path: "../../wit/v0.3",
        inline: "
            package purlin:sdk;

            world monitor {
                export purlin:plugin/monitor@0.3.0;
            }
        ",
        world: "purlin:sdk/monitor",
        pub_export_macro: true,
        export_macro_name: "__export_monitor_world",
        with: {
            "purlin:plugin/types@0.3.0": crate::bindings::base::purlin::plugin::types,
            "purlin:plugin/tensors@0.3.0": crate::bindings::inference::purlin::plugin::tensors,
        },
    });
}

/// The stage of a transformer.
pub mod transformer {
    wit_bindgen::generate!({
        path: "../../wit/v0.3",
        inline: "
            package purlin:sdk;

            world transformer {
                export purlin:plugin/transformer@0.3.0;
            }
        ",
        world: "purlin:sdk/transformer",
        pub_export_macro: true,
        export_macro_name: "__export_transformer_world",
        with: {
            "purlin:plugin/types@0.3.0": crate::bindings::base::purlin::plugin::types,
            "purlin:plugin/tensors@0.3.0": crate::bindings::inference::purlin::plugin::tensors,
            "purlin:plugin/serving@0.3.0": crate::bindings::inference::purlin::plugin::serving,
        },
    });
}

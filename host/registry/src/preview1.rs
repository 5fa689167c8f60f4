//! WASI preview 1 for core modules whose compiler cannot do without it (Go's, above all), with no authority behind it.
//!
//! The functions that a module imports are given by a small module that the packer puts beside it, so that the component
//! imports nothing of WASI and runs in a sandbox that offers none:
//!
//! | What | Is |
//! |---|---|
//! | arguments, environment, open folders | none |
//! | clocks | one, which begins at 0, moves on by a millisecond each time it is read, and by what is slept |
//! | randomness | SplitMix64 from a fixed seed: it orders maps, and repeats in each call |
//! | standard output and error | lines in the plugin's log |
//! | all else | the error `nosys` |
//!
//! The usual adapter of the WebAssembly project cannot be used here: it asks the module for memory while the module
//! starts, which a Go program answers by starting, and so without end. This one keeps its state in two globals.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use wasmparser::{CompositeInnerType, Parser, Payload, TypeRef, ValType};

/// The name by which modules import preview 1.
pub(crate) const MODULE: &str = "wasi_snapshot_preview1";

/// The error number `nosys`: there is no such function.
const NOSYS: u32 = 52;

/// What is done for a module, beside answering `nosys`: parameters, results and body.
const FUNCTIONS: &[(&str, &str)] = &[
    ("args_get", "(param i32 i32) (result i32) (i32.const 0)"),
    ("args_sizes_get", "(param i32 i32) (result i32)
        (i32.store (local.get 0) (i32.const 0)) (i32.store (local.get 1) (i32.const 0)) (i32.const 0)"),
    ("environ_get", "(param i32 i32) (result i32) (i32.const 0)"),
    ("environ_sizes_get", "(param i32 i32) (result i32)
        (i32.store (local.get 0) (i32.const 0)) (i32.store (local.get 1) (i32.const 0)) (i32.const 0)"),
    ("clock_time_get", "(param i32 i64 i32) (result i32)
        (global.set $now (i64.add (global.get $now) (i64.const 1000000)))
        (i64.store (local.get 2) (global.get $now)) (i32.const 0)"),
    ("sched_yield", "(result i32) (i32.const 0)"),
    ("proc_exit", "(param i32) unreachable"),
    // One draw a byte: this is asked for some bytes at a time.
    ("random_get", "(param $at i32) (param $left i32) (result i32) (local $bits i64)
        (block $done (loop $next
            (br_if $done (i32.eqz (local.get $left)))
            (global.set $random (i64.add (global.get $random) (i64.const 0x9e3779b97f4a7c15)))
            (local.set $bits (global.get $random))
            (local.set $bits (i64.mul (i64.xor (local.get $bits) (i64.shr_u (local.get $bits) (i64.const 30)))
                (i64.const 0xbf58476d1ce4e5b9)))
            (local.set $bits (i64.mul (i64.xor (local.get $bits) (i64.shr_u (local.get $bits) (i64.const 27)))
                (i64.const 0x94d049bb133111eb)))
            (i64.store8 (local.get $at) (i64.xor (local.get $bits) (i64.shr_u (local.get $bits) (i64.const 31))))
            (local.set $at (i32.add (local.get $at) (i32.const 1)))
            (local.set $left (i32.sub (local.get $left) (i32.const 1)))
            (br $next)))
        (i32.const 0)"),
    // A sleep is over at once, and the clock says so. Anything else that is waited for is ready.
    ("poll_oneoff", "(param $in i32) (param $out i32) (param $left i32) (param $count i32) (result i32)
        (i32.store (local.get $count) (local.get $left))
        (block $done (loop $next
            (br_if $done (i32.eqz (local.get $left)))
            (i64.store (local.get $out) (i64.load (local.get $in)))
            (i64.store offset=8 (local.get $out) (i64.const 0))
            (i64.store offset=16 (local.get $out) (i64.const 0))
            (i64.store offset=24 (local.get $out) (i64.const 0))
            (i32.store8 offset=10 (local.get $out) (i32.load8_u offset=8 (local.get $in)))
            (if (i32.eqz (i32.load8_u offset=8 (local.get $in))) (then
                (if (i32.and (i32.load16_u offset=40 (local.get $in)) (i32.const 1))
                    (then (if (i64.gt_u (i64.load offset=24 (local.get $in)) (global.get $now))
                        (then (global.set $now (i64.load offset=24 (local.get $in))))))
                    (else (global.set $now (i64.add (global.get $now) (i64.load offset=24 (local.get $in))))))))
            (local.set $in (i32.add (local.get $in) (i32.const 48)))
            (local.set $out (i32.add (local.get $out) (i32.const 32)))
            (local.set $left (i32.sub (local.get $left) (i32.const 1)))
            (br $next)))
        (i32.const 0)"),
    // Standard output is `info`, standard error `warn`; a line end by itself is not written.
    ("fd_write", "(param $fd i32) (param $io i32) (param $left i32) (param $count i32) (result i32)
            (local $at i32) (local $length i32) (local $written i32)
        (if (i32.or (i32.lt_u (local.get $fd) (i32.const 1)) (i32.gt_u (local.get $fd) (i32.const 2)))
            (then (return (i32.const 8))))
        (block $done (loop $next
            (br_if $done (i32.eqz (local.get $left)))
            (local.set $at (i32.load (local.get $io)))
            (local.set $length (i32.load offset=4 (local.get $io)))
            (local.set $written (i32.add (local.get $written) (local.get $length)))
            (if (local.get $length) (then
                (if (i32.eq (i32.const 10) (i32.load8_u (i32.sub (i32.add (local.get $at) (local.get $length))
                        (i32.const 1))))
                    (then (local.set $length (i32.sub (local.get $length) (i32.const 1)))))))
            (if (local.get $length) (then
                (call $log (i32.add (local.get $fd) (i32.const 1)) (local.get $at) (local.get $length))))
            (local.set $io (i32.add (local.get $io) (i32.const 8)))
            (local.set $left (i32.sub (local.get $left) (i32.const 1)))
            (br $next)))
        (i32.store (local.get $count) (local.get $written))
        (i32.const 0)"),
    // Three character devices, which can only be written to.
    ("fd_fdstat_get", "(param $fd i32) (param $out i32) (result i32)
        (if (i32.gt_u (local.get $fd) (i32.const 2)) (then (return (i32.const 8))))
        (i64.store (local.get $out) (i64.const 2))
        (i64.store offset=8 (local.get $out) (i64.const 64))
        (i64.store offset=16 (local.get $out) (i64.const 0))
        (i32.const 0)"),
    ("fd_fdstat_set_flags", "(param i32 i32) (result i32) (i32.const 0)"),
    ("fd_close", "(param i32) (result i32) (i32.const 0)"),
    // `badf`: there is no folder, and none after it.
    ("fd_prestat_get", "(param i32 i32) (result i32) (i32.const 8)"),
];

/// The module that gives `module` what it imports of preview 1; `None` where it imports nothing of it.
pub(crate) fn adapter(module: &[u8], log: &str) -> Result<Option<Vec<u8>>, String> {
    let wanted = imports(module).map_err(|error| error.to_string())?;
    if wanted.is_empty() {
        return Ok(None);
    }
    let mut text = format!(
        "(module (import \"env\" \"memory\" (memory 0))\n(import \"{log}\" \"write\" (func $log (param i32 i32 i32)))\n\
         (global $now (mut i64) (i64.const 0))\n(global $random (mut i64) (i64.const 0x7075726c696e))\n"
    );
    for (name, signature) in wanted {
        let body = FUNCTIONS.iter().find(|(known, _)| *known == name).map(|(_, body)| *body);
        let unknown = format!("{signature} (i32.const {NOSYS})");
        let _ = writeln!(text, "(func (export \"{name}\") {})", body.unwrap_or(&unknown));
    }
    text.push(')');
    wat::parse_str(&text)
        .map(Some)
        .map_err(|error| format!("its imports of WASI are not as they should be: {error}"))
}

/// The functions of preview 1 that a module imports, each with its type as text.
fn imports(module: &[u8]) -> Result<BTreeSet<(String, String)>, wasmparser::BinaryReaderError> {
    let mut types = Vec::new();
    let mut found = BTreeSet::new();
    for payload in Parser::new(0).parse_all(module) {
        match payload? {
            Payload::TypeSection(section) => {
                for group in section {
                    for item in group?.into_types() {
                        types.push(match item.composite_type.inner {
                            CompositeInnerType::Func(function) => {
                                signature(function.params(), function.results())
                            }
                            _ => String::new(),
                        });
                    }
                }
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import?;
                    if let (MODULE, TypeRef::Func(index)) = (import.module, import.ty) {
                        let signature = types.get(index as usize).cloned().unwrap_or_default();
                        found.insert((import.name.to_owned(), signature));
                    }
                }
            }
            _ => {}
        }
    }
    Ok(found)
}

fn signature(params: &[ValType], results: &[ValType]) -> String {
    let mut text = String::new();
    for (word, list) in [("param", params), ("result", results)] {
        if !list.is_empty() {
            let list: Vec<String> = list.iter().map(ToString::to_string).collect();
            let _ = write!(text, "({word} {}) ", list.join(" "));
        }
    }
    text
}

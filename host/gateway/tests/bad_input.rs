//! What wrong, cut and hostile requests are answered with: one row each. What clients do over time is in `protection.rs`;
//! 10,000 idle connections are in `tests/serving/test_protocols.py`, because one process may not have both their ends.
#![allow(clippy::unwrap_used, reason = "for tests")]

mod common;

use std::time::Duration;

use common::{ROW, request, send, start};
use purlin_gateway::GatewayConfig;

const INFER: &str = "/v2/models/echo/infer";

/// A body for `infer` with one input.
fn input(datatype: &str, shape: &str, data: &str) -> String {
    format!(r#"{{"inputs":[{{"name":"x","datatype":"{datatype}","shape":{shape},"data":{data}}}]}}"#)
}

fn post(path: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    request("POST", path, &[], body.as_ref())
}

fn infer(body: impl AsRef<[u8]>) -> Vec<u8> {
    post(INFER, body)
}

fn x(datatype: &str, shape: &str, data: &str) -> Vec<u8> {
    infer(input(datatype, shape, data))
}

/// A body with binary data.
fn binary(length: &str, json: &str, data: &[u8]) -> Vec<u8> {
    let body = [json.as_bytes(), data].concat();
    request("POST", INFER, &[("Inference-Header-Content-Length", length)], &body)
}

fn binary_input(shape: &str, size: &str) -> String {
    format!(
        r#"{{"inputs":[{{"name":"x","datatype":"FP32","shape":{shape},"parameters":{{"binary_data_size":{size}}}}}]}}"#
    )
}

/// Two inputs for a model that adds INT64 by the names of `a` and `b`.
fn sum(name: &str, datatype: &str, length: usize) -> Vec<u8> {
    let ones = vec!["1"; length].join(",");
    post(
        "/v2/models/arithmetic/infer",
        format!(
            r#"{{"inputs":[{{"name":"a","datatype":"INT64","shape":[1],"data":[1]}},{{"name":"{name}","datatype":"{datatype}","shape":[{length}],"data":[{ones}]}}]}}"#
        ),
    )
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn with(name: &str, value: &str, body: &str) -> Vec<u8> {
    request("POST", INFER, &[(name, value)], body.as_bytes())
}

/// Name, bytes, status. 0 stands for a connection that is only closed.
fn rows() -> Vec<(&'static str, Vec<u8>, u16)> {
    let right = binary_input("[2]", "8");
    let length = right.len().to_string();
    let chat = "/openai/v1/chat/completions";
    let hello = r#"[{"role":"user","content":"hi"}]"#;
    let many: String =
        (0..1100).map(|n| format!(r#"{{"name":"x{n}","datatype":"BOOL","shape":[0],"data":[]}},"#)).collect();
    vec![
        // The head.
        ("no HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec(), 400),
        ("no such version of HTTP", b"GET /v2 HTTP/9.9\r\nhost: x\r\n\r\n".to_vec(), 400),
        ("a header without a colon", b"GET /v2 HTTP/1.1\r\nhost x\r\n\r\n".to_vec(), 400),
        ("a head beyond its limit", request("GET", "/v2", &[("x-long", &"a".repeat(100_000))], b""), 431),
        ("too many headers", request("GET", "/v2", &vec![("a", "b"); 200], b""), 431),
        (
            "two lengths",
            request("POST", INFER, &[("content-length", "5"), ("content-length", "6")], b"{}"),
            400,
        ),
        ("a length that is none", request("POST", INFER, &[("content-length", "x")], b"{}"), 400),
        ("a negative length", request("POST", INFER, &[("content-length", "-1")], b"{}"), 400),
        (
            "a length beyond 64 bits",
            request("POST", INFER, &[("content-length", "99999999999999999999")], b"{}"),
            400,
        ),
        (
            "a length beyond the limit",
            request("POST", INFER, &[("content-length", "9999999999")], b"{}"),
            413,
        ),
        ("a body beyond the limit", infer(vec![b' '; 70_000]), 413),
        (
            "chunks beyond the limit",
            {
                let chunk = format!("{:x}\r\n{}\r\n0\r\n\r\n", 70_000, " ".repeat(70_000));
                request("POST", INFER, &[("transfer-encoding", "chunked")], chunk.as_bytes())
            },
            413,
        ),
        ("a chunk of no number", request("POST", INFER, &[("transfer-encoding", "chunked")], b"zz\r\n"), 400),
        (
            "a length within the body",
            request("POST", INFER, &[("content-length", "40")], ROW.as_bytes()),
            400,
        ),
        (
            "chunks that do not end",
            request("POST", INFER, &[("transfer-encoding", "chunked")], b"2\r\n{}\r\n"),
            408,
        ),
        ("a head that does not end", b"GET /v2 HTTP/1.1\r\nhost: x\r\nx-slow: ".to_vec(), 0),
        ("a body that does not come", request("POST", INFER, &[("content-length", "100")], b"{"), 408),
        // The path and the method.
        ("no such path", post("/v3/models", "{}"), 404),
        ("the path of nothing", request("GET", "/", &[], b""), 404),
        ("no such model", post("/v2/models/nobody/infer", ROW), 404),
        ("a name with bad escapes", post("/v2/models/%zz/infer", ROW), 404),
        ("a name that goes up", post("/v2/models/..%2f..%2fetc/infer", ROW), 404),
        ("a name of 10,000 letters", post(&format!("/v2/models/{}/infer", "a".repeat(10_000)), ROW), 404),
        ("no such host", request("POST", "/serving/nobody/nothing/v2", &[], b"{}"), 404),
        ("a path of half a route", request("GET", "/serving/team", &[], b""), 404),
        ("no such tag", request("GET", "/serving/team/all@new/v2/models/echo", &[], b""), 404),
        ("GET of infer", request("GET", INFER, &[], b""), 405),
        ("POST of metadata", post("/v2/models/echo", "{}"), 405),
        ("DELETE of a model", request("DELETE", "/v2/models/echo", &[], b""), 405),
        ("PUT of health", request("PUT", "/v2/health/ready", &[], b""), 405),
        ("GET of chat", request("GET", chat, &[], b""), 405),
        // The type and the coding of the body.
        ("a form with parts", with("content-type", "multipart/form-data; boundary=x", ROW), 415),
        ("XML", with("content-type", "application/xml", ROW), 415),
        ("an unknown coding", with("content-encoding", "br", ROW), 415),
        ("gzip that is none", with("content-encoding", "gzip", ROW), 400),
        (
            "gzip that is cut",
            {
                let whole = gzip(ROW.as_bytes());
                request("POST", INFER, &[("content-encoding", "gzip")], &whole[..whole.len() / 2])
            },
            400,
        ),
        (
            "gzip of zeros beyond the limit",
            request("POST", INFER, &[("content-encoding", "gzip")], &gzip(&vec![b' '; 10_000_000])),
            413,
        ),
        // JSON.
        ("an empty body", infer(""), 400),
        ("no JSON", infer("hello"), 400),
        ("half of JSON", infer(&ROW[..40]), 400),
        ("more than JSON", infer(format!("{ROW}{ROW}")), 400),
        ("an array", infer("[]"), 400),
        ("no UTF-8", infer(b"{\"id\":\"\xff\"}"), 400),
        ("arrays without end", infer("[".repeat(60_000)), 400),
        ("objects without end", infer("{\"a\":".repeat(10_000)), 400),
        ("data nested without end", x("FP32", "[1]", &"[".repeat(30_000)), 400),
        ("NaN", x("FP32", "[1]", "[NaN]"), 400),
        ("Infinity", x("FP32", "[1]", "[Infinity]"), 400),
        ("minus Infinity", x("FP64", "[1]", "[-Infinity]"), 400),
        ("a number that is infinite as FP32", x("FP32", "[1]", "[1e39]"), 400),
        ("an id that is a number", infer(r#"{"id":1,"inputs":[]}"#), 400),
        // The inputs.
        ("no inputs", infer("{}"), 400),
        ("inputs that are an object", infer(r#"{"inputs":{}}"#), 400),
        ("too many inputs", infer(format!(r#"{{"inputs":[{}]}}"#, many.trim_end_matches(','))), 400),
        ("an input without name", infer(r#"{"inputs":[{"datatype":"FP32","shape":[1],"data":[1]}]}"#), 400),
        ("an input without datatype", infer(r#"{"inputs":[{"name":"x","shape":[1],"data":[1]}]}"#), 400),
        ("an input without shape", infer(r#"{"inputs":[{"name":"x","datatype":"FP32","data":[1]}]}"#), 400),
        ("an input without data", infer(r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1]}]}"#), 400),
        (
            "two inputs of one name",
            infer(
                r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1],"data":[1]},{"name":"x","datatype":"FP32","shape":[1],"data":[1]}]}"#,
            ),
            400,
        ),
        ("no such datatype", x("FLOAT", "[1]", "[1]"), 400),
        ("a datatype in small letters", x("fp32", "[1]", "[1]"), 400),
        ("a shape that is a number", x("FP32", "1", "[1]"), 400),
        ("a size of -2", x("FP32", "[-2]", "[1]"), 400),
        ("a size of 1.5", x("FP32", "[1.5]", "[1]"), 400),
        ("a size beyond 64 bits", x("FP32", "[99999999999999999999]", "[1]"), 400),
        ("two sizes of -1", x("FP32", "[-1,-1]", "[1]"), 400),
        ("-1 beside 0", x("FP32", "[-1,0]", "[1]"), 400),
        ("-1 that cannot be", x("FP32", "[-1,3]", "[1,2]"), 400),
        ("a product that overflows", x("FP32", "[9223372036854775807,9223372036854775807]", "[1]"), 400),
        ("a product that overflows to 0", x("FP32", "[4294967296,4294967296,4]", "[]"), 400),
        ("a huge shape of little data", x("FP32", "[1000000000]", "[1]"), 400),
        ("a shape of many dimensions", x("FP32", &format!("[{}1]", "1,".repeat(100)), "[1]"), 400),
        ("too few data", x("FP32", "[2]", "[1]"), 400),
        ("too many data", x("FP32", "[1]", "[1,2]"), 400),
        ("ragged data", x("FP32", "[3]", "[[1,2],[3]]"), 400),
        ("elements beside arrays", x("FP32", "[2]", "[1,[2]]"), 400),
        ("NaN as a text", x("FP32", "[1]", r#"["NaN"]"#), 400),
        ("null among the data", x("FP32", "[2]", "[1,null]"), 400),
        ("texts for numbers", x("FP32", "[1]", r#"["1"]"#), 400),
        ("numbers for texts", x("BYTES", "[1]", "[1]"), 400),
        ("a half for INT32", x("INT32", "[1]", "[0.5]"), 400),
        ("-1 for UINT8", x("UINT8", "[1]", "[-1]"), 400),
        ("256 for UINT8", x("UINT8", "[1]", "[256]"), 400),
        ("2 for BOOL", x("BOOL", "[1]", "[2]"), 400),
        ("70,000 for FP16", x("FP16", "[1]", "[70000]"), 400),
        ("an input that the model has not", sum("c", "INT64", 1), 400),
        ("an input of another datatype than the model's", sum("b", "FP32", 1), 400),
        ("an input of another shape than the model's", sum("b", "INT64", 2), 400),
        // The outputs.
        (
            "an output that the model has not",
            post(
                "/v2/models/arithmetic/infer",
                r#"{"inputs":[{"name":"a","datatype":"INT64","shape":[1],"data":[1]},{"name":"b","datatype":"INT64","shape":[1],"data":[1]}],"outputs":[{"name":"product"}]}"#,
            ),
            400,
        ),
        ("an output twice", infer(r#"{"inputs":[],"outputs":[{"name":"x"},{"name":"x"}]}"#), 400),
        ("an output without name", infer(r#"{"inputs":[],"outputs":[{}]}"#), 400),
        (
            "an output of classes",
            infer(r#"{"inputs":[],"outputs":[{"name":"x","parameters":{"classification":3}}]}"#),
            400,
        ),
        (
            "an output in shared memory",
            infer(r#"{"inputs":[],"outputs":[{"name":"x","parameters":{"shared_memory_region":"r"}}]}"#),
            400,
        ),
        ("a parameter that is an object", infer(r#"{"parameters":{"a":{}},"inputs":[]}"#), 400),
        (
            "an input in shared memory",
            infer(
                r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1],"parameters":{"shared_memory_region":"r"}}]}"#,
            ),
            400,
        ),
        // Binary data.
        ("a JSON length beyond the body", binary("100000", &right, &[0; 8]), 400),
        ("a JSON length that is none", binary("abc", &right, &[0; 8]), 400),
        ("a JSON length within the JSON", binary("20", &right, &[0; 8]), 400),
        ("binary data that are cut", binary(&length, &right, &[0; 7]), 400),
        ("binary data that are left over", binary(&length, &right, &[0; 9]), 400),
        (
            "binary data of another size",
            {
                let json = binary_input("[3]", "8");
                binary(&json.len().to_string(), &json, &[0; 8])
            },
            400,
        ),
        (
            "a negative size of binary data",
            {
                let json = binary_input("[2]", "-8");
                binary(&json.len().to_string(), &json, &[0; 8])
            },
            400,
        ),
        (
            "a size of binary data that is a text",
            {
                let json = binary_input("[2]", r#""8""#);
                binary(&json.len().to_string(), &json, &[0; 8])
            },
            400,
        ),
        (
            "binary texts that are cut",
            {
                let json = binary_input("[1]", "6").replace("FP32", "BYTES");
                binary(&json.len().to_string(), &json, &[9, 0, 0, 0, 65, 66])
            },
            400,
        ),
        ("binary NaN that are to come back as JSON", binary(&length, &right, &[0xff; 8]), 400),
        (
            "data and binary data",
            {
                let json = right.replace("\"shape\"", "\"data\":[1,2],\"shape\"");
                binary(&json.len().to_string(), &json, &[0; 8])
            },
            400,
        ),
        // V1.
        ("V1 without instances", post("/v1/models/echo:predict", "{}"), 400),
        ("V1 with ragged instances", post("/v1/models/echo:predict", r#"{"instances":[[1,2],[3]]}"#), 400),
        ("V1 with both forms", post("/v1/models/echo:predict", r#"{"instances":[[1]],"inputs":[[1]]}"#), 400),
        (
            "V1 with an unknown input",
            post("/v1/models/arithmetic:predict", r#"{"instances":[{"c":1}]}"#),
            400,
        ),
        ("V1 with NaN", post("/v1/models/echo:predict", r#"{"instances":[[NaN]]}"#), 400),
        ("V1 to a model of text", post("/v1/models/story:predict", r#"{"instances":["a"]}"#), 400),
        ("V1 with an unknown verb", post("/v1/models/echo:destroy", "{}"), 405),
        // Text.
        ("generate without text", post("/v2/models/story/generate", "{}"), 400),
        ("generate of a number", post("/v2/models/story/generate", r#"{"text_input":1}"#), 400),
        ("generate by a model without text", post("/v2/models/echo/generate", r#"{"text_input":"a"}"#), 400),
        (
            "max_tokens of -1",
            post("/v2/models/story/generate", r#"{"text_input":"a","parameters":{"max_tokens":-1}}"#),
            400,
        ),
        ("a model that cannot be loaded", post("/v2/models/broken/infer", ROW), 503),
        ("a model that fails", post("/v2/models/story/generate", r#"{"text_input":"fail"}"#), 500),
        // OpenAI's API.
        ("chat without messages", post(chat, r#"{"model":"story"}"#), 400),
        ("chat with no messages", post(chat, r#"{"model":"story","messages":[]}"#), 400),
        ("chat without model", post(chat, format!(r#"{{"messages":{hello}}}"#)), 400),
        ("chat of an unknown model", post(chat, format!(r#"{{"model":"x","messages":{hello}}}"#)), 404),
        (
            "chat with a model without text",
            post(chat, format!(r#"{{"model":"echo","messages":{hello}}}"#)),
            400,
        ),
        (
            "completions by a model without text",
            post("/v1/completions", r#"{"model":"echo","prompt":"a"}"#),
            400,
        ),
        ("two answers", post(chat, format!(r#"{{"model":"story","messages":{hello},"n":2}}"#)), 400),
        ("tools", post(chat, format!(r#"{{"model":"story","messages":{hello},"tools":[{{}}]}}"#)), 400),
        (
            "a temperature of 3",
            post(chat, format!(r#"{{"model":"story","messages":{hello},"temperature":3}}"#)),
            400,
        ),
        (
            "one of two max_tokens of 0",
            post(
                chat,
                format!(r#"{{"model":"story","messages":{hello},"max_completion_tokens":1,"max_tokens":0}}"#),
            ),
            400,
        ),
        ("a message without role", post(chat, r#"{"model":"story","messages":[{"content":"a"}]}"#), 400),
        (
            "a message with an image",
            post(
                chat,
                r#"{"model":"story","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"x"}}]}]}"#,
            ),
            400,
        ),
        ("a prompt of tokens", post("/v1/completions", r#"{"model":"story","prompt":[1,2]}"#), 400),
        ("embeddings of nothing", post("/v1/embeddings", r#"{"model":"vectors","input":[]}"#), 400),
        (
            "embeddings in another form",
            post("/v1/embeddings", r#"{"model":"vectors","input":"a","encoding_format":"hex"}"#),
            400,
        ),
        ("embeddings of a model without", post("/v1/embeddings", r#"{"model":"echo","input":"a"}"#), 400),
        // The repository.
        ("loading, where clients may not", post("/v2/repository/models/echo/load", "{}"), 400),
        ("unloading, where clients may not", post("/v2/repository/models/echo/unload", "{}"), 400),
        ("an index of no JSON", post("/v2/repository/index", "x"), 400),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_bad_request_is_told_what_is_wrong_with_it() {
    let config = GatewayConfig {
        max_body: 64 << 10,
        header_timeout: Duration::from_millis(500),
        body_timeout: Duration::from_millis(500),
        ..GatewayConfig::default()
    };
    let running = start(config, &common::usual()).await;
    let rows = rows();
    assert!(rows.len() >= 60);
    let mut wrong = Vec::new();
    for (name, bytes, status) in rows {
        let reply = send(running.address, &bytes).await;
        let found = reply.as_ref().map_or(0, |reply| reply.status);
        if found != status {
            let text = reply.as_ref().map(|reply| reply.text());
            wrong.push(format!("{name}: {found} instead of {status}: {text:?}"));
            continue;
        }
        // What hyper refuses by itself has no body.
        let Some(reply) = reply.filter(|reply| !reply.body.is_empty()) else { continue };
        let error = reply.json()["error"].clone();
        let message = error.as_str().or_else(|| error["message"].as_str()).unwrap_or_default();
        if message.len() < 5 {
            wrong.push(format!("{name}: says nothing: {}", reply.text()));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    // It is still as well as it was.
    assert_eq!(running.post(INFER, ROW).await.status, 200);
}

//! Each protocol, as its clients speak it.
#![allow(clippy::unwrap_used, reason = "for tests")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::models::{Entry, Story};
use common::{ROW, start_usual};
use serde_json::{Value, json};

#[tokio::test]
async fn the_server_says_what_it_is() {
    let running = start_usual().await;
    assert_eq!(running.get("/v2/health/live").await.json(), json!({"live": true}));
    assert_eq!(running.get("/v2/health/ready").await.json(), json!({"ready": true}));
    let server = running.get("/v2").await.json();
    assert_eq!(server["name"], "purlin");
    assert!(server["extensions"].as_array().unwrap().contains(&json!("binary_tensor_data")));
}

#[tokio::test]
async fn models_say_what_they_take_and_whether_they_can_answer() {
    let running = start_usual().await;
    let metadata = running.get("/v2/models/arithmetic").await.json();
    assert_eq!(metadata["inputs"][1], json!({"name": "b", "datatype": "INT64", "shape": [-1]}));
    assert_eq!(running.get("/v2/models/echo/ready").await.json(), json!({"name": "echo", "ready": true}));
    let broken = running.get("/v2/models/broken/ready").await;
    assert_eq!((broken.status, broken.json()["ready"].clone()), (503, json!(false)));
    let index = running.post("/v2/repository/index", "").await.json();
    let broken = index.as_array().unwrap().iter().find(|model| model["name"] == "broken").unwrap();
    assert_eq!(
        (&broken["state"], &broken["reason"]),
        (&json!("UNAVAILABLE"), &json!("the file is no model"))
    );
    let ready = running.post("/v2/repository/index", r#"{"ready":true}"#).await.json();
    assert_eq!(ready.as_array().unwrap().len(), 4);
    assert!(running.get("/v2/models").await.json()["models"].as_array().unwrap().contains(&json!("echo")));
}

#[tokio::test]
async fn tensors_come_back_as_they_were_sent() {
    let running = start_usual().await;
    let reply = running.post("/v2/models/echo/infer", ROW).await;
    let expected =
        json!({"name": "input", "datatype": "FP32", "shape": [1, 4], "data": [1.0, 2.0, 3.0, 4.0]});
    assert_eq!(reply.json(), json!({"model_name": "echo", "outputs": [expected]}));
    assert_eq!(reply.header("content-type"), Some("application/json"));
    // A request for text, as KServe's documentation has it.
    let text = r#"{"id":"42","inputs":[{"name":"input0","shape":[-1],"datatype":"BYTES","data":["Where is Eiffel Tower?"]}]}"#;
    let reply = running.post("/v2/models/echo/infer", text).await.json();
    assert_eq!((&reply["id"], &reply["outputs"][0]["shape"]), (&json!("42"), &json!([1])));
    assert_eq!(reply["outputs"][0]["data"], json!(["Where is Eiffel Tower?"]));
    let reply = running.post("/v2/models/story/generate", text).await.json();
    assert_eq!(reply["outputs"][0]["data"], json!(["Tower? Eiffel is Where "]));
    // The same by a model that nobody has asked yet.
    let asleep = Entry::Sleeping(Arc::new(Story::new(Duration::ZERO)), Duration::from_millis(10));
    running.shelf.put("story", asleep);
    let reply = running.post("/v2/models/story/infer", text).await.json();
    assert_eq!(reply["outputs"][0]["data"], json!(["Tower? Eiffel is Where "]));
    // Members in another order than most clients send them.
    let late = r#"{"inputs":[{"data":[[1,2],[3,4]],"shape":[2,-1],"name":"x","datatype":"INT8"}]}"#;
    let reply = running.post("/v2/models/echo/infer", late).await.json();
    assert_eq!(reply["outputs"][0]["shape"], json!([2, 2]));
}

#[tokio::test]
async fn binary_data_go_in_and_out() {
    let running = start_usual().await;
    let json = r#"{"parameters":{"binary_data_output":true},"inputs":[{"name":"x","datatype":"FP32","shape":[-1],"parameters":{"binary_data_size":8}},{"name":"y","datatype":"BYTES","shape":[2],"parameters":{"binary_data_size":10}}],"outputs":[{"name":"y"},{"name":"x","parameters":{"binary_data":false}}]}"#;
    let floats: Vec<u8> = [1.5_f32, -2.0].iter().flat_map(|value| value.to_le_bytes()).collect();
    let body = [json.as_bytes(), &floats, &[1, 0, 0, 0, b'a', 1, 0, 0, 0, b'b']].concat();
    let length = json.len().to_string();
    let headers =
        [("Inference-Header-Content-Length", length.as_str()), ("content-type", "application/octet-stream")];
    let reply = running.post_with("/v2/models/echo/infer", &headers, &body).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.header("content-type"), Some("application/octet-stream"));
    let length: usize = reply.header("inference-header-content-length").unwrap().parse().unwrap();
    let head: Value = serde_json::from_slice(&reply.body[..length]).unwrap();
    assert_eq!(head["outputs"][0]["parameters"], json!({"binary_data_size": 10}));
    assert_eq!(head["outputs"][1]["data"], json!([1.5, -2.0]));
    assert_eq!(&reply.body[length..], [1, 0, 0, 0, b'a', 1, 0, 0, 0, b'b']);
}

#[tokio::test]
async fn only_the_outputs_that_were_asked_for_come_back() {
    let running = start_usual().await;
    let body = r#"{"inputs":[{"name":"a","datatype":"INT64","shape":[2],"data":[5,6]},{"name":"b","datatype":"INT64","shape":[2],"data":[1,1]}],"outputs":[{"name":"difference"}]}"#;
    let reply = running.post("/v2/models/arithmetic/infer", body).await.json();
    assert_eq!(reply["outputs"].as_array().unwrap().len(), 1);
    assert_eq!(reply["outputs"][0]["data"], json!([4, 5]));
}

#[tokio::test]
async fn v1_predicts_and_explains() {
    let running = start_usual().await;
    let reply = running.post("/v1/models/echo:predict", r#"{"instances":[[1,2,3,4],[5,6,7,8]]}"#).await;
    assert_eq!(reply.json(), json!({"predictions": [[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]]}));
    let rows = r#"{"instances":[{"a":3,"b":1},{"a":5,"b":2}]}"#;
    let reply = running.post("/v1/models/arithmetic:predict", rows).await;
    let expected = json!([{"sum": 4, "difference": 2}, {"sum": 7, "difference": 3}]);
    assert_eq!(reply.json(), json!({"predictions": expected}));
    let columns = r#"{"inputs":{"a":[3],"b":[1]}}"#;
    let reply = running.post("/v1/models/arithmetic:predict", columns).await;
    assert_eq!(reply.json(), json!({"predictions": {"sum": [4], "difference": [2]}}));
    let reply = running.post("/v1/models/echo:explain", r#"{"instances":[[1,2,3,4]]}"#).await;
    assert_eq!(reply.json(), json!({"explanations": [[1.0, 2.0, 3.0, 4.0]]}));
    let model = running.get("/v1/models/echo").await.json();
    assert_eq!(
        (&model["name"], &model["ready"], &model["object"]),
        (&json!("echo"), &json!(true), &json!("model"))
    );
    let list = running.get("/v1/models").await.json();
    assert!(list["models"].as_array().unwrap().contains(&json!("echo")));
    assert_eq!(list["object"], "list");
}

#[tokio::test]
async fn text_is_generated_whole_or_in_pieces() {
    let running = start_usual().await;
    let body = r#"{"text_input":"one two three","parameters":{"max_tokens":2}}"#;
    let reply = running.post("/v2/models/story/generate", body).await;
    assert_eq!(reply.json(), json!({"model_name": "story", "text_output": "three two "}));
    let reply = running.post("/v2/models/story/generate_stream", body).await;
    assert_eq!(reply.header("content-type"), Some("text/event-stream; charset=utf-8"));
    let events: Vec<Value> =
        events(&reply.text()).iter().map(|event| serde_json::from_str(event).unwrap()).collect();
    assert_eq!(events[0], json!({"model_name": "story", "text_output": "three ", "done": false}));
    assert_eq!(events[1], json!({"model_name": "story", "text_output": "two ", "done": true}));
    // An error before the first piece has a status, a later one is an event.
    let reply = running.post("/v2/models/story/generate_stream", r#"{"text_input":"fail"}"#).await;
    assert_eq!((reply.status, reply.json()), (500, json!({"error": "the model failed"})));
    let reply = running.post("/v2/models/story/generate_stream", r#"{"text_input":"break one"}"#).await;
    assert!(
        reply.status == 200 && reply.text().contains(r#"{"error":"the model broke"}"#),
        "{}",
        reply.text()
    );
}

fn events(text: &str) -> Vec<String> {
    text.split("\n\n").filter_map(|event| event.strip_prefix("data: ")).map(str::to_owned).collect()
}

#[tokio::test]
async fn chat_is_answered_whole_or_in_pieces() {
    let running = start_usual().await;
    let body = json!({"model": "story", "messages": [{"role": "system", "content": "x"}, {"role": "user", "content": [{"type": "text", "text": "one two"}]}]});
    for path in ["/openai/v1/chat/completions", "/v1/chat/completions"] {
        let reply = running.post(path, &body.to_string()).await.json();
        let choice = &reply["choices"][0];
        assert_eq!(choice["message"], json!({"role": "assistant", "content": "two one "}));
        assert_eq!(choice["finish_reason"], "stop");
        assert_eq!(reply["usage"], json!({"prompt_tokens": 2, "completion_tokens": 2, "total_tokens": 4}));
    }
    let mut streamed = body.clone();
    streamed["stream"] = true.into();
    streamed["stream_options"] = json!({"include_usage": true});
    let reply = running.post("/v1/chat/completions", &streamed.to_string()).await;
    let events = events(&reply.text());
    assert_eq!(events.last().unwrap(), "[DONE]");
    let values: Vec<Value> =
        events[..events.len() - 1].iter().map(|event| serde_json::from_str(event).unwrap()).collect();
    assert_eq!(values[0]["choices"][0]["delta"]["role"], "assistant");
    assert_eq!(values[0]["object"], "chat.completion.chunk");
    let text: String =
        values.iter().filter_map(|value| value["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(text, "two one ");
    assert_eq!(values.last().unwrap()["usage"]["total_tokens"], 4);
    assert_eq!(values[values.len() - 2]["choices"][0]["finish_reason"], "stop");
    let refused = running.post("/v1/chat/completions", r#"{"model":"nobody"}"#).await;
    assert_eq!(refused.json()["error"]["type"], "not_found_error");
    // A model that goes on with texts and has no form for conversations.
    let mut plain = Story::new(Duration::ZERO);
    plain.metadata.tasks.chat = false;
    running.shelf.put("story", Entry::Ready(Arc::new(plain)));
    let refused = running.post("/v1/chat/completions", &body.to_string()).await;
    assert_eq!((refused.status, &refused.json()["error"]["type"]), (400, &json!("invalid_request_error")));
    let completion = running.post("/v1/completions", r#"{"model":"story","prompt":"a"}"#).await;
    assert_eq!(completion.status, 200);
}

#[tokio::test]
async fn completions_and_embeddings_are_answered() {
    let running = start_usual().await;
    let reply = running
        .post("/v1/completions", r#"{"model":"story","prompt":["a b","c"],"logprobs":1}"#)
        .await
        .json();
    assert_eq!(reply["choices"][0]["text"], "b a ");
    assert_eq!(reply["choices"][1]["text"], "c ");
    assert_eq!(reply["choices"][0]["logprobs"]["text_offset"], json!([0, 2]));
    let reply =
        running.post("/openai/v1/embeddings", r#"{"model":"vectors","input":["hello","aei"]}"#).await.json();
    assert_eq!(reply["data"][1]["embedding"], json!([3.0, 3.0]));
    let reply = running
        .post("/openai/v1/embeddings", r#"{"model":"vectors","input":"hello","encoding_format":"base64"}"#)
        .await
        .json();
    assert_eq!(reply["data"][0]["embedding"], "AACgQAAAAEA=");
    assert_eq!(running.get("/openai/v1/models").await.json()["data"][0]["object"], "model");
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_generation() {
    let running = start_usual().await;
    let story = Story::new(Duration::from_millis(50));
    let going = story.running.clone();
    running.shelf.put("story", Entry::Ready(Arc::new(story)));
    let words = "word ".repeat(1000);
    let body = json!({"text_input": words}).to_string();
    let bytes = common::request("POST", "/v2/models/story/generate_stream", &[], body.as_bytes());
    let mut stream = tokio::net::TcpStream::connect(running.address).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stream, &bytes).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(going.load(std::sync::atomic::Ordering::SeqCst), 1);
    drop(stream);
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(going.load(std::sync::atomic::Ordering::SeqCst), 0);
    assert_eq!(running.shelf.leases.load(std::sync::atomic::Ordering::SeqCst), 0);
}

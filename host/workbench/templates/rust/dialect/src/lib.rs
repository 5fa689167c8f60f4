//! Makes a ConfigMap of each Greeting: replace it with yours.

use purlin_sdk::serde_json::{Value, json};
use purlin_sdk::{Context, Dialect, Fault, Object as _, Selector, SyncRequest, SyncResponse, fault};

struct Greetings;

impl Dialect for Greetings {
    fn related(_: &Context, _: &Value) -> Result<Vec<Selector>, Fault> {
        Ok(Vec::new())
    }

    fn sync(request: &SyncRequest) -> Result<SyncResponse, Fault> {
        let who = request.parent.text(&["spec", "who"]);
        if who.is_empty() {
            return Err(Fault::Invalid(vec![fault::field("spec.who", "", "say whom to greet")]));
        }
        let greeting = format!("Hello, {who}!");
        let child = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": request.parent.name()},
            "data": {"greeting": greeting},
        });
        Ok(SyncResponse {
            children: vec![child],
            status: Some(json!({"greeting": greeting})),
            ..SyncResponse::default()
        })
    }
}

purlin_sdk::export_dialect!(Greetings);

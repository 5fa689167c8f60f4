//! The conditions that people write, and those that are refused.

use dialect_katib::gjson::to_cel;
use proptest::prelude::*;

#[test]
fn the_forms_in_use_are_translated() {
    for (gjson, cel) in [
        (
            r#"status.conditions.#(type=="Complete")#|#(status=="True")#"#,
            r#"object.status.conditions.exists(c, c.type == "Complete" && c.status == "True")"#,
        ),
        (
            r#"status.conditions.#(type=="Succeeded")#|#(status=="True")"#,
            r#"object.status.conditions.exists(c, c.type == "Succeeded" && c.status == "True")"#,
        ),
        (
            r#"status.conditions.#(type=="Failed")"#,
            r#"object.status.conditions.exists(c, c.type == "Failed")"#,
        ),
        (r#"status.[@this].#(phase=="Succeeded")#"#, r#"object.status.phase == "Succeeded""#),
        (r#"status.[@this].#(succeeded>0)#"#, "object.status.succeeded > 0"),
        (
            r#"status.applicationState.[@this].#(state=="FAILED")#"#,
            r#"object.status.applicationState.state == "FAILED""#,
        ),
        (
            r#"status.conditions.#(reason%"Back*")#"#,
            r#"object.status.conditions.exists(c, has(c.reason) && c.reason.matches("^Back.*$"))"#,
        ),
        (
            r#"status.items.#( state.code != 0 )#"#,
            "object.status.items.exists(c, has(c.state.code) && c.state.code != 0)",
        ),
        (
            r#"status.a\.b.#(ready==true)#"#,
            r#"object.status["a.b"].exists(c, has(c.ready) && c.ready == true)"#,
        ),
        (
            r#"status.conditions.#(message=="say \"hi\"")#"#,
            r#"object.status.conditions.exists(c, has(c.message) && c.message == "say \"hi\"")"#,
        ),
    ] {
        assert_eq!(to_cel(gjson).as_deref(), Ok(cel), "{gjson}");
    }
}

#[test]
fn the_rest_is_refused() {
    for gjson in [
        "",
        "status",
        "status.succeeded",
        "status.conditions.#",
        "status.conditions.#.type",
        "status.conditions.0",
        r#"status.conditions.#(type=="Complete"#,
        r#"status.conditions.#(type=="Complete)#"#,
        r#"status.conditions.#(type==Complete)#"#,
        r#"status.conditions.#(type=="Complete")|#(status=="True")#"#,
        r#"status.conditions.#(type=="Complete")#.status"#,
        r#"status.cond*.#(type=="Complete")#"#,
        "status.[@this]",
        r#"status.@reverse.#(type=="Complete")#"#,
        "status.#(a==\\",
    ] {
        assert!(to_cel(gjson).is_err(), "{gjson}");
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in r#"[a-z.#()|=!<>%"\\\[\]@ ]{0,40}|.{0,40}"#) {
        let _ = to_cel(&text);
    }

    #[test]
    fn operands_stay_inside_their_quotes(value in r#"[^"\\]{0,20}"#) {
        let cel = to_cel(&format!(r#"status.conditions.#(type=="{value}")#"#)).expect("a plain text");
        prop_assert!(cel.starts_with(r#"object.status.conditions.exists(c, c.type == ""#), "{}", cel);
        prop_assert!(cel.ends_with(r#"")"#), "{}", cel);
    }
}

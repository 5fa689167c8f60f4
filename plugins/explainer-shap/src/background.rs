//! The rows that stand for a feature that is not there, from a setting or from a file at the explainer's source.

use purlin_sdk::{Fault, Setting, fault, serde_json};

/// Rows at most; each coalition is asked with each of them.
const MAX_ROWS: usize = 1000;

/// The rows of the setting `background`, a JSON list of lists of numbers.
///
/// # Errors
/// It is no such list.
pub(crate) fn of_setting(setting: &Setting) -> Result<Vec<Vec<f64>>, Fault> {
    let rows: Result<Vec<Vec<f64>>, _> = serde_json::from_str(&setting.value);
    let rows =
        rows.map_err(|error| wrong("background", &format!("it must be a JSON list of rows: {error}")))?;
    checked(rows, "background")
}

/// The rows of a file of numbers with commas between them, a row a line. A first line that is none is skipped: it has names.
///
/// # Errors
/// A line is not of numbers.
pub(crate) fn of_csv(content: &[u8]) -> Result<Vec<Vec<f64>>, Fault> {
    let text = std::str::from_utf8(content).map_err(|_| wrong("background.csv", "it is not UTF-8"))?;
    let mut rows = Vec::new();
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let row: Result<Vec<f64>, _> = line.split(',').map(|cell| cell.trim().parse::<f64>()).collect();
        match row {
            Ok(row) => rows.push(row),
            Err(_) if at == 0 => {}
            Err(_) => return Err(wrong("background.csv", &format!("line {} is not of numbers", at + 1))),
        }
        if rows.len() > MAX_ROWS {
            break;
        }
    }
    checked(rows, "background.csv")
}

fn checked(rows: Vec<Vec<f64>>, what: &str) -> Result<Vec<Vec<f64>>, Fault> {
    let width = rows.first().map_or(0, Vec::len);
    if width == 0 {
        return Err(wrong(what, "it has no rows"));
    }
    if rows.len() > MAX_ROWS {
        return Err(wrong(what, &format!("it has more than {MAX_ROWS} rows; give a sample")));
    }
    match rows.iter().position(|row| row.len() != width) {
        Some(at) => {
            Err(wrong(what, &format!("row {} has {} numbers, the first has {width}", at + 1, rows[at].len())))
        }
        None => Ok(rows),
    }
}

fn wrong(what: &str, reason: &str) -> Fault {
    fault::invalid("spec.settings", what, reason)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use purlin_sdk::Setting;

    use super::{of_csv, of_setting};

    #[test]
    fn rows_come_from_json_and_from_csv() {
        let setting = |value: &str| Setting { name: "background".to_owned(), value: value.to_owned() };
        assert_eq!(of_setting(&setting("[[1, 2], [3, 4.5]]")).unwrap(), [[1.0, 2.0], [3.0, 4.5]]);
        assert_eq!(of_csv(b"a,b\n1, 2\n\n3,4.5\n").unwrap(), [[1.0, 2.0], [3.0, 4.5]]);
        for wrong in ["", "[]", "[[1], [1, 2]]", "[[\"a\"]]"] {
            assert!(of_setting(&setting(wrong)).is_err(), "{wrong}");
        }
        assert!(of_csv(b"1,2\n1\n").is_err());
        assert!(of_csv(b"1,2\nx,1\n").is_err());
    }

    proptest! {
        #[test]
        fn no_file_breaks_it(content in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = of_csv(&content);
        }
    }
}

//! The one file of a model.

use purlin_sdk::serving::ModelFile;
use purlin_sdk::{Fault, ModelRequest, fault, files};

/// The file at the top of a model's source that ends in one of these, `model.*` before others.
///
/// # Errors
/// There is none, or there are several of which none is called `model`.
pub fn only_file<'a>(request: &'a ModelRequest, endings: &[&str]) -> Result<&'a ModelFile, Fault> {
    let fits = |file: &&ModelFile| {
        !file.name.contains('/') && endings.iter().any(|ending| file.name.ends_with(ending))
    };
    let found: Vec<&ModelFile> = request.files.iter().filter(fits).collect();
    let named =
        |file: &&&ModelFile| endings.iter().any(|ending| file.name.strip_suffix(ending) == Some("model"));
    let mut models = found.iter().filter(named);
    match (found.as_slice(), models.next(), models.next()) {
        ([file], ..) | (_, Some(file), None) => Ok(file),
        ([], ..) => {
            let names: Vec<&str> = request.files.iter().map(|file| file.name.as_str()).collect();
            let reason = format!(
                "there is no file at the top of the source that ends in {}; it has [{}]",
                endings.join(", "),
                names.join(", ")
            );
            Err(fault::invalid("spec.source.uri", "", reason))
        }
        _ => {
            let names: Vec<&str> = found.iter().map(|file| file.name.as_str()).collect();
            let reason = format!(
                "several files could be the model: {}; leave one, or call it model{}",
                names.join(", "),
                endings.first().copied().unwrap_or_default()
            );
            Err(fault::invalid("spec.source.uri", "", reason))
        }
    }
}

/// The content of a model's file.
///
/// # Errors
/// The file has gone.
pub fn content(file: &ModelFile) -> Result<Vec<u8>, Fault> {
    files::read_sized(&file.name, file.size)
}

#[cfg(test)]
mod tests {
    use super::only_file;
    use purlin_sdk::serving::ModelFile;
    use purlin_sdk::{Context, Fault, ModelRequest};

    fn request(names: &[&str]) -> ModelRequest {
        ModelRequest {
            context: Context { now_ms: 0, seed: 0, config: String::new() },
            name: String::new(),
            version: String::new(),
            format: String::new(),
            format_version: String::new(),
            settings: Vec::new(),
            files: names.iter().map(|name| ModelFile { name: (*name).to_owned(), size: 1 }).collect(),
        }
    }

    #[test]
    fn a_model_has_one_file() {
        let chosen = |names: &[&str]| match only_file(&request(names), &[".joblib", ".pkl"]) {
            Ok(file) => Ok(file.name.clone()),
            Err(Fault::Invalid(errors)) => Err(errors[0].reason.clone()),
            Err(other) => panic!("{other:?}"),
        };
        assert_eq!(chosen(&["notes.txt", "iris.pkl"]).as_deref(), Ok("iris.pkl"));
        assert_eq!(chosen(&["a.pkl", "model.joblib"]).as_deref(), Ok("model.joblib"));
        assert_eq!(chosen(&["old/model.joblib", "b.pkl"]).as_deref(), Ok("b.pkl"));
        assert!(chosen(&["a.pkl", "b.pkl"]).is_err_and(|reason| reason.contains("a.pkl, b.pkl")));
        assert!(chosen(&["model.pkl", "model.joblib"]).is_err());
        assert!(chosen(&["model.onnx"]).is_err_and(|reason| reason.contains("[model.onnx]")));
    }
}

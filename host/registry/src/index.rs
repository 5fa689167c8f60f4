//! An index: a list of plugins that can be installed, as one JSON document in any OCI registry. Whoever may push it says
//! what is in it; what is installed is still compared with its digest and judged by the policy of whoever installs.
//! Used by `purlin plugin search`, `install`, `upgrade` and `outdated`, and by anything that shows a catalogue.

use semver::{Version, VersionReq};
use serde::{Deserialize, Serialize};

use crate::artifact::Artifact;
use crate::digest::Digest;
use crate::reference::{Reference, is_repository};

/// Media type and artifact type.
pub const MEDIA_TYPE: &str = "application/vnd.purlin.index.v1+json";

/// The largest index that is taken.
pub const MAX_BYTES: u64 = 8 << 20;

/// The most plugins in one.
const MAX_PLUGINS: usize = 10_000;

/// The most versions of a plugin.
const MAX_RELEASES: usize = 500;

/// The longest text in it, in bytes.
const MAX_TEXT: usize = 1024;

/// Plugins to choose from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// In the order of their names.
    pub plugins: Vec<Listing>,
}

/// A plugin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Listing {
    /// Its name: a DNS label.
    pub name: String,
    /// What it is for.
    #[serde(default)]
    pub description: String,
    /// The newest first.
    pub versions: Vec<Release>,
}

/// A version of a plugin. Stages and capabilities are text: an index may list what this build does not know yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Release {
    /// Its semantic version.
    pub version: Version,
    /// Where it is.
    pub reference: String,
    /// What it must be.
    pub digest: Digest,
    /// The version of the contract that it was built for.
    pub wit: Version,
    /// Stages that it serves.
    #[serde(default)]
    pub stages: Vec<String>,
    /// What it asks for.
    #[serde(default)]
    pub capabilities: Vec<Asked>,
    /// Names of the keys that had signed it when the index was made. A hint for people, and no proof.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signed_by: Vec<String>,
    /// Why it should not be used any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deprecated: Option<String>,
}

/// A capability that is asked for, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// The capability.
    pub name: String,
    /// The reason that the plugin gives.
    #[serde(default)]
    pub reason: String,
}

/// Why an index cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// Another form.
    #[error("it is no index of plugins: {0}")]
    Json(#[from] serde_json::Error),
    /// Larger than is taken.
    #[error("it has {0} bytes; at most {MAX_BYTES} are taken")]
    TooLarge(usize),
    /// A field is wrong.
    #[error("{field}: {value:?}: {reason}")]
    Field {
        /// Which.
        field: String,
        /// What stands there.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The same version twice, with different content.
    #[error(
        "{name} {version} is there already with the digest {known}; a version is never changed, make a new one"
    )]
    Changed {
        /// The plugin.
        name: String,
        /// The version.
        version: Version,
        /// The digest in the index.
        known: Digest,
    },
}

/// What to install.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The plugin's name.
    pub name: String,
    /// The versions that will do; any where nothing is said.
    pub versions: Option<VersionReq>,
}

impl std::str::FromStr for Wanted {
    type Err = IndexError;

    /// Reads `NAME` or `NAME@VERSION`, where a whole version means exactly that one.
    fn from_str(text: &str) -> Result<Wanted, IndexError> {
        let (name, version) = match text.split_once('@') {
            Some((name, version)) => (name, Some(version)),
            None => (text, None),
        };
        let wrong = |value: &str, reason: String| IndexError::Field {
            field: "plugin".to_owned(),
            value: shortened(value),
            reason,
        };
        if !is_name(name) {
            return Err(wrong(name, "it is no plugin's name; write NAME or NAME@VERSION".to_owned()));
        }
        let versions = version.map(|version| {
            let exact = version.parse::<Version>().is_ok();
            let text = if exact { format!("={version}") } else { version.to_owned() };
            text.parse::<VersionReq>()
                .map_err(|error| wrong(version, format!("it is no version, such as 1.2.3 or ^1: {error}")))
        });
        Ok(Wanted { name: name.to_owned(), versions: versions.transpose()? })
    }
}

impl Index {
    /// Reads an index and checks every field.
    pub fn parse(text: &[u8]) -> Result<Index, IndexError> {
        if text.len() as u64 > MAX_BYTES {
            return Err(IndexError::TooLarge(text.len()));
        }
        let mut index: Index = serde_json::from_slice(text)?;
        index.validate()?;
        index.sort();
        Ok(index)
    }

    /// Writes it.
    pub fn to_json(&self) -> Result<Vec<u8>, IndexError> {
        let text = serde_json::to_vec_pretty(self)?;
        if text.len() as u64 > MAX_BYTES {
            return Err(IndexError::TooLarge(text.len()));
        }
        Ok(text)
    }

    /// Adds a version of a plugin, which is named by its own manifest. The same one again changes what is said about it.
    pub fn add(
        &mut self,
        reference: &Reference,
        plugin: &Artifact,
        signed_by: Vec<String>,
    ) -> Result<(), IndexError> {
        let manifest = plugin.manifest();
        let release = Release {
            version: manifest.version.clone(),
            reference: reference.to_string(),
            digest: plugin.digest().clone(),
            wit: manifest.wit.clone(),
            stages: manifest.stages.iter().map(ToString::to_string).collect(),
            capabilities: manifest
                .requests()
                .into_iter()
                .map(|request| Asked { name: request.name.to_string(), reason: request.reason })
                .collect(),
            signed_by,
            deprecated: None,
        };
        let listing = match self.plugins.iter_mut().find(|listing| listing.name == manifest.name) {
            Some(listing) => listing,
            None => {
                self.plugins.push(Listing {
                    name: manifest.name.clone(),
                    description: String::new(),
                    versions: Vec::new(),
                });
                let last = self.plugins.len() - 1;
                &mut self.plugins[last]
            }
        };
        if let Some(known) = listing.versions.iter().find(|known| known.version == release.version)
            && known.digest != release.digest
        {
            return Err(IndexError::Changed {
                name: manifest.name.clone(),
                version: release.version,
                known: known.digest.clone(),
            });
        }
        listing.versions.retain(|known| known.version != release.version);
        listing.versions.push(release);
        if listing.versions.iter().all(|known| known.version <= manifest.version) {
            listing.description = shortened(&manifest.description);
        }
        self.sort();
        self.validate()
    }

    /// The version of a plugin to install: the newest of those that are wanted, and of these one that is not deprecated
    /// and no pre-release, as far as there is such a one.
    pub fn find(&self, wanted: &Wanted) -> Option<(&Listing, &Release)> {
        let listing = self.plugins.iter().find(|listing| listing.name == wanted.name)?;
        let fits = |release: &&Release| match &wanted.versions {
            Some(versions) => versions.matches(&release.version),
            None => true,
        };
        let preferred = |release: &&Release| {
            (release.deprecated.is_none(), release.version.pre.is_empty(), release.version.clone())
        };
        let release = listing.versions.iter().filter(fits).max_by_key(preferred)?;
        Some((listing, release))
    }

    /// Plugins in which each of the words is found: in the name, the description, a stage or a capability. Those with the
    /// words in their names come first.
    pub fn search(&self, words: &[String]) -> Vec<&Listing> {
        let words: Vec<String> = words.iter().map(|word| word.to_lowercase()).collect();
        let mut found: Vec<(usize, &Listing)> = Vec::new();
        for listing in &self.plugins {
            let name = listing.name.to_lowercase();
            let mut text = format!("{name} {}", listing.description.to_lowercase());
            for release in listing.versions.iter().take(1) {
                for more in release.stages.iter().chain(release.capabilities.iter().map(|asked| &asked.name))
                {
                    text.push(' ');
                    text.push_str(&more.to_lowercase());
                }
            }
            if words.iter().all(|word| text.contains(word.as_str())) {
                let elsewhere = words.iter().filter(|word| !name.contains(word.as_str())).count();
                found.push((elsewhere, listing));
            }
        }
        found.sort_by(|(a, x), (b, y)| (a, &x.name).cmp(&(b, &y.name)));
        found.into_iter().map(|(_, listing)| listing).collect()
    }

    fn sort(&mut self) {
        self.plugins.sort_by(|a, b| a.name.cmp(&b.name));
        for listing in &mut self.plugins {
            listing.versions.sort_by(|a, b| b.version.cmp(&a.version));
        }
    }

    fn validate(&self) -> Result<(), IndexError> {
        let wrong = |field: String, value: &str, reason: &str| {
            Err(IndexError::Field { field, value: shortened(value), reason: reason.to_owned() })
        };
        if self.plugins.len() > MAX_PLUGINS {
            let count = self.plugins.len().to_string();
            return wrong("plugins".to_owned(), &count, "an index has at most 10000 plugins");
        }
        let mut names = std::collections::BTreeSet::new();
        for (at, listing) in self.plugins.iter().enumerate() {
            let field = |name: &str| format!("plugins[{at}].{name}");
            if !is_name(&listing.name) {
                return wrong(field("name"), &listing.name, "it must be a DNS label");
            }
            if !names.insert(&listing.name) {
                return wrong(field("name"), &listing.name, "it is there twice");
            }
            if listing.versions.is_empty() || listing.versions.len() > MAX_RELEASES {
                let count = listing.versions.len().to_string();
                return wrong(field("versions"), &count, "a plugin has 1 to 500 versions");
            }
            let mut texts = vec![(field("description"), &listing.description)];
            let mut versions = std::collections::BTreeSet::new();
            for (n, release) in listing.versions.iter().enumerate() {
                let field = |name: &str| format!("plugins[{at}].versions[{n}].{name}");
                if !versions.insert(&release.version) {
                    return wrong(field("version"), &release.version.to_string(), "it is there twice");
                }
                match release.reference.parse::<Reference>() {
                    Ok(reference) if reference.digest().is_some_and(|digest| *digest != release.digest) => {
                        return wrong(field("reference"), &release.reference, "its digest is another one");
                    }
                    Ok(_) => {}
                    Err(error) => return wrong(field("reference"), &release.reference, &error.to_string()),
                }
                if release.stages.len() > 64
                    || release.capabilities.len() > 256
                    || release.signed_by.len() > 64
                {
                    return wrong(field(""), &listing.name, "it has too many stages, capabilities or keys");
                }
                texts.extend(release.stages.iter().map(|text| (field("stages"), text)));
                texts.extend(release.signed_by.iter().map(|text| (field("signedBy"), text)));
                texts.extend(release.deprecated.iter().map(|text| (field("deprecated"), text)));
                for asked in &release.capabilities {
                    texts.push((field("capabilities"), &asked.name));
                    texts.push((field("capabilities"), &asked.reason));
                }
            }
            // It is shown on terminals, where control characters are commands.
            let bad = |text: &str| text.len() > MAX_TEXT || text.chars().any(char::is_control);
            if let Some((field, text)) = texts.into_iter().find(|(_, text)| bad(text)) {
                return wrong(field, text, "it is longer than 1024 bytes, or has control characters");
            }
        }
        Ok(())
    }
}

/// A DNS label: what a plugin's name and that of its resource are.
fn is_name(text: &str) -> bool {
    text.len() <= 63 && !text.contains(['/', '.', '_']) && is_repository(text)
}

fn shortened(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(256).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn release(version: &str) -> Value {
        json!({
            "version": version, "reference": format!("localhost:1/purlin/tuner:{version}"),
            "digest": Digest::of(version.as_bytes()), "wit": "0.1.0", "stages": ["tuner"],
            "capabilities": [{"name": "call(tuner)", "reason": "asks others"}],
        })
    }

    fn index(versions: &[Value]) -> Value {
        json!({"plugins": [
            {"name": "tuner-random", "description": "Random search", "versions": versions},
            {"name": "dialect-x", "description": "Reads tuner things", "versions": [release("1.0.0")]},
        ]})
    }

    fn parse(value: &Value) -> Result<Index, IndexError> {
        Index::parse(value.to_string().as_bytes())
    }

    fn wanted(text: &str) -> Wanted {
        text.parse().expect(text)
    }

    #[test]
    fn the_newest_that_is_wanted_is_found() {
        let mut old = release("1.5.0");
        old["deprecated"] = json!("has a bug");
        let index =
            parse(&index(&[release("1.0.0"), release("2.0.0-rc.1"), old, release("1.2.0")])).expect("index");
        let found = |text: &str| index.find(&wanted(text)).map(|(_, release)| release.version.to_string());
        assert_eq!(found("tuner-random").as_deref(), Some("1.2.0"));
        assert_eq!(found("tuner-random@1.0.0").as_deref(), Some("1.0.0"));
        assert_eq!(found("tuner-random@^1.3").as_deref(), Some("1.5.0"));
        assert_eq!(found("tuner-random@2.0.0-rc.1").as_deref(), Some("2.0.0-rc.1"));
        assert_eq!(found("tuner-random@3"), None);
        assert_eq!(found("other"), None);
    }

    #[test]
    fn words_in_names_come_first() {
        let index = parse(&index(&[release("1.0.0")])).expect("index");
        let found = |words: &[&str]| -> Vec<String> {
            let words: Vec<String> = words.iter().map(ToString::to_string).collect();
            index.search(&words).iter().map(|listing| listing.name.clone()).collect()
        };
        assert_eq!(found(&["Tuner"]), ["tuner-random", "dialect-x"]);
        assert_eq!(found(&["search", "random"]), ["tuner-random"]);
        assert_eq!(found(&["call(tuner)"]).len(), 2);
        assert!(found(&["nothing"]).is_empty());
        assert_eq!(found(&[]).len(), 2);
    }

    #[test]
    fn what_is_wrong_is_named_by_field() {
        let with = |change: &dyn Fn(&mut Value)| {
            let mut value = index(&[release("1.0.0")]);
            change(&mut value["plugins"][0]);
            parse(&value).expect_err("must be refused").to_string()
        };
        assert!(with(&|p| p["name"] = json!("../x")).contains("plugins[0].name"));
        assert!(with(&|p| p["name"] = json!("dialect-x")).contains("twice"));
        assert!(with(&|p| p["versions"] = json!([])).contains("plugins[0].versions"));
        assert!(with(&|p| p["versions"][0]["reference"] = json!("x")).contains("versions[0].reference"));
        assert!(with(&|p| p["versions"][0]["digest"] = json!("sha256:1")).contains("not a digest"));
        assert!(with(&|p| p["description"] = json!("\u{1b}[31mred")).contains("control characters"));
        assert!(
            with(&|p| p["versions"][0]["capabilities"][0]["reason"] = json!("x".repeat(2000)))
                .contains("1024")
        );
        let twice = [release("1.0.0"), release("1.0.0")];
        assert!(parse(&index(&twice)).expect_err("twice").to_string().contains("twice"));
        assert!("a@b@c".parse::<Wanted>().is_err() && "A".parse::<Wanted>().is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,64}") {
            let _ = (Index::parse(text.as_bytes()), text.parse::<Wanted>());
        }
    }
}

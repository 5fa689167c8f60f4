//! The built-in resources, read from a table of facts about them: `builtins.txt`, one resource a line.
//!
//! Fields: group, version, plural, singular, kind, scope, verbs by first letter (`D` is deletecollection), short names,
//! categories, subresources as `name=Kind[@group/version]:verbs`.

use purlin_schema::typed;

use super::{Resource, Subresource, api_version};

const TABLE: &str = include_str!("builtins.txt");

/// Every built-in resource.
pub(super) fn resources() -> impl Iterator<Item = Resource> {
    TABLE.lines().filter_map(resource)
}

fn resource(line: &str) -> Option<Resource> {
    let fields: Vec<&str> = line.split('|').collect();
    let [group, version, plural, singular, kind, scope, verbs, short, categories, subresources] =
        fields.as_slice()
    else {
        return None;
    };
    let words = |text: &str, by: char| -> Vec<String> {
        text.split(by).filter(|word| !word.is_empty()).map(str::to_owned).collect()
    };
    // Events have two groups and one table.
    let converted = (*group, *plural) == ("events.k8s.io", "events");
    let table = if converted { format!("/{plural}") } else { format!("{group}/{plural}") };
    Some(Resource {
        group: (*group).to_owned(),
        version: (*version).to_owned(),
        plural: (*plural).to_owned(),
        singular: (*singular).to_owned(),
        kind: (*kind).to_owned(),
        list_kind: format!("{kind}List"),
        namespaced: *scope == "n",
        verbs: verbs_of(verbs),
        short_names: words(short, ','),
        categories: words(categories, ','),
        subresources: words(subresources, ' ').iter().filter_map(|text| subresource(text)).collect(),
        table: table.into(),
        custom: None,
        blank: typed::blank(&api_version(group, version), kind),
        converted,
    })
}

fn subresource(text: &str) -> Option<Subresource> {
    let (name, rest) = text.split_once('=')?;
    let (kind, verbs) = rest.split_once(':')?;
    let (kind, place) = kind.split_once('@').unwrap_or((kind, ""));
    let (group, version) = place.split_once('/').unwrap_or(("", place));
    Some(Subresource {
        name: name.to_owned(),
        kind: kind.to_owned(),
        group: group.to_owned(),
        version: version.to_owned(),
        verbs: verbs_of(verbs),
    })
}

fn verbs_of(letters: &str) -> Vec<&'static str> {
    letters
        .chars()
        .filter_map(|letter| {
            Some(match letter {
                'c' => "create",
                'd' => "delete",
                'D' => "deletecollection",
                'g' => "get",
                'l' => "list",
                'p' => "patch",
                'u' => "update",
                'w' => "watch",
                _ => return None,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_a_resource() {
        assert_eq!(resources().count(), TABLE.lines().count());
        let pods = resources().find(|resource| resource.plural == "pods").expect("pods");
        assert_eq!(pods.verbs.len(), 8);
        assert!(pods.has_subresource("log") && pods.namespaced);
        let eviction = pods.subresources.iter().find(|s| s.name == "eviction").expect("eviction");
        assert_eq!((eviction.group.as_str(), eviction.version.as_str()), ("policy", "v1"));
    }
}

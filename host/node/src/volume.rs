//! A Pod's volumes as folders on the host: ConfigMap, Secret, projected and downwardAPI contents written atomically,
//! emptyDir, hostPath. Called by the Pod's worker before its containers start; it mounts nothing itself but says what
//! the shim shall bind where.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use k8s_openapi::api::core::v1::{
    Container, DownwardAPIVolumeFile, KeyToPath, Pod, Volume, VolumeProjection,
};

use crate::env::{ConfigError, Objects, pod_field, resource_field};
use crate::expand::expand;
use crate::shim::files::Bind;

/// Why a volume could not be set up: a `FailedMount` Event, tried again.
#[derive(Debug, thiserror::Error)]
#[error("MountVolume.SetUp failed for volume {volume:?} : {source}")]
pub(crate) struct MountError {
    volume: String,
    source: ConfigError,
}

type Files = BTreeMap<String, Vec<u8>>;

/// Sets up every volume of `pod` under `root` and returns the folder (or file) of each.
pub(crate) async fn set_up(
    objects: &Objects<'_>,
    pod: &Pod,
    root: &Path,
) -> Result<BTreeMap<String, PathBuf>, MountError> {
    let mut folders = BTreeMap::new();
    for volume in pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten()) {
        let folder = root.join(&volume.name);
        let path = one(objects, pod, volume, &folder)
            .await
            .map_err(|source| MountError { volume: volume.name.clone(), source })?;
        folders.insert(volume.name.clone(), path);
    }
    Ok(folders)
}

async fn one(
    objects: &Objects<'_>,
    pod: &Pod,
    volume: &Volume,
    folder: &Path,
) -> Result<PathBuf, ConfigError> {
    let files = if let Some(host) = &volume.host_path {
        return host_path(&host.path, host.type_.as_deref().unwrap_or(""));
    } else if let Some(source) = &volume.config_map {
        let optional = source.optional == Some(true);
        config_map(objects, &source.name, optional, source.items.as_deref()).await?
    } else if let Some(source) = &volume.secret {
        let name = source.secret_name.as_deref().unwrap_or("");
        secret(objects, name, source.optional == Some(true), source.items.as_deref()).await?
    } else if let Some(source) = &volume.downward_api {
        downward(pod, source.items.as_deref().unwrap_or(&[]))?
    } else if let Some(source) = &volume.projected {
        let mut all = Files::new();
        for projection in source.sources.iter().flatten() {
            all.extend(projected(objects, pod, projection).await?);
        }
        all
    } else if volume.empty_dir.is_some() {
        fs::create_dir_all(folder).map_err(|error| failed("creating", folder, error))?;
        return Ok(folder.to_owned());
    } else {
        return Err(ConfigError::Invalid(
            "this node has emptyDir, hostPath, configMap, secret, projected and downwardAPI volumes only"
                .to_owned(),
        ));
    };
    write_atomically(folder, &files).map_err(|error| failed("writing", folder, error))?;
    Ok(folder.to_owned())
}

async fn projected(
    objects: &Objects<'_>,
    pod: &Pod,
    projection: &VolumeProjection,
) -> Result<Files, ConfigError> {
    if let Some(source) = &projection.config_map {
        config_map(objects, &source.name, source.optional == Some(true), source.items.as_deref()).await
    } else if let Some(source) = &projection.secret {
        secret(objects, &source.name, source.optional == Some(true), source.items.as_deref()).await
    } else if let Some(source) = &projection.downward_api {
        downward(pod, source.items.as_deref().unwrap_or(&[]))
    } else {
        Err(ConfigError::Invalid("a projected source that this node does not have".to_owned()))
    }
}

async fn config_map(
    objects: &Objects<'_>,
    name: &str,
    optional: bool,
    items: Option<&[KeyToPath]>,
) -> Result<Files, ConfigError> {
    pick("configmap", name, objects.config_map(name).await?, optional, items)
}

async fn secret(
    objects: &Objects<'_>,
    name: &str,
    optional: bool,
    items: Option<&[KeyToPath]>,
) -> Result<Files, ConfigError> {
    pick("secret", name, objects.secret(name).await?, optional, items)
}

fn pick(
    kind: &'static str,
    name: &str,
    entries: Option<Files>,
    optional: bool,
    items: Option<&[KeyToPath]>,
) -> Result<Files, ConfigError> {
    let entries = match entries {
        Some(entries) => entries,
        None if optional => return Ok(Files::new()),
        None => return Err(ConfigError::Missing { kind, name: name.to_owned() }),
    };
    let Some(items) = items.filter(|items| !items.is_empty()) else { return Ok(entries) };
    let mut out = Files::new();
    for item in items {
        match entries.get(&item.key) {
            Some(value) => {
                out.insert(item.path.clone(), value.clone());
            }
            None if optional => {}
            None => {
                return Err(ConfigError::MissingKey { kind, name: name.to_owned(), key: item.key.clone() });
            }
        }
    }
    Ok(out)
}

fn downward(pod: &Pod, items: &[DownwardAPIVolumeFile]) -> Result<Files, ConfigError> {
    let mut out = Files::new();
    for item in items {
        let value = if let Some(field) = &item.field_ref {
            pod_field(pod, field)?
        } else if let Some(field) = &item.resource_field_ref {
            let containers = pod.spec.as_ref().map_or(&[][..], |spec| &spec.containers);
            let named =
                containers.iter().find(|container| Some(&container.name) == field.container_name.as_ref());
            let container =
                named.ok_or_else(|| ConfigError::Invalid("resourceFieldRef without a container".into()))?;
            resource_field(pod, container, field)?
        } else {
            continue;
        };
        out.insert(item.path.clone(), value.into_bytes());
    }
    Ok(out)
}

fn host_path(path: &str, kind: &str) -> Result<PathBuf, ConfigError> {
    let path = PathBuf::from(path);
    let wrong = |what: &str| {
        ConfigError::Invalid(format!("hostPath type check failed: {} is not {what}", path.display()))
    };
    match kind {
        "DirectoryOrCreate" => fs::create_dir_all(&path).map_err(|error| failed("creating", &path, error))?,
        "FileOrCreate" if !path.exists() => {
            fs::write(&path, "").map_err(|error| failed("creating", &path, error))?;
        }
        "Directory" if !path.is_dir() => return Err(wrong("a directory")),
        "File" if !path.is_file() => return Err(wrong("a file")),
        _ if !path.exists() => return Err(wrong("there")),
        _ => {}
    }
    Ok(path)
}

/// Writes `files` into `folder` so that a reader sees either all of the old ones or all of the new ones.
fn write_atomically(folder: &Path, files: &Files) -> io::Result<()> {
    let version = format!("..{}", uuid::Uuid::new_v4().simple());
    let fresh = folder.join(&version);
    fs::create_dir_all(&fresh)?;
    for (name, content) in files {
        let relative = inside(name)?;
        let path = fresh.join(&relative);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, content)?;
    }
    let link = folder.join("..data");
    let before = fs::read_link(&link).ok();
    let partial = folder.join("..data.partial");
    let _ = fs::remove_file(&partial);
    std::os::unix::fs::symlink(&version, &partial)?;
    fs::rename(&partial, &link)?;
    for name in files.keys() {
        if let Some(Component::Normal(first)) = inside(name)?.components().next() {
            let shown = folder.join(first);
            if shown.symlink_metadata().is_err() {
                std::os::unix::fs::symlink(Path::new("..data").join(first), shown)?;
            }
        }
    }
    if let Some(before) = before {
        let _ = fs::remove_dir_all(folder.join(before));
    }
    Ok(())
}

/// `path` as a relative path that stays where it is put.
fn inside(path: &str) -> io::Result<PathBuf> {
    let path = PathBuf::from(path);
    if path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
        Ok(path)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{} leaves the volume", path.display())))
    }
}

/// What the shim shall bind for `container`'s mounts.
pub(crate) fn binds(
    container: &Container,
    folders: &BTreeMap<String, PathBuf>,
    env: &BTreeMap<String, String>,
) -> Result<Vec<Bind>, ConfigError> {
    let mut binds = Vec::new();
    for mount in container.volume_mounts.iter().flatten() {
        let Some(folder) = folders.get(&mount.name) else {
            return Err(ConfigError::Invalid(format!("volume {:?} is not in the Pod", mount.name)));
        };
        let sub_path = match (&mount.sub_path, &mount.sub_path_expr) {
            (Some(path), _) => path.clone(),
            (None, Some(expression)) => expand(expression, env),
            (None, None) => String::new(),
        };
        let mut source = folder.clone();
        if !sub_path.is_empty() {
            let relative = inside(&sub_path).map_err(|error| ConfigError::Invalid(error.to_string()))?;
            source.push(relative);
            if !source.exists() {
                fs::create_dir_all(&source)
                    .map_err(|error| failed("creating the subPath", &source, error))?;
            }
        }
        binds.push(Bind {
            source,
            target: PathBuf::from(&mount.mount_path),
            read_only: mount.read_only == Some(true),
        });
    }
    // A mount inside another one must come after it.
    binds.sort_by_key(|bind| bind.target.components().count());
    Ok(binds)
}

fn failed(doing: &str, path: &Path, error: io::Error) -> ConfigError {
    ConfigError::Invalid(format!("{doing} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_change_at_once_and_old_ones_go() {
        let dir = tempfile::tempdir().unwrap();
        let write = |value: &str| {
            write_atomically(dir.path(), &Files::from([("a/b".to_owned(), value.as_bytes().to_vec())]))
                .unwrap();
            fs::read_to_string(dir.path().join("a/b")).unwrap()
        };
        assert_eq!(write("1"), "1");
        assert_eq!(write("2"), "2");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
    }

    #[test]
    fn a_path_that_leaves_the_volume_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(write_atomically(dir.path(), &Files::from([("../x".to_owned(), vec![])])).is_err());
        assert!(inside("/etc").is_err());
    }
}

//! A root file system run by an OCI runtime (crun): a bundle with its `config.json` is written into the container's
//! folder. The host's network is shared, as every way on this node does.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::image_map::Mapping;
use crate::shim::files::Program;

use super::{Order, Planned, Way};

/// A mapped root file system.
pub(super) struct Bundle {
    pub(super) mapping: Mapping,
    pub(super) rootfs: PathBuf,
    pub(super) runtime: PathBuf,
}

impl Way for Bundle {
    fn image_id(&self) -> String {
        format!("purlin-rootfs://{}", self.rootfs.display())
    }

    fn env(&self) -> BTreeMap<String, String> {
        let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        let mut env = BTreeMap::from([("PATH".to_owned(), path.to_owned())]);
        env.extend(self.mapping.env.clone());
        env
    }

    fn stands_for(&self) -> Option<String> {
        Some(format!(
            "the root file system {} stands for it, run by {}",
            self.rootfs.display(),
            self.runtime.display()
        ))
    }

    fn program(&self, order: Order<'_>) -> Result<Planned, String> {
        let config = self.config(&order)?;
        let bundle = order.dir.join("bundle");
        let write = || -> std::io::Result<()> {
            fs::create_dir_all(&bundle)?;
            fs::write(bundle.join("config.json"), serde_json::to_vec_pretty(&config)?)
        };
        write().map_err(|error| format!("writing the bundle {}: {error}", bundle.display()))?;
        Ok(Planned {
            program: Program::Oci { runtime: self.runtime.clone(), bundle, id: order.id.to_owned() },
            env: BTreeMap::new(),
            binds: Vec::new(),
            working_dir: None,
            caveat: None,
        })
    }
}

impl Bundle {
    fn config(&self, order: &Order<'_>) -> Result<Value, String> {
        let mut argv =
            if order.command.is_empty() { self.mapping.entrypoint.clone() } else { order.command.clone() };
        argv.extend(order.args.iter().cloned());
        if argv.is_empty() {
            return Err(format!("no command specified for the root file system {}", self.rootfs.display()));
        }
        let mut mounts = vec![
            json!({"destination": "/proc", "type": "proc", "source": "proc"}),
            json!({"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]}),
        ];
        mounts.extend(order.binds.iter().map(|bind| {
            let access = if bind.read_only { "ro" } else { "rw" };
            json!({"destination": bind.target, "type": "bind", "source": bind.source, "options": ["rbind", access]})
        }));
        let env: Vec<_> = order.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut linux =
            json!({"namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "ipc"}, {"type": "uts"}]});
        if let Some(cgroup) = order.cgroup {
            linux["cgroupsPath"] = json!(cgroup.strip_prefix("/sys/fs/cgroup").unwrap_or(cgroup).join("oci"));
        }
        Ok(json!({
            "ociVersion": "1.0.2",
            "process": {
                "terminal": false,
                "user": {"uid": 0, "gid": 0},
                "args": argv,
                "env": env,
                "cwd": order.container.working_dir.as_deref().unwrap_or("/"),
                "noNewPrivileges": true,
            },
            "root": {"path": self.rootfs, "readonly": false},
            "mounts": mounts,
            "linux": linux,
        }))
    }
}

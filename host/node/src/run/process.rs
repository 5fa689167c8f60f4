//! A host process in place of an image: paths of the image are rewritten to what stands for them and, where the host
//! permits, also exist for the process.

use std::collections::BTreeMap;

use crate::image_map::Mapping;
use crate::shim::files::{Bind, Isolation, Program};

use super::{Order, Planned, Way};

const HOST_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A mapped image.
pub(super) struct HostProcess {
    pub(super) mapping: Mapping,
}

impl Way for HostProcess {
    fn image_id(&self) -> String {
        format!("purlin-process://{}", self.mapping.pattern)
    }

    fn env(&self) -> BTreeMap<String, String> {
        let mut env = BTreeMap::from([
            ("PATH".to_owned(), HOST_PATH.to_owned()),
            ("HOME".to_owned(), "/root".to_owned()),
        ]);
        env.extend(self.mapping.env.clone());
        let before = self.mapping.path.iter().map(|folder| folder.display().to_string());
        let path = before.chain(env.get("PATH").cloned()).collect::<Vec<_>>().join(":");
        env.insert("PATH".to_owned(), path);
        env
    }

    fn stands_for(&self) -> Option<String> {
        let paths = self.mapping.paths.iter().map(|(inside, host)| format!("{inside} is {}", host.display()));
        let path = self.mapping.path.iter().map(|folder| format!("PATH starts with {}", folder.display()));
        let entrypoint = Some(&self.mapping.entrypoint).filter(|entrypoint| !entrypoint.is_empty());
        let entrypoint = entrypoint.map(|entrypoint| format!("the entrypoint is {entrypoint:?}"));
        let detail = paths.chain(path).chain(entrypoint).collect::<Vec<_>>().join(", ");
        Some(format!("a host process stands for it ({}): {detail}", self.mapping.pattern))
    }

    fn program(&self, order: Order<'_>) -> Result<Planned, String> {
        let mut argv = if order.command.is_empty() { self.mapping.entrypoint.clone() } else { order.command };
        argv.extend(order.args);
        if argv.is_empty() {
            return Err(format!(
                "no command specified: the container has no `command` and the image map's entry {} no `entrypoint`",
                self.mapping.pattern
            ));
        }
        let mut mapping = self.mapping.clone();
        let mut binds = Vec::new();
        let mut caveat = None;
        if order.isolation == Isolation::None {
            let mounts = order.binds.iter();
            let mounts: Vec<_> = mounts
                .map(|bind| {
                    (bind.target.to_string_lossy().trim_end_matches('/').to_owned(), bind.source.clone())
                })
                .collect();
            if !mounts.is_empty() {
                caveat = Some(
                    "this host permits no mount namespace: volume paths in command, args and env are rewritten to \
                     the Pod's folder, and do not exist as such"
                        .to_owned(),
                );
            }
            mapping.paths.extend(mounts);
            mapping.paths.sort_by_key(|(inside, _)| std::cmp::Reverse(inside.len()));
        } else {
            let image = mapping.paths.iter().map(|(inside, host)| Bind {
                source: host.clone(),
                target: inside.into(),
                read_only: false,
            });
            binds.extend(image);
            binds.extend(order.binds);
            binds.sort_by_key(|bind| bind.target.components().count());
        }
        Ok(Planned {
            program: Program::Process {
                argv: argv.iter().map(|argument| mapping.rewrite(argument)).collect(),
            },
            env: order.env.into_iter().map(|(name, value)| (name, mapping.rewrite(&value))).collect(),
            binds,
            working_dir: order.container.working_dir.as_deref().map(|folder| mapping.rewrite(folder)),
            caveat,
        })
    }
}

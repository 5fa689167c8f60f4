"""The plugins for tests (plugins/testing), and objects of their kinds."""

from harness.server import REPOSITORY

LAYOUT = REPOSITORY / "plugins/testing/dist"
GROUP = "testing.purlin.dev"


def plugin(name, image, **limits):
    """A plugin that may make ConfigMaps."""
    return {
        "apiVersion": "purlin.dev/v1alpha1",
        "kind": "Plugin",
        "metadata": {"name": name},
        "spec": {
            "image": image,
            "grants": ["kube(write core/ConfigMap)", "kube(read core/ConfigMap)"],
            "limits": limits,
        },
    }


def made(kind, name, **spec):
    """An object that a plugin for tests answers to."""
    return {"apiVersion": f"{GROUP}/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}

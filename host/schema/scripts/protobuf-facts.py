#!/usr/bin/env python3
"""Writes src/protobuf/facts.txt: how the built-in kinds' protobuf messages become JSON.

Usage: protobuf-facts.py VERSION > src/protobuf/facts.txt

Reads, from the Go module cache, the `generated.proto` files of the Kubernetes modules at VERSION (such as v0.37.2) for
numbers and types, and the Go struct tags beside them for JSON names, pointers and `omitempty`; and the kinds from
src/builtin/facts.json. One line a fact, so that a new version's changes read well in a diff:

    kind GROUP/VERSION/KIND MESSAGE      (`*` for group and version: in every one)
    message NAME [union]                 (union: shown as the one member that is set)
    NUMBER JSON-NAME SHAPE TYPE [FLAGS]  (`.`: inlined; shapes ! plain, ? pointer, * repeated, % map; e omitempty, z omitzero)

A type is a scalar, a special form that Rust knows, or the name of a message after `@`.
"""
import json
import pathlib
import re
import subprocess
import sys

MODULES = ["api", "apimachinery", "apiextensions-apiserver", "kube-aggregator"]
META = "apimachinery.pkg.apis.meta.v1."
CRD = "apiextensions_apiserver.pkg.apis.apiextensions.v1."
EXTRA_KINDS = {"*/DeleteOptions": META + "DeleteOptions"}
SPECIAL = {
    META + "Time": "time", META + "MicroTime": "microtime", META + "FieldsV1": "json",
    "apimachinery.pkg.runtime.RawExtension": "json", CRD + "JSON": "json",
    "apimachinery.pkg.api.resource.Quantity": "quantity", "apimachinery.pkg.util.intstr.IntOrString": "intorstring",
    "api.authentication.v1.ExtraValue": "strings", "api.authentication.v1.AttestationValue": "strings",
    "api.authorization.v1.ExtraValue": "strings",
}
UNIONS = {CRD + name for name in ("JSONSchemaPropsOrArray", "JSONSchemaPropsOrBool", "JSONSchemaPropsOrStringArray")}
SCALARS = {"string", "bool", "int32", "int64", "double", "bytes"}

PROTO_FIELD = re.compile(r"(optional|repeated)? ?(map<string, ([\w.]+)>|[\w.]+) (\w+) = (\d+);")
GO_STRUCT = re.compile(r"^type (\w+) struct \{\n(.*?)^\}", re.M | re.S)
GO_FIELD = re.compile(r"^\s*(?:(\w+)\s+)?(\S+)\s+`([^`]*)`", re.M)


def qualified(name, package):
    """A type's name without its `k8s.io.` prefix, its package added where the file leaves it out."""
    return name.removeprefix(".").removeprefix("k8s.io.") if "." in name else f"{package}.{name}"


def read_proto(path):
    """The messages of one file: name -> number -> (type, repeated, map)."""
    text = re.sub(r"//.*", "", path.read_text())
    package = re.search(r"^package k8s\.io\.([\w.]+);", text, re.M).group(1)
    messages = {}
    for name, body in re.findall(r"^message (\w+) \{(.*?)^\}", text, re.M | re.S):
        fields = {}
        for label, kind, value, _, number in PROTO_FIELD.findall(body):
            kind, is_map = (value, True) if value else (kind, False)
            kind = kind if kind in SCALARS else "@" + qualified(kind, package)
            fields[int(number)] = (kind, label == "repeated", is_map)
        messages[f"{package}.{name}"] = fields
    return messages


def read_tags(folder):
    """The Go structs of one package: name -> number -> (JSON name or `.`, pointer, flags)."""
    structs = {}
    for path in sorted(folder.glob("*.go")):
        if path.name.startswith(("generated", "zz_generated")) or path.name.endswith("_test.go"):
            continue
        for name, body in GO_STRUCT.findall(path.read_text()):
            fields = {}
            for field, kind, tag in GO_FIELD.findall(re.sub(r"^\s*//.*", "", body, flags=re.M)):
                numbered = re.search(r'protobuf:"\w+,(\d+),', tag)
                if not numbered:
                    continue
                words = (re.search(r'json:"([^"]*)"', tag) or [None, ""])[1].split(",")
                inline = "inline" in words or not (words[0] or field)
                shown = "." if inline else words[0] or field
                flags = "e" * ("omitempty" in words) + "z" * ("omitzero" in words)
                fields[int(numbered.group(1))] = (shown, kind.startswith("*"), flags)
            structs[name] = fields
    return structs


def main():
    version = sys.argv[1]
    cache = subprocess.run(["go", "env", "GOMODCACHE"], check=True, capture_output=True, text=True).stdout.strip()
    messages, structs = {}, {}
    for module in MODULES:
        for path in pathlib.Path(cache, "k8s.io", f"{module}@{version}").rglob("generated.proto"):
            found = read_proto(path)
            messages.update(found)
            tags = read_tags(path.parent)
            structs.update({name: tags.get(name.rsplit(".", 1)[1], {}) for name in found})
    table = pathlib.Path(__file__).parent.parent / "src/builtin/facts.json"
    kinds = {
        gvk: name.removeprefix("io.k8s.").replace("-", "_")
        for gvk, name in json.loads(table.read_text())["kinds"].items()
    }
    kinds = {**{gvk: name for gvk, name in kinds.items() if name in messages}, **EXTRA_KINDS}
    for gvk, name in sorted(kinds.items()):
        print("kind", gvk, name)
    wanted, done = sorted(set(kinds.values())), set()
    while wanted:
        name = wanted.pop(0)
        if name in done:
            continue
        done.add(name)
        print("message", name, *(["union"] if name in UNIONS else []))
        for number, (kind, repeated, is_map) in sorted(messages[name].items()):
            if number not in structs[name]:
                sys.exit(f"{name}: field {number} has no Go field")
            shown, pointer, flags = structs[name][number]
            shape = "%" if is_map else "*" if repeated else "?" if pointer else "!"
            if kind.startswith("@"):
                target = kind[1:]
                if target in SPECIAL:
                    kind = SPECIAL[target]
                else:
                    wanted.append(target)
            print(number, shown, shape, kind, *([flags] if flags else []))


main()

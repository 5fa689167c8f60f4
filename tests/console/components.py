"""Makes plugins that differ in what they say of themselves: the manifest in a component is replaced by another."""

import json

SECTION = b"purlin:manifest"


def with_manifest(component, **changes):
    """The component with other fields in its manifest."""
    sections, manifest = [], None
    at = 8
    while at < len(component):
        start, kind = at, component[at]
        size, body = _number(component, at + 1)
        at = body + size
        content = component[body:at]
        if kind == 0:
            length, name = _number(content, 0)
            if content[name : name + length] == SECTION:
                manifest = json.loads(content[name + length :])
                continue
        sections.append(component[start:at])
    assert manifest is not None, "the component has no manifest"
    content = _bytes(len(SECTION)) + SECTION + json.dumps({**manifest, **changes}).encode()
    return component[:8] + b"".join(sections) + b"\0" + _bytes(len(content)) + content


def _number(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, at
        shift += 7


def _bytes(value):
    out = b""
    while True:
        value, low = value >> 7, value & 0x7F
        out += bytes([low | (0x80 if value else 0)])
        if not value:
            return out

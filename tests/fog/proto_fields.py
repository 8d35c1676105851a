"""The fields of generated protobuf modules, for comparing ours with another project's."""


def fields_of(*modules) -> dict:
    """Return number, type and repetition of every field of every message of modules, by message."""
    found: dict = {}

    def walk(message, prefix: str) -> None:
        name = prefix + message.name
        found[name] = {f.name: [f.number, f.type, f.is_repeated] for f in message.fields}
        for nested in message.nested_types:
            walk(nested, f"{name}.")

    for module in modules:
        for message in module.DESCRIPTOR.message_types_by_name.values():
            walk(message, "")
    return found

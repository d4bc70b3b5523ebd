"""promptport zoo: the embedded backbones."""

from __future__ import annotations

from promptport.cli.console import JsonFlag, print_json, print_table, quiet


def command(json_output: JsonFlag = False) -> None:
    """List the backbones that ship with promptport."""
    quiet()
    from promptport.backbone import describe_backbone
    from promptport.zoo import embedded_names

    found = [{"name": name, **describe_backbone(name)} for name in embedded_names()]
    if json_output:
        print_json({"backbones": found})
        return
    columns = [
        "name",
        "kind",
        "architecture",
        "width",
        "vocabulary",
        "words",
        "parameters",
        "megabytes",
    ]
    print_table(
        f"{len(found)} embedded backbones", columns, [[f[c] for c in columns] for f in found]
    )

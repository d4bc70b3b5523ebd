"""promptport models: those that come with promptport."""

from __future__ import annotations

from promptport.cli.console import JsonFlag, print_json, print_table, quiet


def command(json_output: JsonFlag = False) -> None:
    """List the models that come with promptport.

    They are tiny, know some facts and words, and need no network: for first steps and tests. Every
    command takes a model folder or a Hub id in their place.

    Example:
        promptport models
    """
    quiet()
    from promptport.backbone import describe_backbone
    from promptport.zoo import embedded_names

    models = [{"name": name, **describe_backbone(name)} for name in embedded_names()]
    if json_output:
        print_json({"backbones": models})
        return
    columns = ["name", "kind", "width", "vocabulary", "words", "parameters", "megabytes"]
    rows = [[model[column] for column in columns] for model in models]
    print_table(f"{len(models)} models that come with promptport", columns, rows)

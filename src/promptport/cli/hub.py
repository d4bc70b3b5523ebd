"""promptport push and pull: prompts on the Hub."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from promptport.cli.console import (
    ForceFlag,
    JsonFlag,
    check_other_prompt,
    check_out,
    command_line,
    note,
    print_facts,
    print_json,
    quiet,
    say,
    tell,
    written,
)
from promptport.progress import stage

if TYPE_CHECKING:
    from promptport.prompt import SoftPrompt


def push(
    prompt: Annotated[Path, typer.Argument(help="Prompt folder (ours or PEFT's).")],
    repo: Annotated[str, typer.Argument(help="Repository on the Hub, USER/NAME.")],
    base_model: Annotated[
        str | None,
        typer.Option(help="Hub id of the model, where the folder names a place on this machine."),
    ] = None,
    licence: Annotated[
        str | None, typer.Option("--license", help="Of the prompt, for instance apache-2.0.")
    ] = None,
    public: Annotated[
        bool, typer.Option("--public", help="A new repository is seen by everybody.")
    ] = False,
    revision: Annotated[str | None, typer.Option(help="Branch to commit to.")] = None,
    pull_request: Annotated[
        bool, typer.Option("--pull-request", help="Propose the commit instead.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be sent, and send nothing.")
    ] = False,
    json_output: JsonFlag = False,
) -> None:
    """Send a prompt to the Hub, with its model card.

    A repository that is not there yet is made, and is private unless --public is given. Log in
    with 'hf auth login' before. The card has base model, task, template, scores and history.

    Example:
        promptport push capital my-name/capital-prompt --dry-run
    """
    quiet()
    from promptport.storage.hub_prompts import push_prompt

    with stage(f"sending {prompt} to {repo}"):
        pushed = push_prompt(
            prompt,
            repo,
            base_model=base_model,
            licence=licence,
            public=public,
            revision=revision,
            pull_request=pull_request,
            dry_run=dry_run,
        )
    told: dict[str, Any] = {
        "repo": pushed.repo,
        "private": pushed.private,
        "url": pushed.url,
        "files": dict(pushed.files),
    }
    if json_output:
        print_json({**told, "card": pushed.card})
    else:
        rows = [[name, f"{size:,} bytes"] for name, size in pushed.files.items()]
        print_facts(f"{prompt} as {repo}", rows)
        if dry_run:
            tell(pushed.card)
    if dry_run:
        say("Nothing was sent. Send it with the same command without --dry-run.")
        return
    say(f"Sent: {pushed.url}")
    say("Get it on another machine:")
    say(f"  {command_line('pull', pushed.repo, out=repo.partition('/')[2])}")


def pull(
    repo: Annotated[str, typer.Argument(help="USER/NAME, or USER/NAME@REVISION.")],
    out: Annotated[Path, typer.Option(help="Prompt folder to write.")],
    force: ForceFlag = False,
    json_output: JsonFlag = False,
) -> None:
    """Get a prompt from the Hub, and check it.

    Prompts that PEFT wrote are taken as well. Nothing is unpickled. Other commands take USER/NAME
    in place of a prompt folder, too.

    Example:
        promptport pull my-name/capital-prompt --out capital
    """
    quiet()
    from promptport.history import public_name
    from promptport.storage.hub_prompts import pull_prompt

    def check(prompt: SoftPrompt) -> None:
        check_other_prompt(out, prompt.provenance.task, force=force)

    check_out(out)
    with stage(f"getting {repo}"):
        pulled = pull_prompt(repo, out, check=check)
    made = pulled.prompt.provenance
    told = {
        "repo": repo,
        "commit": pulled.commit,
        "model": public_name(made.backbone),
        "task": made.task,
        "template": made.template,
        "virtual_tokens": pulled.prompt.length,
        "notes": list(pulled.notes),
    }
    if json_output:
        print_json(told)
    else:
        rows = [[key.replace("_", " "), told[key]] for key in told if key != "notes" and told[key]]
        print_facts(f"{out}: whole and readable", rows)
    for line in pulled.notes:
        note(line)
    written(out, "Look at it", command_line("inspect", out))

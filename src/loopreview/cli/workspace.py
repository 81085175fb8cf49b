"""init, paths, config, completion."""

from pathlib import Path

import click

from loopreview.cli.call import Call, say, shared_options


@click.command()
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--template", default=None, metavar="NAME", help="support-agent (default), therapy-coach, tutor or blank."
)
@click.option(
    "--from",
    "from_dir",
    type=click.Path(path_type=Path),
    help="A folder with a rubric, prompts, taxonomy and personas.",
)
@shared_options
def init(call: Call, directory: Path, template: str | None, from_dir: Path | None) -> None:
    """Make a workspace in DIR."""
    from loopreview.models.errors import UserError
    from loopreview.workspace import init as make

    if template and from_dir:
        raise UserError("--template and --from are two ways to begin; give one of them")
    root = make(directory, template=template or "support-agent", from_dir=from_dir)
    document = {"workspace": str(root), "template": None if from_dir else template or "support-agent"}
    call.emit(document, lambda: [str(root)])
    say(f"made {root}; next: `cd {directory}` and `loopreview generate`, or `loopreview` for the terminal program")


@click.command()
@shared_options
def paths(call: Call) -> None:
    """Where things are."""
    import platformdirs

    from loopreview.workspace import starters

    with call.open() as workspace:
        found = {
            "workspace": workspace.root,
            "settings": workspace.root / "loopreview.toml",
            "rubric": workspace.rubric_path,
            "prompts": workspace.root / "prompts",
            "taxonomy": workspace.root / "taxonomy.yaml",
            "personas": workspace.root / "personas.yaml",
            "database": workspace.root / "loopreview.db",
            "jobs": workspace.root / ".jobs",
            "exports": workspace.root / "exports",
            "runs": workspace.root / "runs",
            "starters": starters() / "rubrics",
            "user_config": Path(platformdirs.user_config_dir("loopreview")),
        }
    document = {name: str(path) for name, path in found.items()}
    call.emit(document, lambda: [f"{name:12} {path}" for name, path in document.items()])


@click.command()
@shared_options
def config(call: Call) -> None:
    """The settings in force, and where each comes from."""
    import tomllib

    with call.open() as workspace:
        typed = tomllib.loads((workspace.root / "loopreview.toml").read_text(encoding="utf-8-sig"))
        values = workspace.settings.model_dump(mode="json")
    document = {
        "settings": {
            name: {"value": value, "from": "loopreview.toml" if name in typed else "default"}
            for name, value in values.items()
        }
    }
    call.emit(
        document,
        lambda: [f"{name:18} {entry['value']!s:50} {entry['from']}" for name, entry in document["settings"].items()],
    )


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script for your shell: `eval "$(loopreview completion bash)"`."""
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found is not None
    program = click.get_current_context().find_root().command
    click.echo(found(program, {}, "loopreview", "_LOOPREVIEW_COMPLETE").source())


COMMANDS = (init, paths, config, completion)

"""The command line. Only click is imported here; each command imports what it needs when it runs."""

import signal
import sys
import threading

import click

from loopreview import __version__
from loopreview.cli import (
    assess,
    audit,
    chat,
    data,
    demo,
    doctor,
    generate,
    ingest,
    report,
    review,
    rubric,
    runs,
    show,
    train,
    workspace,
)
from loopreview.cli.call import Call, shared_options
from loopreview.models.errors import UserError


@click.group(
    invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, "-V", "--version", message="loopreview %(version)s")
@shared_options
def cli(call: Call) -> None:
    """Review synthetic conversations, calibrate the judges, train on what you approved.

    Without a command: the terminal program, in the workspace of the current folder.
    """
    if click.get_current_context().invoked_subcommand is None:
        from loopreview.cli.terminal import open_terminal

        open_terminal(call.root)


for _module in (
    workspace, demo, generate, ingest, assess, show, review, report, rubric, audit, data, doctor, train, runs, chat,
):  # fmt: skip
    for _command in _module.COMMANDS:
        cli.add_command(_command)


def run() -> None:
    """Run the program and leave with its exit code: 0 done, 1 a gate or check said no, 2 user's error, 3 a provider
    or machine failed, 130 interrupted."""
    if threading.current_thread() is threading.main_thread():
        # A script that starts us in the background has us ignore ctrl+c; a job must hear it all the same, since that
        # is how it is cancelled.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for stream in (sys.stdout, sys.stderr):
        # Text that the terminal's encoding cannot show must not end the program.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = cli.main(standalone_mode=False, prog_name="loopreview")
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except UserError as error:
        from loopreview.cli.call import say

        say(f"loopreview: {error}")
        code = error.exit_code
    except click.Abort:  # ctrl+c or ctrl+d at a question: nothing has begun
        click.echo("\nleft without an answer; nothing was changed", err=True)
        code = 130
    except KeyboardInterrupt:
        click.echo("interrupted; what was stored stays, the same command goes on from there", err=True)
        code = 130
    except BrokenPipeError:
        # The reader of a pipe went away; nothing more to say to it.
        sys.stderr.close()
        code = 0
    sys.exit(code if isinstance(code, int) else 0)

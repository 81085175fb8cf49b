"""doctor: what this machine can train."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from loopreview.cli.call import Call, shared_options

if TYPE_CHECKING:
    from loopreview.train.machine import Machine


@click.command()
@click.option("--quick", is_flag=True, help="Without the self-test, which trains for a moment on each backend.")
@shared_options
def doctor(call: Call, quick: bool) -> None:
    """What this machine can train with, and the command that mends what is missing.

    Keys are looked for by name; their values are never read out. Exits with 0 whatever it finds.
    """
    from loopreview.cli.call import say
    from loopreview.train.machine import look

    if not quick:
        say("trying a tiny training on each backend; --quick leaves it out")
    machine = look(call.root, self_test=not quick)
    call.emit(_document(machine), lambda: _page(machine, tested=not quick))


def _document(machine: "Machine") -> dict[str, Any]:
    from loopreview.train.machine import TESTED

    return {
        "python": machine.python,
        "backends": {
            name: {"ready": found.ready, "why": found.why, "fix": found.fix} for name, found in machine.backends.items()
        },
        "devices": [
            {
                "kind": device.kind,
                "name": device.name,
                "memory_gb": _gb(device.memory),
                "free_gb": _gb(device.free),
                "compute": device.compute,
            }
            for device in machine.devices
        ],
        "packages": {name: {"version": version, "tested": TESTED[name]} for name, version in machine.packages.items()},
        "disk_gb": _gb(machine.disk_free),
        "keys": machine.keys,
    }


def _page(machine: "Machine", *, tested: bool) -> Iterator[str]:
    from loopreview.cli.call import table
    from loopreview.train.machine import TESTED, against_tested

    for name, found in machine.backends.items():
        yield f"{name:5} {'ready' if found.ready else 'not ready'}: {found.why}"
        if found.fix:
            yield f"      to mend it: {found.fix}"
    if not tested and any(found.ready for found in machine.backends.values()):
        yield "      not tried out (--quick)"
    yield ""
    devices = [(device.kind, device.name, _amount(device.memory), _amount(device.free)) for device in machine.devices]
    yield from table(devices, ("device", "name", "memory", "free"))
    yield f"disk    {_amount(machine.disk_free)} free"
    yield ""
    words = {"as tested": "", "newer": "newer than tested", "older": "older than tested"}
    rows = [
        (name, version or "not installed", TESTED[name], words[against_tested(name, version)] if version else "")
        for name, version in machine.packages.items()
    ]
    yield from table([("Python", machine.python, "", ""), *rows], ("package", "installed", "tested", ""))
    yield ""
    present = [name for name, there in machine.keys.items() if there]
    yield f"keys set: {', '.join(present) or 'none'}"
    missing = [name for name, there in machine.keys.items() if not there]
    if missing:
        yield f"not set:  {', '.join(missing)}"


def _gb(count: int) -> float:
    """Of 10^9 bytes, as everywhere in what a plan says."""
    return round(count / 1e9, 1)


def _amount(count: int) -> str:
    return f"{_gb(count)} GB" if count else "unknown"


COMMANDS = (doctor,)

"""The command line: one file per verb, loaded when it is asked for.

Exit codes: 0 done, 1 failed, 2 misused, 130 interrupted. Results go to stdout, everything else to stderr.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError, Parameter

from mobilenets.errors import MobileNetsError, UnknownNameError
from mobilenets.version import __version__

VERBS: dict[str, str] = {
    "fit": "The most accurate MobileNet that fits a budget: searched, trained, exported, measured, verified.",
    "train": "Train one network on a folder of images.",
    "search": "Search an architecture for your images and your device: new tables, trained and proven.",
    "adapt": "Make a trained network narrower until it meets a budget on your device (NetAdapt).",
    "check": "Find what is wrong with a data set: broken files, copies, leaks, odd sizes, unequal classes.",
    "serve": "Answer over HTTP what models say of images; with a page to try them.",
    "evaluate": "Score a checkpoint or an exported file on labelled images.",
    "predict": "Classes, boxes or masks of images, with a checkpoint or an exported file.",
    "quantize": "int8 that holds its accuracy: techniques tried and scored until one passes.",
    "export": "Write a checkpoint in one format or in several, preprocessing inside, each proven in its own runtime.",
    "convert": "Take the tensors out of a pickle (.pth) and write them as safetensors.",
    "bench": "Measure the latency of exported files, checkpoints or networks on a device.",
    "latency": "The latency table of a device: built by timing, read to predict.",
    "list": "Networks in the index.",
    "show": "A network's table as the paper prints it, with what each row costs.",
    "cost": "Parameters, macs, bytes and memory of a network, layer by layer.",
    "compare": "Networks side by side; macs against published accuracy as a picture.",
    "explain": "The arithmetic of standard, depthwise, pointwise and separable convolution.",
    "demo": "Run `fit` on generated scenes: see the whole chain in a few minutes.",
}
"""Verb -> its help line. The verb's function is `mobilenets.cli.VERB:run` (`list_` for `list`)."""

NESTED = ("latency",)
"""Verbs with verbs of their own: `mobilenets.cli.VERB:app`."""

INTERRUPTED = 130


def app() -> App:
    """The command tree; no verb's module is imported yet."""
    tree = App(
        name="mobilenets",
        help="The most accurate MobileNet for your images and your budget, proven on your device.",
        version=__version__,
        result_action="return_value",
        default_parameter=Parameter(negative=()),
    )
    for verb, text in VERBS.items():
        module = "list_" if verb == "list" else verb  # `list` would hide the builtin
        tree.command(f"mobilenets.cli.{module}:{'app' if verb in NESTED else 'run'}", name=verb, help=text)
    return tree


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    for stream, errors in ((sys.stdout, "backslashreplace"), (sys.stdin, "surrogateescape")):
        if isinstance(stream, io.TextIOWrapper):  # names of files need not be UTF-8
            stream.reconfigure(errors=errors)
    sys.exit(_run(list(sys.argv[1:] if arguments is None else arguments)))


def _run(arguments: list[str]) -> int:
    try:
        if arguments and arguments[0] not in VERBS and not arguments[0].startswith("-"):
            raise UnknownNameError("verb", arguments[0], VERBS, hint="`mobilenets --help` lists all.")
        result = app()(arguments, exit_on_error=False, print_error=False)
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except CycloptsError as error:
        return _fail(str(error), 2, hint=_help_hint(arguments))
    except MobileNetsError as error:
        return _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        return _fail("interrupted.", INTERRUPTED)
    except BrokenPipeError:
        # the reader of our output left (`| head`): nothing is wrong, but the interpreter must not flush again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        return _fail(_os_message(error), 1)


def _fail(message: str, code: int, *, hint: str = "") -> int:
    print(f"mobilenets: {message}" + (f"\n{hint}" if hint else ""), file=sys.stderr)
    return code


def _help_hint(arguments: list[str]) -> str:
    verb = next((a for a in arguments if a in VERBS), "")
    return f"`mobilenets {verb + ' ' if verb else ''}--help` shows what it takes."


def _os_message(error: OSError) -> str:
    where = f": {error.filename}" if error.filename else ""
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return f"no space left on the device{where}. Free some space and run again, a run folder with --resume."
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return f"not allowed to write or read{where} ({error.strerror}). Choose another place with --out."
        case _:
            return f"{error.strerror or error}{where}."

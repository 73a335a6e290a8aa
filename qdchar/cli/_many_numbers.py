"""A command one of whose options takes several numbers after one flag: ``--loss 5 10 15``."""

from __future__ import annotations

import click

_FLAGS = {"--loss": "losses in dB", "--km": "lengths in km"}


class ManyLosses(click.Command):
    """A command whose ``--loss`` and ``--km`` take all the numbers that follow them."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Repeat the flag before every number that follows it, as click reads several values."""
        repeated: list[str] = []
        for i, argument in enumerate(args):
            if argument in _FLAGS:
                following = args[i + 1] if i + 1 < len(args) else "nothing"
                if not is_number(following):
                    raise click.BadParameter(
                        f"{following!r} follows; give one or more {_FLAGS[argument]}",
                        param_hint=argument,
                    )
                continue
            flag = _flag_before(args[:i]) if is_number(argument) else None
            repeated += [argument] if flag is None else [flag, argument]
        return super().parse_args(ctx, repeated)


def is_number(text: str) -> bool:
    """Whether a word of the command line is a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def _flag_before(before: list[str]) -> str | None:
    """Return the flag since which only numbers were given; None without one."""
    while before and is_number(before[-1]):
        before = before[:-1]
    return before[-1] if before and before[-1] in _FLAGS else None

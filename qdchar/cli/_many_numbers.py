"""A command one of whose options takes several numbers after one flag: ``--loss 5 10 15``."""

from __future__ import annotations

import click


class ManyLosses(click.Command):
    """A command whose ``--loss`` takes all the numbers that follow it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Repeat the flag before every number that follows it, as click reads several values."""
        repeated: list[str] = []
        for i, argument in enumerate(args):
            if argument == "--loss":
                following = args[i + 1] if i + 1 < len(args) else "nothing"
                if not is_number(following):
                    raise click.BadParameter(
                        f"{following!r} follows; give one or more losses in dB", param_hint="--loss"
                    )
            elif is_number(argument) and _after_loss(args[:i]):
                repeated += ["--loss", argument]
            else:
                repeated.append(argument)
        return super().parse_args(ctx, repeated)


def is_number(text: str) -> bool:
    """Whether a word of the command line is a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def _after_loss(before: list[str]) -> bool:
    """Whether only numbers stand between here and the last ``--loss``."""
    while before and is_number(before[-1]):
        before = before[:-1]
    return bool(before) and before[-1] == "--loss"

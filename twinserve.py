"""The command line: one lazy click group. Each verb's module is imported when the verb is asked for."""

from __future__ import annotations

from importlib import import_module

import click

VERBS = {
    "run": "runs",
    "replay": "replays",
    "calibrate": "calibration",
    "capture": "calibration",
    "shadow": "shadow",
    "report": "runs",
    "compare": "runs",
    "sweep": "studies",
    "search": "studies",
    "plan": "planning",
    "tune": "tuning",
    "figures": "pictures",
    "fingerprint": "fingerprint",
    "traces": "traces",
    "policies": "policies",
    "config": "config",
}
"""Each verb's module in ``figures.verbs``, in the order in which ``--help`` shows them."""


class _Verbs(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in VERBS:
            return None
        command: click.Command = getattr(import_module(f"figures.verbs.{VERBS[name]}"), name)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in VERBS and not args[0].startswith("-"):
            from traces.scenario.document import nearest

            ctx.fail(f"there is no verb `{args[0]}`; {nearest(args[0], list(VERBS))}")
        return super().resolve_command(ctx, args)


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="twinserve")
def main() -> None:
    """Simulate an LLM serving fleet, and see what its users would feel and what it would cost."""


if __name__ == "__main__":
    main()

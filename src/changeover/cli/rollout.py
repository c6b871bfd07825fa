"""`changeover rollout …`: a version on its way to the traffic. Looking, steering, watching, plans: a file each."""

from __future__ import annotations

import typer

from changeover.cli import rollout_lint, rollout_look, rollout_steer, rollout_watch

app = typer.Typer(help="Versions on their way to the traffic.", no_args_is_help=True)


@app.callback()
def rollout() -> None:
    """Versions on their way to the traffic."""


app.command()(rollout_steer.start)
app.command()(rollout_look.status)
app.command()(rollout_watch.watch)
app.command("list")(rollout_look.list_rollouts)
app.command()(rollout_look.history)
app.command()(rollout_look.explain)
app.command()(rollout_steer.pause)
app.command()(rollout_steer.resume)
app.command()(rollout_steer.weight)
app.command()(rollout_steer.promote)
app.command()(rollout_steer.abort)
app.command()(rollout_lint.lint)

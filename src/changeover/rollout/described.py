"""What clients are told of a version beside its signature: its Triton configuration and the labels of its classes."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from changeover.errors import InvalidPlan, ModelRejected
from changeover.lifecycle.labels import label_file
from changeover.rollout.offer import config_in
from changeover.rollout.triton_config import require_fitting, understood

if TYPE_CHECKING:
    from changeover.rollout.loading import Loading
    from changeover.transport.control import Signature

log = logging.getLogger("changeover.controller")

Description = tuple[dict[str, Any] | None, dict[str, str]]
"""The configuration, None without a file, and the paths of label files by output."""


def described(loading: Loading, model_folder: Path | None, signature: Signature) -> Description:
    """Read what lies beside a version, or beside its model.

    A version that was chosen before serves without what cannot be read any more: a mistake made in a file since then
    takes nothing down.

    Raises:
        ModelRejected: it does not fit the model, or a label file cannot be read.
    """
    folders = [loading.artifact.folder] + ([model_folder] if model_folder is not None else [])
    try:
        return _config(folders, signature), _labels(loading.plan.labels, folders, signature)
    except (ModelRejected, InvalidPlan) as error:
        if not loading.chosen:
            raise error if isinstance(error, ModelRejected) else _refused(error) from None
        log.error("%r serves without its labels and configuration: %s", loading, error.message)  # noqa: TRY400
        return None, {}


def _refused(error: InvalidPlan) -> ModelRejected:
    return ModelRejected(error.message, reason=error.reason)


def _config(folders: Iterable[Path], signature: Signature) -> dict[str, Any] | None:
    text = config_in(folders)
    if text is None:
        return None
    config = understood(text).config
    require_fitting(config, signature)
    return config


def _labels(labels: dict[str, str], folders: Iterable[Path], signature: Signature) -> dict[str, str]:
    known = {entry.name for entry in signature.outputs}
    for output in labels:
        if output not in known:
            raise ModelRejected(
                f"labels are given for {output!r}, and the model's outputs are {', '.join(sorted(known))}.",
                reason="labels_unreadable",
            )
    return {output: str(label_file(name, folders)) for output, name in labels.items()}

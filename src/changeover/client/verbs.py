"""The control API, one method an endpoint. How a request travels, and whether one waits for it, is the subclass's."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Generic, TypeVar

from changeover.client.ask import Ask, control_path, get, one_rollout, post

One = TypeVar("One")
"""What a method gives back that answers one document: the document, or an awaitable of it."""
Many = TypeVar("Many")


class ControlVerbs(ABC, Generic[One, Many]):
    """The verbs of the control port.

    Every one raises a `ChangeoverError`: what the server said, or `Unreachable`. A verb that changes something
    answers when it is done.
    """

    @abstractmethod
    def _one(self, ask: Ask) -> One:
        """Return the answer's document."""

    @abstractmethod
    def _many(self, ask: Ask, member: str) -> Many:
        """Return the list that is this member of the answer's document."""

    def models(self) -> Many:
        """Return all models with their versions."""
        return self._many(get("/v1/models"), "models")

    def model(self, name: str) -> One:
        """Return one model with its versions."""
        return self._one(get(control_path("models", name)))

    def start(self, name: str, version: str, plan: Mapping[str, object] | None = None) -> One:
        """Start a rollout to a version that the server knows; `plan` counts over the version's own."""
        return self._one(post(control_path("models", name, "rollout"), {"version": version, "plan": plan or {}}))

    def status(self, name: str) -> One:
        """Return the model's present or latest rollout."""
        return self._one(get(control_path("models", name, "rollout")))

    def history(self, name: str) -> Many:
        """Return the model's rollouts, newest first."""
        return self._many(get(control_path("models", name, "rollouts")), "rollouts")

    def pause(self, name: str) -> One:
        """Stop the model's rollout where it is; the share of the traffic stays."""
        return self.steer(name, "pause")

    def resume(self, name: str) -> One:
        """Go on with a paused rollout."""
        return self.steer(name, "resume")

    def promote(self, name: str) -> One:
        """Give the new version all traffic now, whatever steps are left."""
        return self.steer(name, "promote")

    def abort(self, name: str) -> One:
        """Give all traffic back to the version that served before."""
        return self.steer(name, "abort")

    def undo(self, name: str) -> One:
        """Give all traffic back after the promotion, while the previous version is kept warm."""
        return self.steer(name, "undo")

    def set_weight(self, name: str, share: str | float) -> One:
        """Set the new version's share of the traffic: `25%`, or 0.25."""
        return self.steer(name, "weight", {"weight": share})

    def rollout(self, rollout: str) -> One:
        """Return one rollout by its id."""
        return self._one(one_rollout(rollout))

    def explain(self, rollout: str) -> One:
        """Return why a rollout is where it is, in sentences."""
        return self._one(get(control_path("rollouts", rollout, "explain")))

    def certificate(self, rollout: str) -> One:
        """Return the certificate of a rollout."""
        return self._one(get(control_path("rollouts", rollout, "certificate")))

    def sequences(self, name: str) -> One:
        """Return the model's live sequences, with their number."""
        return self._one(get(control_path("models", name, "sequences")))

    def sequence(self, name: str, sequence: int | str) -> One:
        """Return one live sequence with its states."""
        return self._of_sequence(name, "show", {"id": sequence})

    def end_sequence(self, name: str, sequence: int | str) -> One:
        """End a sequence without a step."""
        return self._of_sequence(name, "end", {"id": sequence})

    def export_sequence(self, name: str, sequence: int | str) -> One:
        """Return a live sequence with its state, as `import_sequence` takes it."""
        return self._of_sequence(name, "export", {"id": sequence})

    def import_sequence(self, name: str, document: Mapping[str, object]) -> One:
        """Bring an exported sequence into the model's active version."""
        return self._of_sequence(name, "import", document)

    def _of_sequence(self, name: str, verb: str, body: Mapping[str, object]) -> One:
        return self._one(post(control_path("models", name, "sequences", verb), body))

    def steer(self, name: str, verb: str, body: Mapping[str, object] | None = None) -> One:
        """Ask something of the model's rollout: `pause`, `resume`, `promote`, `abort`, `undo`, `weight`."""
        return self._one(post(control_path("models", name, "rollout", verb), body))

"""Every metric: its name, kind and meaning. Pure; docs/monitoring.md has the same table, and a test compares them."""

from __future__ import annotations

from typing import Final

from changeover.protocol.exposition import Family, Kind

_PREFIX: Final = "changeover_"
METRICS: Final[tuple[tuple[str, Kind, str, str], ...]] = (
    ("requests", "counter", "", "Requests answered, with errors too, and those whose client went away."),
    ("request_errors", "counter", "", "Requests answered with an error, by its reason and whose fault it was."),
    ("unrouted_request_errors", "counter", "", "Errors of requests that came to no model or version."),
    ("request_duration_seconds", "histogram", "seconds", "From a request's first byte to its good answer."),
    ("request_duration_recent_seconds", "gauge", "seconds", "Quantiles of the good answers of the last 30 s."),
    ("requests_recent", "gauge", "", "Good answers in the last 30 s."),
    ("requests_in_flight", "gauge", "", "Requests without an answer."),
    ("requests_shed", "counter", "", "Requests refused because there was no room or no time for them."),
    ("requests_shielded", "counter", "", "Requests that this version failed and the active one answered."),
    ("requests_mirrored", "counter", "", "Copies of requests that this version was given."),
    ("request_stage_seconds", "summary", "seconds", "Time of the requests that were run, by what it went to."),
    ("batch_size_rows", "histogram", "rows", "Rows that were run together."),
    ("version_info", "gauge", "", "A version that lives, with its role and state."),
    ("version_weight_ratio", "gauge", "ratio", "Share of the model's routed requests that goes to the version."),
    ("sequences", "gauge", "", "Live sequences whose state is at the version."),
    ("worker_resident_memory_bytes", "gauge", "bytes", "Resident memory of the version's worker."),
    ("worker_proportional_memory_bytes", "gauge", "bytes", "The same with shared pages divided (PSS), minutes old."),
    ("worker_cpu_seconds", "counter", "seconds", "Processor time of the version's worker."),
    ("worker_restarts", "counter", "", "Workers of the version that were replaced."),
    ("worker_crash_loop", "gauge", "", "1 while the version's workers die again and again."),
    ("worker_session_load_seconds", "gauge", "seconds", "What the version's session took to load."),
    ("rollout_info", "gauge", "", "The last rollout of a model."),
    ("rollout_phase", "gauge", "", "1 for the phase that the rollout is in."),
    ("rollout_step", "gauge", "", "Step of the plan that the rollout is at, from 1; 0 for none."),
    ("rollout_steps", "gauge", "", "Steps of the plan, the promotion included."),
    ("rollout_step_held_seconds", "gauge", "seconds", "How long the rollout has been at its step."),
    ("rollout_moved_timestamp_seconds", "gauge", "seconds", "When the rollout went into its phase or step."),
    ("rollout_verdict", "gauge", "", "1 for what the judge said last."),
    ("process_resident_memory_bytes", "gauge", "bytes", "Resident memory of the other processes."),
    ("process_cpu_seconds", "counter", "seconds", "Processor time of the other processes."),
    ("memory_limit_bytes", "gauge", "bytes", "Memory of the machine, and of the control group that limits it."),
    ("memory_available_bytes", "gauge", "bytes", "What of it is free."),
    ("gpu_utilization_ratio", "gauge", "ratio", "Share of the time in which the graphics processor ran anything."),
    ("gpu_memory_used_bytes", "gauge", "bytes", "Memory in use of the graphics processor."),
    ("gpu_memory_limit_bytes", "gauge", "bytes", "Memory of the graphics processor."),
    ("build_info", "gauge", "", "The release that runs."),
    ("ready", "gauge", "", "1 when the server has finished its first load."),
    ("controller_term", "gauge", "", "Rises by one whenever another controller takes over."),
)


def empty() -> dict[str, Family]:
    """A family without series for each, by name without the prefix."""
    return {name: Family(_PREFIX + name, kind, about, unit) for name, kind, unit, about in METRICS}

"""What a gateway tells the controller, and when."""

from __future__ import annotations

import asyncio

import msgspec

from changeover.gateway.reporter import Reporter
from changeover.transport.link import Frame, Kind
from changeover.transport.reports import Observations
from tests.gateway.stage import entry, question, stage


def read(frames: list[Frame]) -> list[Observations]:
    """The reports among these frames; they are taken out."""
    found = [msgspec.json.decode(f.body, type=Observations) for f in frames if f.kind is Kind.OBSERVED]
    frames.clear()
    return found


def test_news_is_told_once() -> None:
    """What is told is cumulative; without a request there is nothing to tell. Outside of a rollout, no evidence."""

    async def scenario() -> None:
        async with stage() as here:
            (worker,) = here.serve(1, entry(7, "1"))
            reporter = Reporter(here.models, here.told.append)
            for total in (1, 2):
                request = here.ask(question())
                await worker.serve_one(2.0)
                await here.answered(request)
                here.told.clear()
                reporter.report()
                (report,) = read(here.told)
                (seen,) = report.loadings
                assert (seen.loading, seen.model, seen.requests, seen.failed, seen.instances) == (7, "m", total, 0, 1)
                assert (sum(seen.latency.values()), seen.busy_ns) == (total, 1000 * total)
                assert not report.tallies
            reporter.report()
            assert not read(here.told)

    asyncio.run(scenario())


def test_a_new_controller_is_told_again_what_a_step_has_counted() -> None:
    """Of both versions; what it was told is not told once more."""

    async def scenario() -> None:
        async with stage() as here:
            old, new = here.serve(1, entry(7, "1"), entry(8, "2"), weight=0, candidate=8, mirror=10_000)
            reporter = Reporter(here.models, here.told.append)
            serving = [asyncio.create_task(w.serve(2.0)) for w in (old, new)]
            await here.answered(here.ask(question()))
            pairs = here.models.by_name["m"].mirrors[0].pairs
            await here.until(lambda: pairs.compared, "the comparison")
            found = []
            for _ in range(2):
                here.told.clear()
                reporter.report()
                reports = read(here.told)
                tallies = {t.loading: t.requests for r in reports for t in r.tallies if t.member}
                found.append((tallies, [p.compared for r in reports for p in r.pairs]))
                reporter.report()
                assert not read(here.told)
                reporter.forget()
            assert found[0] == found[1]
            assert found[0] == ({7: 1, 8: 0}, [1])
            for task in serving:
                task.cancel()

    asyncio.run(scenario())


def test_both_arms_are_told_at_one_time() -> None:
    """Each with its epoch and worker, and the work of its runs."""

    async def scenario() -> None:
        async with stage() as here:
            one, two = here.serve(1, entry(7, "1"), entry(8, "2"), weight=5000, candidate=8)
            reporter = Reporter(here.models, here.told.append)
            serving = [asyncio.create_task(w.serve(2.0)) for w in (one, two)]
            requests = [here.ask(question(headers={b"changeover-key": b"%d" % n})) for n in range(20)]
            await here.answered(*requests)
            pinned = here.ask(question(headers={b"changeover-version": b"candidate"}))
            await here.answered(pinned)
            here.told.clear()
            reporter.report()
            reports = [r for r in read(here.told) if r.tallies]
            assert len({r.at_ns for r in reports}) == 1
            arms = {t.loading: t for r in reports for t in r.tallies if t.member}
            assert {n: (t.epoch, t.member) for n, t in arms.items()} == {7: (1, one.member), 8: (1, two.member)}
            assert arms[7].requests + arms[8].requests == 20
            assert sum(n for t in arms.values() for _, _, n in t.keys) == 20
            assert all(counts for t in arms.values() for counts in t.work.values())
            for task in serving:
                task.cancel()

    asyncio.run(scenario())


def test_errors_are_told_with_their_reasons() -> None:
    """The caller's too, and those of requests that came to no model; each once."""

    async def scenario() -> None:
        async with stage() as here:
            (worker,) = here.serve(1, entry(7, "1"))
            reporter = Reporter(here.models, here.told.append, here.pipeline.unrouted)
            wrong, failing = here.ask(question(outputs=[{"name": "w"}])), here.ask(question())
            nobody = here.ask(question(headers={b"changeover-version": b"9"}))
            header, _ = await worker.take()
            here.told.clear()
            reporter.report()
            told = read(here.told)
            assert [seen.in_flight for report in told for seen in report.loadings] == [1]
            worker.refuse(header)
            await here.answered(wrong, failing, nobody)
            reporter.report()
            (seen,) = [seen for report in read(here.told) for seen in report.loadings]
            faults = {(protocol, fault): count for protocol, _, fault, count in seen.errors}
            assert faults == {("http", "caller"): 1, ("http", "model"): 1}
            assert seen.in_flight == 0
            unrouted = [error for report in told for error in report.unrouted]
            assert unrouted == [("http", "version_not_found", "caller", 1)]
            reporter.report()
            assert not read(here.told)

    asyncio.run(scenario())

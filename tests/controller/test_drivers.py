"""The drivers of all models: one each, and a word of the route page for each."""

from __future__ import annotations

from pathlib import Path

import pytest

from changeover.controller.service import Service
from changeover.errors import InvalidRequest, NotFound
from changeover.transport import page
from tests.controller.service_house import Client, House


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def test_each_model_has_one_driver(house: House) -> None:
    """It is made once, and known from then on; a model that nobody made is not known."""

    async def script(service: Service, _: Client) -> None:
        made = service.drivers.made("other")
        assert service.drivers.made("other") is made is service.drivers.known("other")
        assert service.drivers.serving() == ["mnist"]
        with pytest.raises(NotFound, match=r"known: mnist, other") as caught:
            service.drivers.known("third")
        assert caught.value.reason == "model_not_found"

    house.put(1)
    house.run(script)


def test_there_are_as_many_places_as_words(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model that has a place keeps it; one more is refused before anything of it is recorded."""

    async def script(service: Service, _: Client) -> None:
        monkeypatch.setattr("changeover.controller.words.WORDS", page.SERVER_WORD + 2)
        service.drivers.check_place("mnist")
        for ask in (service.drivers.check_place, service.drivers.made):
            with pytest.raises(InvalidRequest) as caught:
                ask("other")
            assert caught.value.reason == "too_many_models"
        assert list(service.drivers.by_model) == ["mnist"]

    house.put(1)
    house.run(script)

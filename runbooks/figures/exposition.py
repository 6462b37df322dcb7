"""Readings as Prometheus reads them: gauges with a name, moments as unix seconds, and nothing of what nobody knows.

Each sample has the estate as a label, so that the files of two estates go into one folder. Prometheus takes a
series that ends for "not so any more"; of a figure that is there only while it is so, `mystocks_read` and
`mystocks_blind` say whether that is what its absence means.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from runbooks.figures.kinds import Figure, Reading, Sample
from runbooks.figures.names import EXPORTED, FIGURES

ESTATE = "estate"


def text(estate: str, reading: Reading) -> str:
    """The exposition of one estate, as the text format has it."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Told(estate, (*reading.samples, *_of_itself(reading))))
    return generate_latest(registry).decode()


def _of_itself(reading: Reading) -> Iterator[Sample]:
    yield Sample("exposition_timestamp_seconds", reading.at)
    for name in sorted(reading.read):
        if FIGURES[name].only_while:
            yield Sample("read", 1, {"figure": name})
    for name, labels in reading.blind:
        yield Sample("blind", 1, {"figure": name, **labels})


class _Told(Collector):
    def __init__(self, estate: str, samples: Iterable[Sample]) -> None:
        self._estate, self._samples = estate, tuple(samples)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        for name, figure in EXPORTED.items():
            mine = [one for one in self._samples if one.figure == figure.name]
            if mine:
                yield self._family(name, figure, mine)

    def _family(self, name: str, figure: Figure, samples: Iterable[Sample]) -> GaugeMetricFamily:
        family = GaugeMetricFamily(name, figure.help, labels=(ESTATE, *figure.labels))
        for one in samples:
            family.add_metric([self._estate, *(one.labels[label] for label in figure.labels)], float(one.value))
        return family

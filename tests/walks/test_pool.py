"""Streams of walks: order, laziness, memory, and requests that are not what they should be."""

from __future__ import annotations

import gc
import io
import itertools
import threading
import tracemalloc
from types import SimpleNamespace

import pytest
import torch

from latentpath.core.errors import InputError, ShapeError
from latentpath.generators import FunctionGenerator
from latentpath.models import Networks
from latentpath.walks import (
    FastConfig,
    PathResult,
    Request,
    WalkResult,
    fixed_micro_batch,
    walk_stream,
)
from support.tiny_walks import D, Setting, quick


@pytest.fixture
def setting():
    return Setting()


def endless(setting, taken):
    for number in itertools.count():
        taken.append(number)
        yield setting.requests([number % 9])[0]


class TestOrder:
    @pytest.mark.parametrize("in_flight", [0, 1, 2, 7])
    def test_streamed_as_in_one_batch(self, setting, in_flight):
        together = setting.walk()
        stream = setting.stream(iter(setting.requests()), in_flight=in_flight)
        streamed = WalkResult.of(list(stream), "fast")
        assert torch.equal(streamed.latents, together.latents)
        assert torch.equal(streamed.after.total, together.after.total)
        assert streamed.stopped == together.stopped

    def test_the_number_of_requests_changes_nothing(self, setting):
        alone = next(iter(setting.stream(setting.requests([0]))))
        among = next(iter(setting.stream(setting.requests([0, *range(9)] * 3))))
        assert torch.equal(alone.latents, among.latents)
        assert torch.equal(alone.after.total, among.after.total)

    def test_quick_paths_wait_for_slow_ones(self, setting):
        # The first path takes longest to settle; the others may not overtake it.
        requests = setting.requests(range(3))
        options = {"config": quick(passes=40.0), "in_flight": 2}
        passes = [result.passes for result in setting.stream(requests, **options)]
        requests.insert(0, requests.pop(passes.index(max(passes))))
        results = list(setting.stream(requests, **options))
        assert results[0].passes == max(passes) > min(passes)
        for request, result in zip(requests, results, strict=True):
            assert torch.equal(result.latents[0], request.start)
            assert torch.equal(result.latents[-1], request.end)

    def test_a_path_of_more_points_than_are_wanted_in_flight_flies_alone(self, setting):
        results = []
        options = {"steps": 24, "micro_batch": 1, "config": quick(passes=1.0, starts=1)}

        def run():
            results.extend(setting.stream(setting.requests(range(2)), **options))

        thread = threading.Thread(target=run, daemon=True)  # so that waiting for ever can end
        thread.start()
        thread.join(120)
        assert [len(result.latents) for result in results] == [24, 24]

    def test_nothing(self, setting):
        assert list(setting.stream([])) == []
        assert list(setting.stream(iter(()))) == []


class TestMemory:
    def test_requests_are_taken_as_they_are_needed(self, setting):
        taken = []
        stream = setting.stream(endless(setting, taken), in_flight=3)
        assert len(taken) <= 1
        for number, _ in enumerate(itertools.islice(stream, 20)):
            # In flight, finished ones that wait, and those that came out in one go.
            assert len(taken) <= number + 1 + 6 * 3
        stream.close()

    def test_hundreds_of_paths_leave_nothing_behind(self, setting):
        config = quick(passes=1.0, coarsest=1)
        requests = itertools.chain.from_iterable(itertools.repeat(setting.requests()[:8], 100))
        stream = setting.stream(requests, steps=3, config=config, micro_batch=64)
        tracemalloc.start()
        try:
            assert sum(1 for _ in itertools.islice(stream, 200)) == 200
            first = tracemalloc.get_traced_memory()[0]
            assert sum(1 for _ in itertools.islice(stream, 600)) == 600
            grown = tracemalloc.get_traced_memory()[0] - first
        finally:
            tracemalloc.stop()
        # A list of all results would be hundreds of bytes a path.
        assert grown < 600 * 50
        alive = sum(type(thing) is PathResult for thing in gc.get_objects())
        assert alive < 150

    def test_a_kept_path_keeps_no_other(self, setting):
        result = next(iter(setting.stream(setting.requests())))
        assert result.latents.untyped_storage().nbytes() == 17 * D * 4
        buffer = io.BytesIO()
        torch.save(result.latents, buffer)
        assert len(buffer.getvalue()) < 17 * D * 4 + 2000

    def test_a_stream_may_be_left(self, setting):
        stream = setting.stream(setting.requests() * 10, in_flight=2)
        next(stream)
        stream.close()
        assert list(stream) == []
        assert len(list(setting.stream(setting.requests()))) == 9


class TestBadRequests:
    def test_an_error_of_the_iterable_comes_in_its_turn(self, setting):
        def requests():
            yield from setting.requests()[:5]
            raise OSError("the disk is gone")

        whole = setting.walk()
        found = []
        with pytest.raises(OSError, match="disk is gone"):
            found.extend(setting.stream(requests(), in_flight=3))
        assert len(found) == 5
        assert all(torch.equal(f.latents, whole.latents[i]) for i, f in enumerate(found))

    def test_an_error_before_the_first(self, setting):
        def requests():
            raise OSError("no disk")
            yield

        with pytest.raises(OSError, match="no disk"):
            list(setting.stream(requests()))

    def test_an_interrupt_comes_at_once(self, setting):
        def requests():
            yield from setting.requests()[:5]
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            list(setting.stream(requests(), in_flight=3))
        assert not setting.classifier.training
        assert len(list(setting.stream(setting.requests()))) == 9

    @pytest.mark.parametrize("place", [0, 3])
    @pytest.mark.parametrize(
        ("request_", "text"),
        [
            (Request(torch.zeros(1, D), torch.zeros(1, D), 0), "floating-point"),
            (Request(torch.zeros(()), torch.zeros(()), 0), "floating-point"),
            (Request(torch.zeros(D), torch.zeros(D - 1), 0), "floating-point"),
            (Request(torch.zeros(D).long(), torch.zeros(D).long(), 0), "int64"),
            (Request(torch.zeros(D), torch.zeros(D, device="meta"), 0), "meta"),
            (Request([0.0] * D, [0.0] * D, 0), "a list"),
            (Request(torch.zeros(D), torch.full((D,), float("nan")), 0), "finite"),
            (Request(torch.zeros(D), torch.full((D,), float("inf")), 0), "finite"),
            (Request(torch.zeros(D), torch.zeros(D), 1.5), "label"),
            (Request(torch.zeros(D), torch.zeros(D), None), "label"),
            (Request(torch.zeros(D), torch.zeros(D), True), "label"),
            (Request(torch.zeros(D), torch.zeros(D), torch.zeros(2).long()), "label"),
            ((torch.zeros(D), torch.zeros(D), 0), "a tuple as request"),
            (None, "a NoneType as request"),
        ],
    )
    def test_odd_ones_are_refused_after_what_came_before(self, setting, place, request_, text):
        requests = setting.requests()
        requests[place] = request_
        found = []
        with pytest.raises(InputError, match=text) as raised:
            found.extend(setting.stream(requests, steps=3))
        assert "\n" not in str(raised.value)
        assert len(found) == place

    def test_another_width_than_the_first(self, setting):
        requests = [*setting.requests(), Request(torch.zeros(D + 1), torch.zeros(D + 1), 0)]
        with pytest.raises(ShapeError, match=rf"\[{D}\].*\[{D + 1}\].* in request 9"):
            list(setting.stream(requests, steps=3))

    def test_another_width_than_the_generator(self, setting):
        with pytest.raises(InputError):
            setting.stream([Request(torch.zeros(D + 1), torch.zeros(D + 1), 0)])

    def test_labels_may_be_of_any_integer_kind(self, setting):
        plain = setting.requests([2])[0]
        for label in (torch.tensor(2), torch.tensor([2]), torch.tensor(2, dtype=torch.int8)):
            request = Request(plain.start, plain.end, label)
            (result,), (wanted,) = (list(setting.stream([r])) for r in (request, plain))
            assert torch.equal(result.latents, wanted.latents)

    @pytest.mark.parametrize("options", [{"in_flight": -1}, {"micro_batch": 1.5}, {"steps": 2}])
    def test_options_are_checked_before_any_request_is_taken(self, setting, options):
        taken = []
        with pytest.raises(InputError):
            setting.stream(endless(setting, taken), **options)
        assert taken == []


@pytest.mark.parametrize(
    ("side", "gigabytes", "size"),
    [(9, 24, 256), (128, 80, 256), (256, 80, 64), (512, 80, 16), (1024, 80, 4), (256, 10, 24),
     (512, 2, 4)],
)  # fmt: skip
def test_micro_batches_of_gpus_suit_the_images_and_the_memory(side, gigabytes, size, monkeypatch):
    card = SimpleNamespace(total_memory=gigabytes * 10**9)
    monkeypatch.setattr("torch.cuda.get_device_properties", lambda device: card)
    assert fixed_micro_batch(0, torch.device("cuda"), side) == size
    assert fixed_micro_batch(7, torch.device("cuda"), side) == 7


@pytest.mark.parametrize(("side", "size"), [(9, 96), (64, 96), (100, 32), (256, 8), (300, 8)])
def test_micro_batches_suit_the_images(side, size):
    seen = []

    def synthesize(w):
        seen.append(len(w))
        return torch.tanh(w[:, :1, None, None] * torch.linspace(0, 1, side)).expand(-1, 1, side, -1)

    latent = torch.ones(2)
    walked = walk_stream(
        [Request(latent, -latent, 0)] * 3,
        Networks(
            FunctionGenerator(synthesize, latent_dim=2),
            identity=lambda images: images[:, 0, 0, 1:4],
            classifier=lambda images: images[:, 0, 1, 1:3],
        ),
        steps=5,
        config=FastConfig(passes=1.0),
    )
    assert len(list(walked)) == 3
    assert max(seen) == size

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from hypothesis.extra import numpy as hnp

from latentpath.core.errors import DataError, InputError, ShapeError
from latentpath.data import ImageSet, resize_images, to_tensor, to_uint8

images_of_any_size = hnp.arrays(
    np.uint8,
    st.tuples(st.integers(0, 4), st.integers(1, 7), st.integers(1, 7), st.sampled_from([1, 3])),
)


def make(n=6, **changes):
    values = {
        "images": np.arange(n * 12, dtype=np.uint8).reshape(n, 4, 3, 1),
        "labels": np.arange(n) % 2,
        "identities": np.arange(n),
        "class_names": ("a", "b"),
    }
    return ImageSet(**{**values, **changes})


class TestImageSet:
    def test_counts_include_classes_without_images(self):
        image_set = make(class_names=("a", "b", "none"))
        assert image_set.class_counts() == {"a": 3, "b": 3, "none": 0}
        assert (len(image_set), image_set.num_classes, image_set.num_identities) == (6, 3, 6)

    def test_any_integer_dtype_becomes_int64(self):
        image_set = make(labels=np.zeros(6, np.uint8), identities=np.arange(6, dtype=np.int16))
        assert image_set.labels.dtype == image_set.identities.dtype == np.int64

    @pytest.mark.parametrize(
        ("change", "error", "words"),
        [
            ({"images": np.zeros((6, 4, 3), np.uint8)}, ShapeError, r"got \[6, 4, 3\]"),
            ({"images": np.zeros((6, 4, 3, 2), np.uint8)}, ShapeError, "C 1 or 3"),
            ({"images": np.zeros((6, 0, 3, 1), np.uint8)}, ShapeError, r"\[6, 0, 3, 1\]"),
            ({"images": np.zeros((6, 4, 3, 1), np.float32)}, ShapeError, "got float32"),
            ({"images": [[1]]}, ShapeError, "got list"),
            ({"labels": np.zeros(5, int)}, ShapeError, r"labels as integers \[6\]"),
            ({"labels": np.zeros((6, 1), int)}, ShapeError, r"int64 \[6, 1\]"),
            ({"labels": np.full(6, np.nan)}, ShapeError, "float64"),
            ({"labels": np.array([0, 1, -1, 0, 0, 0])}, DataError, "got -1"),
            ({"labels": np.array([0, 1, 2, 0, 0, 0])}, DataError, "got label 2"),
            ({"identities": np.array([0, 1, 2, 3, 4, 9])}, DataError, "6 identities"),
            ({"class_names": ("a", "a")}, DataError, "'a' twice"),
            ({"class_names": ("a", "")}, DataError, "non-empty"),
            ({"class_names": ("a", "\udcff")}, DataError, "udcff"),
            ({"class_names": ()}, DataError, "class names"),
        ],
    )
    def test_refuses(self, change, error, words):
        with pytest.raises(error, match=words) as caught:
            make(**change)
        assert "\n" not in str(caught.value)

    def test_refuses_no_images(self):
        with pytest.raises(DataError, match="at least one image"):
            make(images=np.zeros((0, 4, 3, 1), np.uint8), labels=[], identities=[])


class TestSubset:
    def test_people_are_renumbered_and_classes_stay(self):
        people = np.array([0, 0, 1, 1, 2, 2])
        image_set = make(identities=people)
        part = image_set.subset([5, 3, 2])
        assert part.identities.tolist() == [1, 0, 0]
        assert part.labels.tolist() == [1, 1, 0]
        assert part.class_names == image_set.class_names
        assert np.array_equal(part.images, image_set.images[[5, 3, 2]])

    def test_masks_and_slices(self):
        image_set = make()
        mask = image_set.labels == 1
        assert image_set.subset(mask).class_counts() == {"a": 0, "b": 3}
        assert len(image_set.subset(slice(2, None))) == 4

    def test_empty_subset_is_refused(self):
        with pytest.raises(DataError, match="at least one"):
            make().subset([])


class TestTensors:
    def test_ends_of_the_range(self):
        tensor = to_tensor(np.array([0, 255, 51], np.uint8).reshape(1, 1, 3, 1))
        assert tensor.dtype == torch.float32
        assert tensor.shape == (1, 1, 1, 3)
        torch.testing.assert_close(tensor.ravel(), torch.tensor([-1.0, 1.0, -0.6]))

    def test_channels_move_to_the_front(self):
        images = np.arange(2 * 5 * 4 * 3, dtype=np.uint8).reshape(2, 5, 4, 3)
        tensor = to_tensor(images)
        assert tensor.shape == (2, 3, 5, 4)
        assert tensor.is_contiguous()
        assert tensor[1, 2, 3, 1].item() == pytest.approx(images[1, 3, 1, 2] / 127.5 - 1, abs=1e-6)

    @given(images_of_any_size)
    def test_to_uint8_is_the_exact_inverse(self, images):
        back = to_uint8(to_tensor(images))
        assert back.dtype == np.uint8
        assert np.array_equal(back, images)

    def test_all_levels_survive_half_precision_noise(self):
        levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
        noisy = to_tensor(levels) + 0.49 / 127.5
        assert np.array_equal(to_uint8(noisy), levels)
        assert np.array_equal(to_uint8(noisy.double()), levels)

    def test_values_outside_are_clamped(self):
        tensor = torch.tensor([-7.0, -1.001, 1.001, torch.inf]).reshape(1, 1, 2, 2)
        assert to_uint8(tensor).ravel().tolist() == [0, 0, 255, 255]

    def test_rounds_to_the_nearest_level_and_half_up(self):
        assert to_uint8(torch.zeros(1, 1, 1, 1)).item() == 128  # 127.5, exact in any precision
        near = torch.tensor([3.4, 3.6], dtype=torch.float64) / 127.5 - 1
        assert to_uint8(near.reshape(1, 1, 1, 2)).ravel().tolist() == [3, 4]

    def test_the_argument_is_left_alone(self):
        tensor = torch.full((1, 1, 2, 2), 0.3)
        to_uint8(tensor)
        assert torch.equal(tensor, torch.full((1, 1, 2, 2), 0.3))

    def test_nan_is_refused(self):
        with pytest.raises(DataError, match="1 NaN"):
            to_uint8(torch.tensor([0.0, torch.nan]).reshape(1, 1, 1, 2))

    @pytest.mark.parametrize(
        "tensor", [torch.zeros(3, 4, 4), torch.zeros(1, 2, 4, 4), torch.zeros(1, 1, 2, 2).int()]
    )
    def test_other_shapes_are_refused(self, tensor):
        with pytest.raises(ShapeError):
            to_uint8(tensor)


class TestResize:
    def test_equal_size_is_a_copy(self):
        images = np.random.default_rng(0).integers(0, 256, (3, 5, 5, 3), dtype=np.uint8)
        same = resize_images(images, 5)
        assert np.array_equal(same, images)
        assert same is not images

    @pytest.mark.parametrize("channels", [1, 3])
    @pytest.mark.parametrize("size", [1, 7, 23])
    @pytest.mark.parametrize("how", ["crop", "stretch"])
    def test_constant_images_stay_constant(self, channels, size, how):
        images = np.full((2, 12, 9, channels), 77, np.uint8)
        resized = resize_images(images, size, how)
        assert resized.shape == (2, size, size, channels)
        assert (resized == 77).all()

    def test_shrinking_averages_instead_of_picking(self):
        # A chessboard of single pixels has mean 127.5; without antialiasing it would alias.
        board = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)[None, :, :, None]
        small = resize_images(board, 8).astype(float)
        assert abs(small - 127.5).max() < 3

    def test_orientation_and_channels_are_kept(self):
        images = np.zeros((1, 20, 10, 3), np.uint8)
        images[:, :10, :, 0] = 255  # red above
        images[:, :, 5:, 2] = 255  # blue to the right
        small = resize_images(images, 6, "stretch")[0]
        assert small[0, 0].tolist() == [255, 0, 0]
        assert small[5, 5].tolist() == [0, 0, 255]

    def test_no_size_is_refused(self):
        with pytest.raises(InputError, match="at least 1"):
            resize_images(np.zeros((1, 2, 2, 1), np.uint8), 0)

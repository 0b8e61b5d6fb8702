"""How alike the splits of a division are, and two divisions to compare it with: a random one, and iterative stratification."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dataset_doctor.plan import SplitQuality

if TYPE_CHECKING:
    from scipy import sparse


def quality(method: str, counts: sparse.csr_array[Any], part: NDArray[np.intp], ratios: NDArray[np.float64]) -> SplitQuality:
    """Measure how alike the parts of a division are; see `SplitQuality`.

    Args:
        method: What to call the division.
        counts: Instances, images × classes.
        part: The number of the part of each image.
        ratios: What share of the images each part should have.
    """
    member = np.eye(len(ratios))[part]
    sizes, n = member.sum(axis=0), len(part)
    used = counts.sum(axis=0) > 0
    images = ((counts > 0).astype(np.float64).T @ member)[used]
    instances = (counts.astype(np.float64).T @ member)[used]
    return SplitQuality(
        method=method,
        ld=_label_distribution(images, sizes, n),
        ed=float(np.abs(sizes - n * ratios).mean()),
        js=_divergence(instances),
    )


def _label_distribution(images: NDArray[np.float64], sizes: NDArray[np.float64], n: int) -> float | None:
    """Give the mean difference of the odds of a label between a part and the whole (Sechidis et al., 2011, equation 2).

    A label that every image holds has no odds and stays out. Where only all images of one part hold it, half an image is taken for those
    without.
    """
    total = images.sum(axis=1)
    images, total = images[total < n], total[total < n]
    if not len(images):
        return None
    odds = images / np.maximum(sizes - images, 0.5)
    whole = total / (n - total)
    return float(np.abs(odds - whole[:, None]).mean())


def _divergence(instances: NDArray[np.float64]) -> float | None:
    """Give the mean Jensen-Shannon divergence, in bits, of the classes of a part's instances from those of all; empty parts stay out."""
    instances = instances[:, instances.sum(axis=0) > 0]
    if not instances.size:
        return None
    p = instances / instances.sum(axis=0)
    q = (instances.sum(axis=1) / instances.sum())[:, None]
    middle = (p + q) / 2

    def relative_entropy(a: NDArray[np.float64]) -> NDArray[np.float64]:
        with np.errstate(divide="ignore", invalid="ignore"):
            bits: NDArray[np.float64] = np.where(a > 0, a * np.log2(a / middle), 0).sum(axis=0)
        return bits

    return max(0.0, float((relative_entropy(p) + relative_entropy(np.broadcast_to(q, p.shape))).mean() / 2))


def random_parts(sizes: NDArray[np.int64], seed: int) -> NDArray[np.intp]:
    """Divide as many images as the sizes sum to at random."""
    return np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))


def iterative_stratification(holds: sparse.csr_array[Any], ratios: NDArray[np.float64], seed: int) -> NDArray[np.intp]:
    """Divide images by iterative stratification (Sechidis, Tsoumakas and Vlahavas, 2011), which looks at the presence of labels alone.

    As long as images are left, those with the rarest label left are dealt out: each goes to the part that lacks most images with this
    label; of several, to the one that lacks most images; of several, to the first. Images without labels come last. The counts of what is
    left are kept up to date image by image, which takes time in proportion to the labels held; the package iterative-stratification counts
    them anew for each label.

    Args:
        holds: Images × labels, any positive number where an image holds a label.
        ratios: What share of the images each part should have.
        seed: Of the order of the images.
    """
    n, n_labels = holds.shape
    order = np.random.default_rng(seed).permutation(n)
    by_image = holds[order].tocsr()
    by_label = by_image.tocsc()
    starts, labels = by_image.indptr.tolist(), by_image.indices.tolist()
    label_starts, images_of = by_label.indptr.tolist(), by_label.indices.tolist()
    left = np.diff(by_label.indptr).astype(np.int64)
    lacking = (left[:, None] * ratios).tolist()
    room = (n * ratios).tolist()
    parts = range(len(ratios))
    part = [-1] * n

    def put(image: int, where: int) -> None:
        part[image] = where
        room[where] -= 1

    for _ in range(n_labels):
        rarest = int(np.where(left > 0, left, n + 1).argmin())
        if left[rarest] == 0:
            break
        wanted = lacking[rarest]
        gone: list[int] = []
        for image in images_of[label_starts[rarest] : label_starts[rarest + 1]]:
            if part[image] >= 0:
                continue
            where = max(parts, key=lambda j: (wanted[j], room[j]))
            put(image, where)
            held = labels[starts[image] : starts[image + 1]]
            for label in held:
                lacking[label][where] -= 1
            gone += held
        left -= np.bincount(gone, minlength=n_labels)
    for image in range(n):
        if part[image] < 0:
            put(image, max(parts, key=room.__getitem__))
    result = np.empty(n, np.intp)
    result[order] = part
    return result

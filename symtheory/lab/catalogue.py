"""The image data sets that the book uses: their files, the digests of these, and where they can be had.

Digests are of the *content* of the files, uncompressed, so that a file that was compressed anew is still the same;
those of the packed files are what a download is compared with.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Parcel:
    """Something to download.

    Attributes:
        name: Last part of its address.
        sha256: Of the packed bytes.
        mirrors: The rest of its address, https, the first one preferred.
    """

    name: str
    sha256: str
    mirrors: tuple[str, ...]


@dataclass(frozen=True)
class Collection:
    """A data set as files.

    Attributes:
        folder: Below ``$SYMTHEORY_DATA`` and below the cache.
        kind: How the files are read.
        classes: Number of classes.
        files: Name of each file to the SHA-256 of its content: training files first, then those for tests.
        parcels: Name of each file to what it is downloaded from: itself, packed, or an archive.
        copies: Whether copies with other pixels are known to exist; they are let in, and say so.
    """

    folder: str
    kind: Literal["idx", "cifar-10", "cifar-100"]
    classes: int
    files: dict[str, str]
    parcels: dict[str, Parcel]
    copies: bool = False


_CIFAR = ("https://www.cs.toronto.edu/~kriz/", "https://cave.cs.toronto.edu/kriz/")


def _idx(folder: str, content: tuple[str, ...], packed: tuple[str, ...], mirrors: tuple[str, ...]) -> Collection:
    """Four files in the format of MNIST."""
    names = [f"{part}-{what}-ubyte.gz" for part in ("train", "t10k") for what in ("images-idx3", "labels-idx1")]
    parcels = {n: Parcel(n, sha256, mirrors) for n, sha256 in zip(names, packed, strict=True)}
    return Collection(folder, "idx", 10, dict(zip(names, content, strict=True)), parcels)


COLLECTIONS: dict[str, Collection] = {
    "mnist": _idx(
        "mnist",
        (
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
        (
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        ),
        ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"),
    ),
    "fashion-mnist": _idx(
        "fashion-mnist",
        (
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
        (
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        ),
        (
            "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
            "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
        ),
    ),
    "cifar-10": Collection(
        "cifar-10-batches-bin",
        "cifar-10",
        10,
        {
            "data_batch_1.bin": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
            "data_batch_2.bin": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
            "data_batch_3.bin": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
            "data_batch_4.bin": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
            "data_batch_5.bin": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
            "test_batch.bin": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
        },
        dict.fromkeys(
            [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"],
            Parcel(
                "cifar-10-binary.tar.gz", "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd", _CIFAR
            ),
        ),
        copies=True,
    ),
    "cifar-100": Collection(
        "cifar-100-binary",
        "cifar-100",
        100,
        {
            "train.bin": "f31298fc616915fa142368359df1c4ca2ae984d6915ca468b998a5ec6aeebf29",
            "test.bin": "d8b1e6b7b3bee4020055f0699b111f60b1af1e262aeb93a0b659061746f8224a",
        },
        dict.fromkeys(
            ["train.bin", "test.bin"],
            Parcel(
                "cifar-100-binary.tar.gz", "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec", _CIFAR
            ),
        ),
    ),
}

"""Data sets: read whole, known by their digest, refused by name when damaged, fetched again when that is possible."""

import gzip
import http.server
import os
import struct
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from symtheory.engine.images import CANONICAL, JPEG_COPY, STAND_IN, Split, digest_of, shuffled, stand_in
from symtheory.errors import SymtheoryError
from symtheory.lab import data, downloads
from symtheory.lab.catalogue import COLLECTIONS, Parcel
from symtheory.lab.executors import Serial
from symtheory.lab.files import digest
from symtheory.lab.identity import describe

SMALL = {"mnist": (12, 8), "cifar-10": (10, 10), "cifar-100": (100, 100)}


def idx(array):
    return struct.pack(f">{array.ndim + 1}I", {3: 0x803, 1: 0x801}[array.ndim], *array.shape) + array.tobytes()


def contents(name, seed=0):
    """Files of a small data set: name to content."""
    rng, (train, test) = np.random.default_rng(seed), SMALL[name]
    if name == "mnist":
        sizes = dict.fromkeys(list(COLLECTIONS[name].files)[:2], train)
        sizes |= dict.fromkeys(list(COLLECTIONS[name].files)[2:], test)
        shape = {f: (n, 28, 28) if "idx3" in f else (n,) for f, n in sizes.items()}
        return {f: idx(rng.integers(0, 10, s, dtype=np.uint8)) for f, s in shape.items()}
    files, head = COLLECTIONS[name].files, 2 if name == "cifar-100" else 1
    classes = COLLECTIONS[name].classes
    rows = {f: rng.integers(0, 256, (classes, head + 3072), dtype=np.uint8) for f in files}
    for r in rows.values():
        r[:, head - 1] = rng.permutation(classes)
        r[:, : head - 1] = 200  # the coarse label, which is not used
    return {f: r.tobytes() for f, r in rows.items()}


def pack(file, content):
    return gzip.compress(content, mtime=0) if file.endswith(".gz") else content


@pytest.fixture
def places(tmp_path, monkeypatch):
    """An empty folder of the user, an empty cache, nothing remembered, no network."""
    monkeypatch.setenv(data.VARIABLE, str(tmp_path / "own"))
    monkeypatch.setattr(data, "cache", lambda: tmp_path / "cache")
    data._load.cache_clear()
    yield tmp_path
    data._load.cache_clear()


@pytest.fixture
def publish(places, monkeypatch):
    """Make a small data set the published one; serve its packed files from a web server on this machine."""
    servers = []

    def make(name, served=None):
        found = contents(name)
        site = places / "site"
        site.mkdir(exist_ok=True)
        for file, content in found.items():
            (site / file).write_bytes(pack(file, content))
        handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(site))
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), served or handler)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        here = (f"http://127.0.0.1:{server.server_port}/",)
        parcels = {f: Parcel(f, digest(pack(f, c)), here) for f, c in found.items()}
        digests = {f: digest(c) for f, c in found.items()}
        monkeypatch.setitem(COLLECTIONS, name, replace(COLLECTIONS[name], files=digests, parcels=parcels))
        return found

    yield make
    for server in servers:
        server.shutdown()
        server.server_close()


def put(places, name, found, where="own"):
    folder = places / where / COLLECTIONS[name].folder
    folder.mkdir(parents=True, exist_ok=True)
    for file, content in found.items():
        (folder / file).write_bytes(pack(file, content))
    return folder


def leftovers(places):
    return sorted(p.name for p in (places / "cache").rglob("*") if p.is_file())


@pytest.mark.parametrize("name", SMALL)
def test_files_of_the_user_are_read_pixel_by_pixel(places, publish, name):
    found = publish(name)
    put(places, name, found)
    images = data.load(name)
    assert images.canonical and images.note == CANONICAL and images.name == name
    assert images.digest == digest_of({f: digest(c) for f, c in found.items()})
    first = next(iter(found.values()))
    if name == "mnist":
        train, test = SMALL[name]
        assert images.train.images.shape == (train, 1, 28, 28) and len(images.test) == test
        assert bytes(images.train.images[3, 0].flatten().tolist()) == first[16 + 3 * 784 : 16 + 4 * 784]
        assert images.train.labels.tolist() == list(found["train-labels-idx1-ubyte.gz"][8:])
    else:
        head = 2 if name == "cifar-100" else 1
        assert images.train.images.shape[1:] == (3, 32, 32)
        assert int(images.train.images[4, 2, 5, 7]) == first[4 * (head + 3072) + head + 2 * 1024 + 5 * 32 + 7]
        assert int(images.train.labels[4]) == first[4 * (head + 3072) + head - 1]
        assert len(images.train) == (len(found) - 1) * COLLECTIONS[name].classes
    assert images.origin() == {name: {"sha256": images.digest, "note": CANONICAL}}


def test_a_data_set_is_read_once(places, publish):
    put(places, "mnist", publish("mnist"))
    assert data.load("mnist") is data.load("mnist")


def test_what_is_absent_is_downloaded_once_and_kept(places, publish):
    found = publish("mnist")
    images = data.load("mnist")
    assert images.canonical and leftovers(places) == sorted(found)
    data._load.cache_clear()
    for file in (places / "site").iterdir():
        file.unlink()  # the second time nothing is asked of the network
    assert torch.equal(data.load("mnist").train.images, images.train.images)


def test_a_download_goes_on_where_it_was_interrupted(places, publish):
    publish("mnist")
    (last,) = [p for p in (places / "site").iterdir() if p.name.startswith("t10k-labels")]
    content = last.read_bytes()
    last.unlink()
    with pytest.raises(SymtheoryError, match=r"expected mnist/t10k-labels-idx1-ubyte\.gz under \$SYMTHEORY_DATA"):
        data.load("mnist")
    assert len(leftovers(places)) == 3
    for file in (places / "site").iterdir():
        file.unlink()
    last.write_bytes(content)
    assert data.load("mnist").canonical


@pytest.mark.parametrize("harm", ["other bytes", "truncated"])
def test_a_bad_download_leaves_nothing_and_the_next_run_recovers(places, publish, harm):
    publish("mnist")
    file = places / "site" / "train-images-idx3-ubyte.gz"
    good = file.read_bytes()
    file.write_bytes(good[:-5] if harm == "truncated" else good[:-1] + b"\1")
    with pytest.raises(SymtheoryError, match="gave other bytes than the published ones, or not all of them"):
        data.load("mnist")
    assert leftovers(places) == []
    file.write_bytes(good)
    assert data.load("mnist").canonical


def test_a_connection_cut_in_the_middle_leaves_nothing(places, publish):
    class Cut(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", "100000")
            self.end_headers()
            self.wfile.write(b"x" * 1000)

        def log_message(self, *_):
            pass

    publish("mnist", served=Cut)
    with pytest.raises(SymtheoryError, match=r"gave no answer \(\w+Error\).*run again, or put mnist/train"):
        data.load("mnist")
    assert leftovers(places) == []


def test_the_second_mirror_serves_when_the_first_does_not(places, publish, monkeypatch):
    publish("mnist")
    small = COLLECTIONS["mnist"]
    parcels = {f: replace(p, mirrors=("http://127.0.0.1:9/", *p.mirrors)) for f, p in small.parcels.items()}
    monkeypatch.setitem(COLLECTIONS, "mnist", replace(small, parcels=parcels))
    assert data.load("mnist").canonical


def test_offline_and_absent_is_one_error_with_file_and_remedy(places, monkeypatch):
    small = COLLECTIONS["cifar-100"]
    dead = {f: replace(p, mirrors=("http://127.0.0.1:9/",)) for f, p in small.parcels.items()}
    monkeypatch.setitem(COLLECTIONS, "cifar-100", replace(small, parcels=dead))
    message = r"cifar-100-binary/train\.bin under \$SYMTHEORY_DATA, or a network.*cifar-100-binary\.tar\.gz.*go online"
    with pytest.raises(SymtheoryError, match=message):
        data.load("cifar-100")
    assert leftovers(places) == []


def test_without_pooch_the_remedy_names_it(places, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pooch", None)
    with pytest.raises(SymtheoryError, match=r"pooch, to download.*pip install 'symtheory\[data\]'"):
        downloads.pooch_module()


@pytest.mark.parametrize("harm", ["truncated", "one bit", "empty", "not gzip"])
def test_a_damaged_file_of_the_user_is_named_and_kept(places, publish, harm):
    found = publish("mnist")
    file = put(places, "mnist", found) / "t10k-images-idx3-ubyte.gz"
    whole, content = file.read_bytes(), found[file.name]
    flipped = pack(file.name, content[:-1] + bytes([content[-1] ^ 1]))
    file.write_bytes({"truncated": whole[:-9], "one bit": flipped, "empty": b"", "not gzip": content}[harm])
    with pytest.raises(SymtheoryError, match=r"own/mnist/t10k-images-idx3-ubyte\.gz.*remove it, so that it is down"):
        data.load("mnist")
    assert file.exists()


def test_a_damaged_file_in_the_cache_is_fetched_again(places, publish):
    found = publish("mnist")
    file = put(places, "mnist", found, "cache") / "train-labels-idx1-ubyte.gz"
    file.write_bytes(file.read_bytes()[:-4])
    assert data.load("mnist").canonical
    assert digest(gzip.decompress(file.read_bytes())) == COLLECTIONS["mnist"].files[file.name]


@pytest.mark.parametrize("name", ["cifar-10", "cifar-100"])
def test_an_archive_is_unpacked_and_removed(places, publish, monkeypatch, name):
    import tarfile

    found, small = publish(name), COLLECTIONS[name]
    with tarfile.open(places / "site" / "all.tar.gz", "w:gz") as tar:
        for file in found:
            tar.add(places / "site" / file, arcname=f"{small.folder}/{file}")
    packed = digest((places / "site" / "all.tar.gz").read_bytes())
    parcels = {f: Parcel("all.tar.gz", packed, p.mirrors) for f, p in small.parcels.items()}
    monkeypatch.setitem(COLLECTIONS, name, replace(small, parcels=parcels))
    assert data.load(name).canonical and leftovers(places) == sorted(found)


def test_a_copy_with_other_pixels_says_that_it_is_a_jpeg_copy(places, publish):
    publish("cifar-10")
    put(places, "cifar-10", contents("cifar-10", seed=1))
    images = data.load("cifar-10")
    assert images.note == JPEG_COPY == "JPEG copy" and not images.canonical
    assert images.origin()["cifar-10"]["note"] == "JPEG copy"
    assert images.digest != digest_of(COLLECTIONS["cifar-10"].files)


def test_one_damaged_batch_is_no_jpeg_copy(places, publish):
    found = publish("cifar-10")
    file = "data_batch_3.bin"
    put(places, "cifar-10", {**found, file: found[file][:-1] + bytes([found[file][-1] ^ 1])})
    with pytest.raises(SymtheoryError, match=r"cifar-10-batches-bin/data_batch_3\.bin with content of SHA-256"):
        data.load("cifar-10")


HARMS = {
    "size": (lambda c: c[:-1], r"records of 3073 bytes in data_batch_1\.bin, got 30729 bytes"),
    "classes": (lambda c: b"\1" + c[1:3073] + b"\1" + c[3074:], "as many images in every class"),
    "labels": (lambda c: b"\x20" + c[1:], "labels below 10"),
}


@pytest.mark.parametrize("harm", HARMS)
def test_a_copy_must_have_the_layout_of_the_original(places, publish, harm):
    publish("cifar-10")
    found = contents("cifar-10", seed=1)
    change, message = HARMS[harm]
    put(places, "cifar-10", {**found, "data_batch_1.bin": change(found["data_batch_1.bin"])})
    with pytest.raises(SymtheoryError, match=message):
        data.load("cifar-10")


def test_mnist_has_no_copies(places, publish):
    publish("mnist")
    put(places, "mnist", contents("mnist", seed=1))
    with pytest.raises(SymtheoryError, match="with content of SHA-256"):
        data.load("mnist")


def test_unknown_names_are_refused():
    with pytest.raises(SymtheoryError, match=r"a data set among mnist, fashion-mnist, cifar-10, cifar-100, got 'svhn'"):
        data.load("svhn")


def test_all_addresses_are_https_and_all_digests_whole():
    for collection in COLLECTIONS.values():
        assert list(collection.parcels) == list(collection.files)
        assert all(len(s) == 64 and int(s, 16) for s in collection.files.values())
        for parcel in collection.parcels.values():
            assert len(parcel.sha256) == 64 and len(parcel.mirrors) == 2
            assert all(m.startswith("https://") and m.endswith("/") for m in parcel.mirrors)


def test_an_epoch_takes_every_sample_once_in_the_order_of_its_seed():
    def draw(seed):
        return torch.cat(list(shuffled(100, 16, torch.Generator().manual_seed(seed))))

    assert len(draw(0)) == 96 and len(set(draw(0).tolist())) == 96
    assert torch.equal(draw(0), draw(0)) and not torch.equal(draw(0), draw(1))
    with pytest.raises(SymtheoryError, match="batches of 1 to 3 samples, got 4"):
        next(shuffled(3, 4, torch.Generator()))


def test_the_stand_in_says_what_it_is_and_can_be_learned():
    images = stand_in(200)
    assert images.note == STAND_IN == "synthetic stand-in" and not images.canonical
    means = torch.stack([images.train.flat()[images.train.labels == c].mean(0) for c in range(10)])
    nearest = torch.cdist(images.test.flat(), means).argmin(1)
    assert float((nearest == images.test.labels).float().mean()) > 0.9
    assert stand_in(200).digest == images.digest != stand_in(200, seed=1).digest


def test_splits_are_checked_and_cut():
    split = stand_in(20).train
    assert len(split.first(7)) == 7 and split.to("cpu").flat().shape == (20, 784)
    with pytest.raises(SymtheoryError, match="between 1 and 20 images, got 21"):
        split.first(21)
    with pytest.raises(SymtheoryError, match="uint8 images"):
        Split(split.images.float(), split.labels)


REAL = {"mnist": (60_000, 10_000), "fashion-mnist": (60_000, 10_000)}


@pytest.mark.parametrize("name", REAL)
def test_the_real_files(name):
    root = os.environ.get(data.VARIABLE)
    if not root or not (Path(root) / name).is_dir():
        pytest.skip(f"no {name} under ${data.VARIABLE}")
    images = data.load(name)
    assert images.canonical and (len(images.train), len(images.test)) == REAL[name]
    assert images.train.images.shape == (60_000, 1, 28, 28)
    if name == "mnist":
        assert images.train.labels[:5].tolist() == [5, 0, 4, 1, 9]
        assert float(images.train.images.float().mean() / 255) == pytest.approx(0.1307, abs=1e-4)


def test_a_shard_function_that_is_handed_a_loader_is_filed_under_the_loaders_code():
    plain, code = describe(partial(stand_in, 5))
    name, other = describe(partial(digest_of, data.load))
    assert name.startswith("symtheory.engine.images.digest_of") and "symtheory.lab.data.load" in name
    assert describe(partial(digest_of, data.load)) == (name, other) != (plain, code)
    with pytest.raises(SymtheoryError, match="imported by name"):
        describe(partial(digest_of, lambda name: name))


def test_executors_know_where_data_sets_are():
    assert Serial().load is data.load

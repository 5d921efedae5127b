"""Where the data sets are published, and the digests that identify the published files.

A digest is of the file as it is sent, except MNIST's, which are of the decompressed bytes: those
are the same from every mirror, whatever compressor it used. All of a file's digests must match.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Remote:
    """One file of a data set.

    Attributes
    ----------
    name : str
        As every mirror calls it.
    size : int
        Bytes as published; a mirror that sends more than twice as many is abandoned.
    digests : dict
        Hexadecimal digest by algorithm, as ``hashlib`` names it.
    decompressed : bool
        Whether the digests are those of the gunzipped bytes.
    """

    name: str
    size: int
    digests: dict[str, str]
    decompressed: bool = False


@dataclass(frozen=True)
class Source:
    """Files, and the web folders that hold them, tried in this order."""

    mirrors: tuple[str, ...]
    files: tuple[Remote, ...]

    def file(self, name: str) -> Remote:
        """The file of this name."""
        return next(f for f in self.files if f.name == name)


# Digests of the decompressed files, computed from the published ones; sizes as listed in
# tensorflow/datasets, url_checksums/mnist.txt.
MNIST = Source(
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    files=(
        Remote(
            "train-images-idx3-ubyte.gz",
            9912422,
            {
                "md5": "6bbc9ace898e44ae57da46a324031adb",
                "sha256": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            },
            decompressed=True,
        ),
        Remote(
            "train-labels-idx1-ubyte.gz",
            28881,
            {
                "md5": "a25bea736e30d166cdddb491f175f624",
                "sha256": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            },
            decompressed=True,
        ),
        Remote(
            "t10k-images-idx3-ubyte.gz",
            1648877,
            {
                "md5": "2646ac647ad5339dbf082846283269ea",
                "sha256": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            },
            decompressed=True,
        ),
        Remote(
            "t10k-labels-idx1-ubyte.gz",
            4542,
            {
                "md5": "27ae3e4e09519cfbb04c329615203637",
                "sha256": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            },
            decompressed=True,
        ),
    ),
)

# md5: the table "Get the Data" in the README of github.com/zalandoresearch/fashion-mnist. sha256 and sizes:
# tensorflow/datasets, url_checksums/fashion_mnist.txt. The first mirror is that repository itself. The address in
# its README has no certificate, so it is not here.
FASHION_MNIST = Source(
    mirrors=(
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
    ),
    files=(
        Remote(
            "train-images-idx3-ubyte.gz",
            26421880,
            {
                "md5": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
                "sha256": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            },
        ),
        Remote(
            "train-labels-idx1-ubyte.gz",
            29515,
            {
                "md5": "25c81989df183df01b3e8a0aad5dffbe",
                "sha256": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            },
        ),
        Remote(
            "t10k-images-idx3-ubyte.gz",
            4422102,
            {
                "md5": "bef4ecab320f06d8554ea6380940ec79",
                "sha256": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            },
        ),
        Remote(
            "t10k-labels-idx1-ubyte.gz",
            5148,
            {
                "md5": "bb300cfdad3c16e7a12a480ee83cd310",
                "sha256": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
            },
        ),
    ),
)

# md5: the table "Download" of https://www.cs.toronto.edu/~kriz/cifar.html. sha256 and size: tensorflow/datasets,
# url_checksums/cifar10.txt. There is one publisher; the second address is the host its page moved to.
CIFAR10 = Source(
    mirrors=("https://www.cs.toronto.edu/~kriz/", "https://cave.cs.toronto.edu/kriz/"),
    files=(
        Remote(
            "cifar-10-binary.tar.gz",
            170052171,
            {
                "md5": "c32a1d4ab5d03f1284b67883e8d87530",
                "sha256": "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            },
        ),
    ),
)

# sha256 and size: tensorflow/datasets, url_checksums/cifar100.txt.
CIFAR100 = Source(
    mirrors=CIFAR10.mirrors,
    files=(
        Remote(
            "cifar-100-binary.tar.gz",
            168513733,
            {"sha256": "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec"},
        ),
    ),
)

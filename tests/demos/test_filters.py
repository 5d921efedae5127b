"""COVERAGE D3: filters made by hand, on a photograph."""

from __future__ import annotations

import numpy as np

from gpunn.demos import filters


def test_D3_filters_by_hand_are_their_definition() -> None:
    """In plain loops, on a piece of the image."""
    image = np.random.default_rng(0).random((6, 7, 3)).astype(np.float32)
    for name, K in filters.FILTERS.items():
        expected = np.zeros((4, 5, 3))
        for i in range(4):
            for j in range(5):
                for c in range(3):
                    expected[i, j, c] = sum(K[r, s] * image[i + r, j + s, c] for r in range(3) for s in range(3))
        # Nine products of numbers up to 1 by at most 8, rounded to float32: 16 * 6e-8.
        np.testing.assert_allclose(filters.convolve(image, K), expected, rtol=0, atol=1e-5, err_msg=name)


def test_D3_the_matrices_are_the_lectures() -> None:
    # Rows as COVERAGE gives them.
    text = {
        "edges, diagonal": "1 0 -1/0 0 0/-1 0 1", "edges, 4 neighbours": "0 1 0/1 -4 1/0 1 0",
        "edges, 8 neighbours": "-1 -1 -1/-1 8 -1/-1 -1 -1", "sharpen": "0 -1 0/-1 5 -1/0 -1 0",
        "box blur": "1 1 1/1 1 1/1 1 1", "Gaussian blur": "1 2 1/2 4 2/1 2 1",
    }  # fmt: skip
    shares = {"box blur": 9, "Gaussian blur": 16}
    assert list(filters.FILTERS) == list(text)
    for name, K in filters.FILTERS.items():
        rows = [[float(number) for number in row.split()] for row in text[name].split("/")]
        np.testing.assert_allclose(K * shares.get(name, 1), rows, rtol=1e-15)


def test_D3_what_the_filters_do_to_a_photograph() -> None:
    r = filters.run(height=60, width=80)
    assert [y.shape for y in r.seen.values()] == [(60, 80, 3)] + 6 * [(58, 78, 3)]
    step = dict(r.step)
    plain = step.pop("the image")
    assert {name for name, mean in step.items() if mean < plain} == {"box blur", "Gaussian blur"}
    assert step["box blur"] < step["Gaussian blur"]  # which gives the middle a quarter of the weight
    flat = np.full((5, 5, 3), 0.5, np.float32)
    for name, K in filters.FILTERS.items():
        expected = 0.0 if name.startswith("edges") else 0.5
        np.testing.assert_allclose(filters.convolve(flat, K), expected, rtol=0, atol=1e-6)  # as above, and less
    said = list(filters.lines(r))
    assert said[1].split() == ["the", "image", f"{plain:.4f}", "1"]
    assert len(said) == 8

"""Arguments for every primitive that has a kernel, of lengths at the edges of that kernel's tiles.

``ROWS`` says for each primitive how to draw its arguments (``draw.row`` registers them);
``tests/test_edges.py`` compares the bodies on them.
"""

from tests.edges import elements, images, lines, moving, products
from tests.edges.draw import ROWS, Draw

__all__ = ["ROWS", "Draw", "elements", "images", "lines", "moving", "products"]

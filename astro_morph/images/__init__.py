# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""One image: its file, its place on the sky, the stamps cut out of it, its picture."""
